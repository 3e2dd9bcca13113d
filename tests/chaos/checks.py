"""What must hold in the end: each check counts its differences and shows some of them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.counts import Counts
from serving.profile import HEADER_BYTES, PURCHASES, SECTIONS, Profile
from serving.store import Store
from tests.chaos.count_checks import check_counts
from tests.chaos.deliveries import distinct
from tests.chaos.differences import Differences
from tests.chaos.ledger import History, Ledger, Lists, Place
from tests.chaos.oracle import expected_profile, time_of

AT_ONCE = 40


async def check_all(
    ledger: Ledger, store: Store, counts: Counts, deliveries: NDArray[np.void]
) -> list[Differences]:
    """Every check on what the log holds, what was published, and what is in Redis."""
    return [
        await check_profiles(ledger.histories, store),
        await check_forgotten(ledger.histories, store),
        *await check_counts(ledger.histories, counts),
        check_searches(ledger.histories, ledger.lists),
        check_coverage(ledger.histories, ledger.lists),
        await check_last_lists(ledger.histories, ledger.lists, store),
        check_dead_letters(ledger),
        check_delivered(ledger.events, deliveries),
    ]


async def check_profiles(histories: Mapping[str, History], store: Store) -> Differences:
    """Each user's stored profile, byte for byte."""
    result = Differences("profiles")
    users = list(histories)
    for at in range(0, len(users), AT_ONCE):
        some = users[at : at + AT_ONCE]
        for user, stored in zip(some, await store.read(some), strict=True):
            result.compared += 1
            expected, actual = expected_profile(user, histories), stored.profile
            if expected.pack() != actual.pack():
                result.found(f"{user}: {_told(expected, actual)}")
    return result


async def check_forgotten(histories: Mapping[str, History], store: Store) -> Differences:
    """No stored value has anything that its user has forgotten, whatever a reader would hide."""
    result = Differences("forgotten and still stored")
    for user, history in histories.items():
        if history.forgets:
            raw: Any = await store.redis.get(store.keys(user).profile)
            oldest = _oldest_time(raw) if raw else None
            result.compared += 1
            if oldest is not None and oldest <= history.forgotten_until:
                result.found(f"{user}: of {oldest}, forgotten until {history.forgotten_until}")
    return result


def _oldest_time(stored: bytes) -> int | None:
    """Event time of the oldest interaction, query or trait in a stored value."""
    end, times = HEADER_BYTES, []
    counts = stored[1], stored[2], int.from_bytes(stored[3:5], "big"), stored[5]
    for count, section in zip(counts, SECTIONS, strict=True):
        end += count * section.width
        if count and section is not PURCHASES:  # which know their day alone
            times.append(time_of(stored[end - section.width :]))
    return min(times, default=None)


def _told(expected: Profile, actual: Profile) -> str:
    parts = [
        f"{name}: {len(theirs) / width:g} where {len(ours) / width:g} are due, "
        f"{_missing(ours, theirs, width)} missing, {_missing(theirs, ours, width)} too many"
        for name, width, ours, theirs in zip(
            ("interactions", "queries", "purchases", "traits"),
            (section.width for section in SECTIONS),
            expected,
            actual,
            strict=True,
        )
        if ours != theirs
    ]
    return "; ".join(parts)


def _missing(whole: bytes, part: bytes, width: int) -> int:
    return len(_records(whole, width) - _records(part, width))


def _records(section: bytes, width: int) -> set[bytes]:
    return {section[at : at + width] for at in range(0, len(section), width)}


def check_searches(histories: Mapping[str, History], lists: Mapping[str, Lists]) -> Differences:
    """Each search, copies too, has a list of its own, unless its user has forgotten it."""
    result = Differences("searches without a list")
    for user, history in histories.items():
        answered = lists[user].searched if user in lists else set()
        for partition, offset, time_ms in history.searches:
            if time_ms > history.forgotten_until:
                result.compared += 1
                if (partition, offset) not in answered:
                    result.found(f"{user}: the search at partition {partition}, offset {offset}")
    return result


def check_coverage(histories: Mapping[str, History], lists: Mapping[str, Lists]) -> Differences:
    """Each other event that asks for a list is covered by one of its user that has seen it."""
    result = Differences("events without a list")
    for user, history in histories.items():
        newest = lists[user].newest if user in lists else {}
        for partition, offset, time_ms in history.listed:
            if time_ms > history.forgotten_until:
                result.compared += 1
                covering = newest.get(partition)
                if covering is None or covering.as_of.offset < offset:
                    result.found(f"{user}: the event at partition {partition}, offset {offset}")
    return result


async def check_last_lists(
    histories: Mapping[str, History], lists: Mapping[str, Lists], store: Store
) -> Differences:
    """The list in Redis is the user's newest one on the topic that no forget has erased."""
    result = Differences("last lists")
    users = list(histories)
    for at in range(0, len(users), AT_ONCE):
        some = users[at : at + AT_ONCE]
        stored = await asyncio.gather(*(store.last_list(user) for user in some))
        for user, actual in zip(some, stored, strict=True):
            marker = histories[user].forgotten_until
            published = lists[user].by_place if user in lists else {}
            valid = [place for place, (_, time_ms) in published.items() if time_ms > marker]
            due = published[max(valid, key=_offset)][0] if valid else None
            result.compare(user, due, None if actual is None else actual.rec_id)
    return result


_offset: Callable[[Place], int] = lambda place: place[1]  # noqa: E731


def check_dead_letters(ledger: Ledger) -> Differences:
    """Each garbage record is there as it was sent, and nothing else is."""
    result = Differences("dead letters")
    for stranger in ledger.strangers:
        result.found(stranger)
    for place, (key, value) in ledger.garbage.items():
        # A null value would be a tombstone.
        result.compare(f"{place}", {(key, value or b"")}, _plain(ledger.dead.get(place, set())))
    for place in ledger.dead.keys() - ledger.garbage.keys():
        result.found(f"{place} is no garbage: {ledger.dead[place]}")
    return result


def _plain(
    letters: Iterable[tuple[bytes | None, bytes | None]],
) -> set[tuple[bytes | None, bytes]]:
    return {(key, value or b"") for key, value in letters}


def check_delivered(events: int, deliveries: NDArray[np.void]) -> Differences:
    """Each record of the log has reached an agent."""
    result = Differences("records never handled", compared=events)
    handled = distinct(deliveries)
    if handled != events:
        result.count = abs(events - handled)
        result.samples.append(f"{handled} records of {events} reached an agent")
    return result
