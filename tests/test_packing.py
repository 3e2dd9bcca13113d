"""Packed rows: every pair of neighbours once, nothing else, and hardly any padding."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.features import FIRST_ITEM, Interactions, Vocabulary, featurize
from model.packing import PackedRows, batches, inputs_of, pack, windows_of
from model.sequences import Sequences
from tests.sequence_shop import named, timed


def pairs_of(packed: PackedRows) -> Counter[tuple[int, int]]:
    """(item, answer) of each position that has an answer, as positions in the catalogue."""
    asked = packed.answers > 0
    found = zip(packed.items[asked], packed.answers[asked], strict=True)
    return Counter((int(a) - FIRST_ITEM, int(b) - FIRST_ITEM) for a, b in found)


def neighbours(lists: list[list[int]]) -> Counter[tuple[int, int]]:
    return Counter(pair for each in lists for pair in pairwise(each))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 8), max_size=30), max_size=20),
    st.integers(1, 12),
    st.integers(0, 5),
)
def test_every_pair_of_neighbours_is_learned_once(
    lists: list[list[int]], width: int, seed: int
) -> None:
    sequences = Sequences.from_lists(lists, [str(number) for number in range(9)])
    packed = pack(sequences, width, np.random.default_rng(seed))
    assert packed.items.shape[1] == width
    assert pairs_of(packed) == neighbours(lists)
    assert ((packed.segments > 0) == (packed.answers > 0)).all()


def test_a_segment_is_a_run_of_one_sequence() -> None:
    chance = np.random.default_rng(3)
    # No item occurs twice, so that an item tells its sequence and place.
    lists = np.split(np.arange(400), np.sort(chance.choice(400, 40, replace=False)))
    sequences = Sequences.from_lists(
        [each.tolist() for each in lists], [str(number) for number in range(400)]
    )
    packed = pack(sequences, 8, chance)
    row, place = np.nonzero(packed.answers)
    together = (np.diff(row) == 0) & (np.diff(packed.segments[row, place]) == 0)
    assert together.sum() > 100
    assert (np.diff(packed.items[row, place])[together] == 1).all()
    assert (np.diff(place)[together] == 1).all()


def test_hardly_a_position_is_padding() -> None:
    chance = np.random.default_rng(0)
    lists = [[0] * int(size) for size in chance.integers(2, 20, 500)]
    packed = pack(Sequences.from_lists(lists, ["a"]), 50, chance)
    assert (packed.answers > 0).mean() > 0.95


def test_cuts_fall_elsewhere_every_epoch() -> None:
    long = Sequences.from_lists([list(range(50))], [str(number) for number in range(50)])
    chance = np.random.default_rng(1)
    firsts = set()
    for _ in range(20):
        packed = pack(long, 10, chance)
        starts = np.diff(packed.segments, axis=1, prepend=0) > 0
        firsts.add(tuple(np.sort(packed.items[starts])))
    assert len(firsts) > 5


def test_where_times_are_known_the_answer_is_one_of_the_next_moment() -> None:
    users = timed([[("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 1)], [("f", 1), ("f", 1)],
                   [("g", 0), ("h", 5)], [("a", 2), ("f", 3), ("g", 3)]])  # fmt: skip
    found: Counter[tuple[int, int]] = Counter()
    for seed in range(300):
        found += pairs_of(pack(users, 5, np.random.default_rng(seed)))
    named_pairs = {("abcdefgh"[one] + "abcdefgh"[two]): n for (one, two), n in found.items()}
    # The last moment of all, f and g, has no next one.
    assert set(named_pairs) == {"ac", "ad", "ae", "bc", "bd", "be", "gh", "af", "ag"}
    assert named_pairs["gh"] == 300
    assert min(named_pairs.values()) > 60


def test_batches_are_all_rows_once() -> None:
    chance = np.random.default_rng(2)
    lists = [[number, number + 1] for number in range(30)]
    packed = pack(Sequences.from_lists(lists, [str(n) for n in range(31)]), 3, chance)
    parts = list(batches(packed, 4, chance))
    assert sum((pairs_of(part) for part in parts), Counter()) == pairs_of(packed)
    assert {len(part.items) for part in parts[:-1]} == {4}


def test_windows_are_what_the_product_s_features_are() -> None:
    users = timed([[("a", 0.0), ("b", 0.5), ("a", 3.0), ("c", 3.0)], [], [("b", 9.0)]])
    kinds = np.array([1, 2, 1, 5, 3], np.uint8)
    sequences = Sequences(users.items, users.starts, users.item_ids, users.times, kinds)
    vocabulary = Vocabulary(users.item_ids)
    times = users.known_times
    histories = [
        Interactions(vocabulary.hashes[users.items[part]], kinds[part], times[part])
        for part in map(slice, users.starts[:-1], users.starts[1:])
    ]
    expected = featurize(histories, vocabulary, 3)
    for ours, theirs in zip(windows_of(sequences, 3), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("length", "width"), [(2, 2), (10, 3)])
def test_windows_are_no_wider_than_they_need_to_be(length: int, width: int) -> None:
    items, kinds, gaps = windows_of(named(["abc", "b", ""]), length)
    assert items.shape == kinds.shape == gaps.shape == (3, width)
    assert items[:, -1].tolist() == [4, 3, 0]
    assert kinds[:, -1].tolist() == [1, 1, 0]
    assert not gaps.any()


def test_without_times_or_kinds_all_events_look_alike_but_for_their_item() -> None:
    inputs = inputs_of(named(["ab"]))
    assert inputs.kinds.tolist() == [1, 1]
    assert inputs.gaps.tolist() == [0, 0]
