"""What many past events of many users add to the shared counts, in columns, each sum once.

The rules are those of ``serving.covisits``, for events that are merged one by one; a test holds
both equal.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.ragged import ranges
from model.signals import TOGETHER_MS
from serving.covisits import query_hash
from serving.past_windows import OLD, Window, admit
from serving.profile import IDENTITY_BYTES, QUERY_BYTES

PAIRS_AT_ONCE = 1 << 18
"""Some 25 MB of columns."""
_AWAY_MS = TOGETHER_MS + 1


Floats: TypeAlias = NDArray[np.float64]
Hashes: TypeAlias = NDArray[np.uint64]
Rows: TypeAlias = NDArray[np.int64]
Weigh: TypeAlias = Callable[[NDArray[np.int64]], Floats]
"""What an event at each of these times (epoch milliseconds) adds."""


class Sums(NamedTuple):
    """Additions to the shared counts, each set and member once; three arrays of one length."""

    sets: Hashes
    members: Hashes
    """Of items."""
    weights: Floats


NOTHING = Sums(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0))


class PastCounts(NamedTuple):
    """What past events add."""

    popular: Sums
    """Of items; whose sets are the items themselves."""
    pairs: Sums
    """What goes with an item, and what was chosen after a query; and what is popular somewhere."""


def past_counts(
    seen: Window,
    asked: Window,
    weigh: Weigh,
    places: Callable[[NDArray[np.int64], Hashes], Hashes] | None = None,
) -> PastCounts:
    """What the new records of these windows add.

    Args:
        seen: interactions.
        asked: queries of the same users.
        weigh: see ``Counts.weights``.
        places: by arrivals and items of interactions, the sets of their countries; 0 for none.
    """
    floors = admit(seen, asked)
    weights = weigh(seen.times)
    items, number = np.unique(seen.items(), return_inverse=True)
    clocks = _clocks(seen, asked)
    new = np.flatnonzero(seen.is_admitted)
    present = np.unique(number[new])
    popular = np.bincount(number[new], weights[new], len(items)).astype(np.float64)
    pairs = [
        _together(seen, clocks[0], number, weights, items),
        _chosen(seen, asked, clocks, floors, number, weights, items),
    ]
    if places is not None:
        pairs.append(
            _summed_sets(
                places(seen.arrival[new], items[number[new]]), items[number[new]], weights[new]
            )
        )
    return PastCounts(
        Sums(items[present], items[present], popular[present]),
        Sums(*(np.concatenate(columns) for columns in zip(*pairs, strict=True))),
    )


def _together(seen: Window, clock: Rows, number: Rows, weights: Floats, items: Hashes) -> Sums:
    """Items that one user had within half an hour, both ways."""
    rows = np.arange(len(seen))
    begins = np.searchsorted(clock, clock - TOGETHER_MS)
    # A window holds no more; so that nobody who clicks by machine makes millions of pairs.
    begins = np.maximum(begins, rows - 2 * seen.section.bound)
    usable = seen.makes_pairs

    def found() -> Iterator[tuple[Rows, Floats]]:
        for later, earlier in _crossed(begins, rows):
            # By time; by arrival it may be the other way.
            is_turned = seen.arrival[earlier] > seen.arrival[later]
            second, first = np.where(is_turned, (earlier, later), (later, earlier))
            good = usable[second] & usable[first] & (seen.arrival[second] != OLD)
            good &= (first >= seen.floor[second]) & (number[first] != number[second])
            later, earlier = later[good], earlier[good]
            one, other = number[later], number[earlier]
            yield np.minimum(one, other) * len(items) + np.maximum(one, other), weights[later]

    keys, sums = _summed(found())
    one, other = np.divmod(keys, max(len(items), 1))
    return Sums(
        items[np.concatenate([one, other])],
        items[np.concatenate([other, one])],
        np.concatenate([sums, sums]),
    )


def _chosen(
    seen: Window,
    asked: Window,
    clocks: tuple[Rows, Rows],
    floors: tuple[Rows, Rows],
    number: Rows,
    weights: Floats,
    items: Hashes,
) -> Sums:
    """What was chosen within half an hour after a search."""
    if not len(asked) or not len(seen):
        return NOTHING
    ends = np.searchsorted(clocks[1], clocks[0], side="right")
    begins = np.searchsorted(clocks[1], clocks[0] - TOGETHER_MS)
    begins = np.maximum(begins, ends - 4 * asked.section.bound)
    choosable, usable = seen.makes_pairs, asked.makes_pairs
    queries, query_number = np.unique(_queries(asked), return_inverse=True)

    def found() -> Iterator[tuple[Rows, Floats]]:
        for choice, query in _crossed(begins, ends):
            chosen_last = seen.arrival[choice] > asked.arrival[query]
            good = choosable[choice] & usable[query]
            good &= np.where(
                chosen_last,
                (seen.arrival[choice] != OLD) & (query >= floors[0][choice]),
                (asked.arrival[query] != OLD) & (choice >= floors[1][query]),
            )
            choice, query = choice[good], query[good]
            yield query_number[query] * len(items) + number[choice], weights[choice]

    keys, sums = _summed(found())
    query, item = np.divmod(keys, len(items))
    return Sums(queries[query], items[item], sums)


def _clocks(seen: Window, asked: Window) -> tuple[Rows, Rows]:
    """Times of both, ascending over all users, in which pauses longer than half an hour are cut to
    that: two are near to each other there if they are one user's and near in time."""
    owner = np.concatenate([seen.owner, asked.owner])
    times = np.concatenate([seen.times, asked.times])
    order = np.lexsort((times, owner))
    passed = np.minimum(np.diff(times[order]), _AWAY_MS)
    passed[np.diff(owner[order]) > 0] = _AWAY_MS
    clock = np.zeros(len(order), np.int64)
    clock[order[1:]] = np.cumsum(passed)
    return clock[: len(seen)], clock[len(seen) :]


