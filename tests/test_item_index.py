"""The index finds what the product with all items finds, passes over what is barred, never falls
short, and scores exactly."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.made_up_vectors import made_up_states, made_up_vectors
from benchmarks.retrieval_set import exact_nearest
from model.features import FIRST_ITEM, PADDING
from model.index_filter import BARRED
from model.index_lists import Padding, make_lists
from model.item_index import IndexFiles, ItemIndex
from model.nearest import Nearest, recall
from serving.catalog import NEVER

GROUPS, EACH, DIM = 40, 50, 16
SIZE = FIRST_ITEM + GROUPS * EACH
NO_BIAS = np.zeros(SIZE, np.float32)
FREE = slice(FIRST_ITEM, None)


def grouped() -> NDArray[np.float32]:
    """Items around forty centres, fifty of each, one group after the other; no biases."""
    chance = np.random.default_rng(0)
    centres = np.repeat(chance.standard_normal((GROUPS, DIM)), EACH, axis=0)
    vectors = np.zeros((SIZE, DIM + 1), np.float32)
    vectors[FREE, :DIM] = centres + 0.1 * chance.standard_normal(centres.shape)
    return vectors


def states_near(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Users who look for items like these."""
    states = np.ones((len(rows), DIM + 1), np.float32)
    states[:, :DIM] = vectors[rows, :DIM]
    return states


VECTORS = grouped()
USERS = states_near(VECTORS, FIRST_ITEM + EACH * np.arange(GROUPS))
"""One of each group."""


def index_of(vectors: NDArray[np.float32], probed: int, lists: int = GROUPS) -> ItemIndex:
    made = ItemIndex(make_lists(vectors, USERS, lists), vectors, threads=1)
    made.probed = probed
    return made


@pytest.fixture(scope="module")
def index() -> ItemIndex:
    return index_of(VECTORS, probed=4)


def exact(vectors: NDArray[np.float32], bias: NDArray[np.float32], count: int) -> Nearest:
    scores = USERS @ vectors.T + bias
    scores[:, :FIRST_ITEM] = 2 * BARRED
    rows = np.argsort(-scores, axis=1)[:, :count]
    return Nearest(rows, np.take_along_axis(scores, rows, 1))


def share_found(found: Nearest, true: Nearest) -> float:
    pairs = zip(true.rows, found.rows, strict=True)
    return float(np.mean([np.isin(theirs, ours).mean() for theirs, ours in pairs]))


def test_users_of_a_group_get_the_group(index: ItemIndex) -> None:
    found = index.nearest(USERS, NO_BIAS, 20)
    group = (found.rows - FIRST_ITEM) // EACH
    assert (group == np.arange(GROUPS)[:, None]).mean() > 0.95
    assert share_found(found, exact(VECTORS, NO_BIAS, 20)) > 0.95


def test_scores_are_exact_and_the_best_come_first(index: ItemIndex) -> None:
    found = index.nearest(USERS, NO_BIAS, 20)
    scores = np.take_along_axis(USERS @ VECTORS.T, found.rows, 1)
    assert np.allclose(found.scores, scores, atol=1e-5)
    assert (np.diff(found.scores) <= 0).all()
    assert all(len(set(rows)) == 20 for rows in found.rows.tolist())
    assert found.rows.min() >= FIRST_ITEM


def test_a_search_of_all_lists_finds_what_the_product_finds() -> None:
    chance = np.random.default_rng(1)
    vectors = chance.standard_normal((FIRST_ITEM + 40, DIM + 1)).astype(np.float32)
    found = index_of(vectors, probed=8, lists=8).nearest(USERS, np.zeros(42, np.float32), 10)
    true = exact(vectors, np.zeros(42, np.float32), 10)
    assert found.rows.tolist() == true.rows.tolist()
    assert np.allclose(found.scores, true.scores, atol=1e-5)


def test_a_learned_bias_counts_however_far_it_lies_from_zero() -> None:
    vectors = VECTORS.copy()
    vectors[:, -1] = 2 * np.random.default_rng(2).standard_normal(SIZE) - 50
    found = index_of(vectors, probed=20).nearest(USERS, NO_BIAS, 20)
    assert share_found(found, exact(vectors, NO_BIAS, 20)) > 0.95


def test_what_is_barred_is_passed_over(index: ItemIndex) -> None:
    bias = NO_BIAS.copy()
    bias[FIRST_ITEM::2] = NEVER
    found = index.nearest(USERS, bias, 20)
    assert (found.rows % 2 == 1).all()
    assert share_found(found, exact(VECTORS, bias, 20)) > 0.95


def test_more_lists_are_read_where_those_nearby_hold_only_what_is_barred(index: ItemIndex) -> None:
    bias = NO_BIAS.copy()
    bias[FIRST_ITEM : FIRST_ITEM + 30 * EACH] = NEVER  # of thirty groups nothing is left
    found = index.nearest(USERS, bias, 300)
    assert (found.rows >= FIRST_ITEM + 30 * EACH).all()
    assert (found.scores > BARRED).all()


@pytest.fixture(scope="module")
def large() -> tuple[ItemIndex, NDArray[np.float32]]:
    """An index that reads so few lists that it misses much, and users."""
    vectors = made_up_vectors(12_000)
    states = made_up_states(vectors, 100, seed=1)
    made = ItemIndex(make_lists(vectors, states, lists=300), vectors, threads=1)
    made.probed = 8
    return made, states


