"""Features: what the network reads of a history, the same for one user and for many."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.features import (
    FIRST_GAP,
    FIRST_ITEM,
    GAP_COUNT,
    UNKNOWN,
    Interactions,
    Purchases,
    Vocabulary,
    featurize,
    needed_lengths,
    repeat_strength,
)
from model.ids import ITEM_HASH_BYTES, item_hashes

VOCABULARY = Vocabulary(["milk", "面包", "eggs"])
SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000


def history(*events: tuple[str, int, int]) -> Interactions:
    """Interactions of (item, kind, time)."""
    return Interactions(
        item_hashes([event[0] for event in events]),
        np.array([event[1] for event in events], np.uint8),
        np.array([event[2] for event in events], np.int64),
    )


def test_a_history_is_right_aligned_and_padded() -> None:
    features = featurize([history(("eggs", 1, 0), ("milk", 5, 0))], VOCABULARY, 4)
    assert features.items.tolist() == [[0, 0, FIRST_ITEM + 2, FIRST_ITEM]]
    assert features.kinds.tolist() == [[0, 0, 1, 5]]
    assert features.gaps.tolist() == [[0, 0, FIRST_GAP, FIRST_GAP + 1]]
    assert all(values.dtype == np.int64 for values in features)


def test_only_the_newest_are_read_and_their_first_pause_is_the_real_one() -> None:
    events = [("milk", 5, 0), ("eggs", 5, SECOND), ("milk", 5, 1000 * SECOND)]
    features = featurize([history(*events)], VOCABULARY, 2)
    assert features.items.tolist() == [[FIRST_ITEM + 2, FIRST_ITEM]]
    assert features.gaps.tolist() == [[FIRST_GAP + 2, FIRST_GAP + 1 + 9]]


@pytest.mark.parametrize("copies", [1, 10])
def test_a_user_needs_as_many_positions_as_he_has_events(copies: int) -> None:
    items = np.array([[0, 0, UNKNOWN, FIRST_ITEM], [0, 0, 0, 0], [FIRST_ITEM] * 4] * copies)
    assert needed_lengths(items, reads_queries=False) == [2, 1, 4] * copies
    assert needed_lengths(items, reads_queries=True) == [2, 4, 4] * copies


@pytest.mark.parametrize(
    ("pause", "octave"),
    [(0, 0), (999, 0), (SECOND, 1), (3 * SECOND, 2), (HOUR, 11), (DAY, 16), (10_000 * DAY, 25)],
)
def test_a_pause_falls_into_the_bucket_of_its_doubling(pause: int, octave: int) -> None:
    gaps = featurize([history(("milk", 5, 7), ("milk", 5, 7 + pause))], VOCABULARY, 2).gaps
    assert gaps[0, 1] == FIRST_GAP + 1 + octave
    assert gaps.max() < GAP_COUNT


def test_an_item_outside_the_vocabulary_is_unknown() -> None:
    assert featurize([history(("caviar", 5, 0))], VOCABULARY, 1).items.tolist() == [[UNKNOWN]]


def test_nobody_and_a_user_without_a_history() -> None:
    assert featurize([], VOCABULARY, 3).items.shape == (0, 3)
    empty = history()
    assert not featurize([empty], VOCABULARY, 3).items.any()
    both = featurize([empty, history(("milk", 5, 0)), empty], VOCABULARY, 3)
    assert np.count_nonzero(both.items, axis=1).tolist() == [0, 1, 0]


events_of_a_user = st.lists(
    st.tuples(st.sampled_from(["milk", "eggs", "wine"]), st.integers(1, 5), st.integers(0, 10**12)),
    max_size=9,
).map(lambda events: sorted(events, key=lambda event: event[2]))


@given(st.lists(events_of_a_user, max_size=6), st.integers(1, 6))
def test_a_batch_says_of_each_user_what_it_says_of_him_alone(
    users: list[list[tuple[str, int, int]]], length: int
) -> None:
    histories = [history(*events) for events in users]
    together = featurize(histories, VOCABULARY, length)
    for number, own in enumerate(histories):
        alone = featurize([own], VOCABULARY, length)
        for ours, theirs in zip(together, alone, strict=True):
            assert np.array_equal(ours[number], theirs[0])


@given(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=40), st.data())
def test_rows_are_found_by_hash(ids: list[str], data: st.DataObject) -> None:
    vocabulary = Vocabulary(ids)
    assert len(vocabulary) == FIRST_ITEM + len(ids)
    asked: Sequence[str] = data.draw(st.lists(st.text(min_size=1, max_size=5), max_size=20))
    asked = [*asked, *ids]
    expected = [FIRST_ITEM + ids.index(name) if name in ids else UNKNOWN for name in asked]
    assert vocabulary.index_of(item_hashes(asked)).tolist() == expected


def test_rows_are_found_in_a_large_vocabulary() -> None:
    ids = [f"item-{number}" for number in range(5000)]
    vocabulary = Vocabulary(ids)
    assert np.array_equal(vocabulary.index_of(vocabulary.hashes), np.arange(5000) + FIRST_ITEM)
    strangers = item_hashes([f"other-{number}" for number in range(5000)])
    assert (vocabulary.index_of(strangers) == UNKNOWN).all()
    # Each step is a look at every hash: thousands of them would be felt by every list.
    assert vocabulary.longest_bucket <= 8


def test_hashes_at_both_ends_are_no_items() -> None:
    ends = np.array([0, 2 ** (8 * ITEM_HASH_BYTES) - 1], np.uint64)
    assert VOCABULARY.index_of(ends).tolist() == [UNKNOWN, UNKNOWN]


def test_two_equal_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="'milk' and 'milk' share a hash"):
        Vocabulary(["milk", "eggs", "milk"])


def bought(*purchases: tuple[str, int]) -> Purchases:
    """Purchases of (item, day)."""
    return Purchases(
        item_hashes([item for item, _ in purchases]),
        np.array([day for _, day in purchases], np.uint16),
    )


def test_a_purchase_counts_half_after_its_half_life() -> None:
    items, strength = repeat_strength(
        bought(("milk", 100), ("eggs", 90), ("milk", 80)), 100, half_life_days=10
    )
    found = dict(zip(items.tolist(), strength.tolist(), strict=True))
    milk, eggs = item_hashes(["milk", "eggs"]).tolist()
    assert found == {milk: 1.25, eggs: 0.5}
    assert strength.dtype == np.float32


def test_a_purchase_of_tomorrow_counts_as_one_of_today() -> None:
    assert repeat_strength(bought(("milk", 101)), 100)[1].tolist() == [1.0]


def test_nothing_bought_is_nothing_to_repeat() -> None:
    items, strength = repeat_strength(bought(), 100)
    assert len(items) == len(strength) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["milk", "eggs", "wine"]), st.integers(0, 60_000)), unique=True
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_purchases_is_no_matter(
    purchases: list[tuple[str, int]], chance: "np.random.Generator"
) -> None:
    shuffled = list(purchases)
    chance.shuffle(shuffled)
    one, other = (repeat_strength(bought(*each), 60_000) for each in (purchases, shuffled))
    assert np.array_equal(one[0], other[0])
    assert np.allclose(one[1], other[1], rtol=1e-6)