def _crossed(begins: Rows, ends: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Each row with all of ``begins[row] .. ends[row]``, so many pairs at a time."""
    sizes = ends - begins
    total = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = int(total[start - 1]) if start else 0
        end = int(np.searchsorted(total, before + PAIRS_AT_ONCE, side="right"))
        end = max(end, start + 1)
        rows = np.arange(start, end)
        yield np.repeat(rows, sizes[start:end]), ranges(begins[start:end], sizes[start:end])
        start = end


def _summed(found: Iterable[tuple[Rows, Floats]]) -> tuple[Rows, Floats]:
    """Distinct keys and the sum of each one's weights."""
    keys, sums = np.empty(0, np.int64), np.empty(0)
    waiting: list[tuple[Rows, Floats]] = []
    for each in found:
        waiting.append(each)
        if sum(len(part) for part, _ in waiting) > 4 * PAIRS_AT_ONCE:
            keys, sums = _united([(keys, sums), *waiting])
            waiting = []
    return _united([(keys, sums), *waiting])


def _united(parts: Sequence[tuple[Rows, Floats]]) -> tuple[Rows, Floats]:
    keys = np.concatenate([each for each, _ in parts])
    weights = np.concatenate([each for _, each in parts])
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    if not len(starts):
        return keys, weights
    return keys[starts], np.add.reduceat(weights[order], starts)


def _summed_sets(sets: Hashes, members: Hashes, weights: Floats) -> Sums:
    """Each set and member once; of set 0 nothing."""
    numbers, which = np.unique(sets, return_inverse=True)
    items, item = np.unique(members, return_inverse=True)
    keys, sums = _summed([(which * len(items) + item, weights)])
    one, member = np.divmod(keys, max(len(items), 1))
    is_set = numbers[one] > 0
    return Sums(numbers[one][is_set], items[member][is_set], sums[is_set])


def _queries(asked: Window) -> Hashes:
    texts = asked.records[:, IDENTITY_BYTES : IDENTITY_BYTES + QUERY_BYTES]
    packed = np.ascontiguousarray(texts).view(f"V{QUERY_BYTES}").ravel().tolist()
    return np.array([query_hash(text) for text in packed], np.uint64)