@pytest.mark.parametrize("unavailable", [0.5, 0.7, 0.8, 0.9, 0.98])
def test_where_many_are_unavailable_no_smaller_share_of_the_nearest_is_found(
    large: tuple[ItemIndex, NDArray[np.float32]], unavailable: float
) -> None:
    index, states = large
    bias = np.zeros(len(index.vectors), np.float32)

    def found() -> float:
        nearest = exact_nearest(index.vectors, states, bias, 100)
        return recall(index.nearest(states, bias, 100).rows, nearest)

    of_all = found()
    bias[np.random.default_rng(3).random(len(bias)) < unavailable] = NEVER
    assert 0.6 < of_all < found()


@pytest.mark.parametrize("left", [0, 1, 7, 150])
def test_of_few_items_every_one_is_found(index: ItemIndex, left: int) -> None:
    bias = np.full(SIZE, NEVER)
    rows = np.random.default_rng(3).choice(np.arange(FIRST_ITEM, SIZE), left, replace=False)
    bias[rows] = 0
    found = index.nearest(USERS, bias, 200)
    assert (np.sort(found.rows[:, :left]) == np.sort(rows)).all()
    assert (found.rows[:, left:] == PADDING).all()
    assert (found.scores[:, left:] < BARRED).all()
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("few", [1, 2, 12])
def test_no_more_come_than_there_are(few: int) -> None:
    size = FIRST_ITEM + few
    found = index_of(VECTORS[:size], probed=1, lists=1).nearest(USERS, NO_BIAS[:size], 100)
    assert (found.rows[:, :few] >= FIRST_ITEM).all()
    assert (found.rows[:, few:] == PADDING).all()


def test_no_users_get_nothing(index: ItemIndex) -> None:
    assert index.nearest(USERS[:0], NO_BIAS, 20).rows.shape == (0, 20)


def test_the_bias_of_another_catalogue_is_refused(index: ItemIndex) -> None:
    with pytest.raises(ValueError, match="5 biases for 2002 items"):
        index.nearest(USERS, NO_BIAS[:5], 20)


def test_an_index_is_the_same_after_it_was_written(index: ItemIndex, tmp_path: Path) -> None:
    files = IndexFiles(tmp_path / "unused", tmp_path / "vectors.npy", tmp_path / "lists")
    np.save(files.vectors, VECTORS)
    index.write(files.lists)
    again = ItemIndex.read(files, threads=1)
    assert (again.lists, again.probed) == (index.lists, index.probed)
    before, after = (each.nearest(USERS, NO_BIAS, 20) for each in (index, again))
    assert np.array_equal(before.rows, after.rows)
    assert np.array_equal(before.scores, after.scores)


def test_an_index_of_other_vectors_is_refused(index: ItemIndex, tmp_path: Path) -> None:
    files = IndexFiles(tmp_path / "unused", tmp_path / "vectors.npy", tmp_path / "lists")
    np.save(files.vectors, VECTORS[:-1])
    index.write(files.lists)
    with pytest.raises(RuntimeError, match=r"holds 2000 items .*copy the whole bundle again"):
        ItemIndex.read(files, threads=1)


def test_an_index_of_another_kind_is_refused(tmp_path: Path) -> None:
    files = IndexFiles(tmp_path / "unused", tmp_path / "vectors.npy", tmp_path / "lists")
    np.save(files.vectors, VECTORS)
    faiss.write_index(faiss.index_factory(DIM + 1, "Flat"), str(files.lists))
    with pytest.raises(RuntimeError, match=r"made by another nextclick; run `nextclick train`"):
        ItemIndex.read(files, threads=1)


def test_a_vector_stands_in_the_lists_so_that_products_stay_in_their_order() -> None:
    vectors = VECTORS.copy()
    vectors[FREE, -1] = np.random.default_rng(7).standard_normal(SIZE - FIRST_ITEM) - 9
    padding = Padding.fit(vectors, square=5.0)
    assert (padding.dim + padding.parts) % 8 == 0
    assert padding == Padding.of_lists(vectors, padding.dim + padding.parts)
    products = padding.states(USERS) @ padding.items(vectors).T
    assert np.allclose(products - USERS @ vectors.T, 9, atol=0.1)


def test_an_index_in_use_may_be_written_over(index: ItemIndex, tmp_path: Path) -> None:
    files = IndexFiles(tmp_path / "unused", tmp_path / "vectors.npy", tmp_path / "lists")
    np.save(files.vectors, VECTORS)
    index.write(files.lists)
    using = ItemIndex.read(files, threads=1)
    index_of(VECTORS[:300], probed=1, lists=2).write(files.lists)
    assert np.array_equal(
        using.nearest(USERS, NO_BIAS, 20).rows, index.nearest(USERS, NO_BIAS, 20).rows
    )


def test_the_files_are_mapped_so_that_workers_have_them_in_memory_once(
    index: ItemIndex, tmp_path: Path
) -> None:
    files = IndexFiles(tmp_path / "unused", tmp_path / "vectors.npy", tmp_path / "lists")
    np.save(files.vectors, VECTORS)
    index.write(files.lists)
    using = ItemIndex.read(files, threads=1)
    using.nearest(USERS, NO_BIAS, 20)
    mapped = {
        line.split()[5]: line.split()[1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if str(tmp_path) in line
    }
    assert set(mapped) == {str(files.vectors), str(files.lists)}
    assert all("w" not in rights and rights.endswith("s") for rights in mapped.values())
