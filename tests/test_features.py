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
    Histories,
    Interactions,
    Vocabulary,
    featurize,
    needed_lengths,
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
    together = featurize(Histories.of(histories), VOCABULARY, length)
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


def plain_window(user: Interactions, length: int) -> list[tuple[int, int, int]]:
    """Row, kind and gap of a user's newest interactions, one after the other."""
    cells: list[tuple[int, int, int]] = []
    events = zip(user.items.tolist(), user.kinds.tolist(), user.times.tolist(), strict=True)
    before: int | None = None
    rows = {int(VOCABULARY.hashes[at]): FIRST_ITEM + at for at in range(len(VOCABULARY.ids))}
    for item, kind, time in events:
        gap = FIRST_GAP
        if before is not None:
            seconds = max(time - before, 0) // SECOND
            gap = min(FIRST_GAP + 1 + (seconds + 1).bit_length() - 1, GAP_COUNT - 1)
        cells.append((rows.get(item, UNKNOWN), kind, gap))
        before = time
    newest = cells[-length:]
    return [(0, 0, 0)] * (length - len(newest)) + newest


@given(st.lists(events_of_a_user, max_size=6), st.integers(1, 12))
def test_windows_are_what_one_reads_event_by_event(
    users: list[list[tuple[str, int, int]]], length: int
) -> None:
    histories = [history(*events) for events in users]
    found = np.stack(featurize(histories, VOCABULARY, length), axis=-1)
    expected = [plain_window(user, length) for user in histories]
    assert found.tolist() == [[list(cell) for cell in window] for window in expected]


def test_histories_are_the_users_they_are_made_of() -> None:
    users = [history(("milk", 5, 1), ("eggs", 1, 2)), history(), history(("eggs", 2, 3))]
    columns = Histories.of(users)
    assert Histories.of(columns) is columns
    assert len(columns) == 3
    assert columns.owner.tolist() == [0, 0, 2]
    for ours, theirs in zip([*columns, columns[-1]], [*users, users[2]], strict=True):
        assert [each.tolist() for each in ours] == [each.tolist() for each in theirs]
    assert [len(each.items) for each in columns[1:]] == [0, 1]
    with pytest.raises(IndexError):
        columns[3]
