"""The benchmark of retrieval: the index beside the exact answer, and beside a stream of changes."""

import numpy as np
import pytest

from benchmarks.made_up_vectors import DIM, made_up_states, made_up_vectors
from benchmarks.retrieval_set import exact_nearest
from model.features import FIRST_ITEM
from model.nearest import recall
from tests.printed_figures import figures_of, run_benchmark

ITEMS = 4000


def test_the_index_is_held_against_the_product_with_all_items() -> None:
    figures = figures_of("retrieval", f"--items={ITEMS}", "--rounds=1", "--seconds=1", "--json")
    contenders = figures["contenders"]
    assert contenders["exact"]["recall"] == 1.0
    assert figures["recall"] == contenders["index"]["recall"] > 0.9
    assert set(figures["growth"]) == {"p50_ms", "p99_ms", "p50_cpu_ms", "p99_cpu_ms"}
    assert min(figures["growth"].values()) > 0
    for share, found in figures["unavailable"].items():
        assert float(share) in (0.3, 0.9)
        assert found["barred_in_lists"] == 0
        assert found["shortest_list"] == 100
        assert found["recall"] > 0.9
    (stream,) = figures["streams"]
    assert stream["not_found"] == figures["not_found"] == 0
    assert stream["upserts"] > 0 and stream["searches"] > 0
    assert figures["slowest_visible_ms"] == stream["visible_after_ms"]["max"] > 0
    for each in figures["memory_mb"]["of_two"]:
        assert 0 < each["uss"]["now"] <= each["pss"]["now"] <= each["rss"]["now"]


@pytest.mark.parametrize(
    ("contenders", "told"),
    [("exact", "--contenders needs index"), ("index,annoy", "there is no annoy; there are index")],
)
def test_contenders_that_cannot_be_compared_are_refused(contenders: str, told: str) -> None:
    run = run_benchmark("retrieval", f"--items={ITEMS}", f"--contenders={contenders}")
    assert run.returncode == 2
    assert told in run.stderr


def test_made_up_vectors_are_the_same_every_time_and_in_groups() -> None:
    vectors = made_up_vectors(ITEMS)
    assert vectors.shape == (FIRST_ITEM + ITEMS, DIM + 1)
    assert np.array_equal(vectors, made_up_vectors(ITEMS))
    assert not vectors[:FIRST_ITEM].any()
    unit = vectors[FIRST_ITEM:, :DIM]
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit[:200] @ unit.T
    np.put_along_axis(cosines, np.arange(200)[:, None], 0, 1)
    assert np.median(cosines.max(axis=1)) > 0.7, "an item has others near to it"
    assert abs(np.median(cosines)) < 0.1, "most are far away"


def test_a_share_of_the_exact_nearest_is_counted() -> None:
    vectors = made_up_vectors(ITEMS)
    states = made_up_states(vectors, 3, seed=1)
    bias = np.zeros(len(vectors), np.float32)
    nearest = exact_nearest(vectors, states, bias, 10)
    scores = states @ vectors.T
    scores[:, :FIRST_ITEM] = -np.inf
    assert (np.sort(nearest) == np.sort(np.argsort(-scores)[:, :10])).all()
    found = nearest.copy()
    found[0, :3] = 0
    assert recall(found, nearest) == pytest.approx(27 / 30)
