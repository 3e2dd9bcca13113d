"""Partitions read as one: in the order of time, each in its own, and none far ahead."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from stream.replay.time_merge import TimeMerge


class Stamp(NamedTuple):
    """A record."""

    partition: int
    offset: int
    timestamp: int


@st.composite
def logs(draw: st.DrawFn) -> list[list[Stamp]]:
    """Some partitions, each with stamps in any order."""
    stamps = draw(st.lists(st.lists(st.integers(0, 20), max_size=12), min_size=1, max_size=4))
    return [
        [Stamp(partition, offset, stamp) for offset, stamp in enumerate(log)]
        for partition, log in enumerate(stamps)
    ]


@given(logs(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_all_come_once_in_the_order_of_partitions_and_of_time(
    log: list[list[Stamp]], rng: object, size: int
) -> None:
    merge: TimeMerge[Stamp] = TimeMerge(range(len(log)))
    found: list[Stamp] = []
    left = {partition: list(records) for partition, records in enumerate(log)}
    while left:
        partition = rng.choice(sorted(left))  # type: ignore[attr-defined]
        merge.add(partition, left[partition][:size])
        del left[partition][:size]
        if not left[partition]:
            del left[partition]
            merge.end(partition)
        found += merge.ready()
    assert sorted(found) == sorted(each for records in log for each in records)
    latest: dict[int, int] = {}
    counted = []
    for each in found:
        latest[each.partition] = max(latest.get(each.partition, 0), each.timestamp)
        counted.append(latest[each.partition])
    assert counted == sorted(counted), "a late record counts as as late as the one before it"
    for partition, records in enumerate(log):
        assert [each for each in found if each.partition == partition] == records


def test_nothing_passes_a_partition_that_has_brought_nothing() -> None:
    merge: TimeMerge[Stamp] = TimeMerge([0, 1])
    merge.add(0, [Stamp(0, 0, 5), Stamp(0, 1, 9)])
    assert merge.ready() == []
    merge.add(1, [Stamp(1, 0, 7)])
    assert merge.ready() == [Stamp(0, 0, 5), Stamp(1, 0, 7)]
    assert (merge.held(0), merge.held(1)) == (1, 0)
    merge.end(1)
    assert merge.ready() == [Stamp(0, 1, 9)]
