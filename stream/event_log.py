"""Event files -> the columns that training and evaluation read."""

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.dataset import EventLog
from model.events import (
    INTERACTION_KINDS,
    Cart,
    Click,
    Event,
    Favorite,
    Forget,
    Identify,
    Impression,
    Interaction,
    Purchase,
    Rating,
    Search,
    User,
    decode_event,
)
from model.mapping import Mapping
from model.search_log import SearchLog
from model.trait_log import TraitLog
from model.traits import TRAIT_BYTES, pack_traits
from serving.profile import INTERACTIONS, QUERIES, Profile, pack_interaction, pack_query
from stream.file_columns import mapping_help, refuse_other_columns
from stream.mapped_events import mapped_events
from stream.rows import BadRow, RowsError, decode_rows, read_rows


def read_event_log(
    paths: Sequence[Path], report: Callable[[BadRow], None], mapping: Mapping | None = None
) -> EventLog:
    """The interactions, searches and traits of users of event files, in columns.

    What is one event, and which of two at the same time comes first, is what it is to a profile:
    a copy counts once (the log of an at-least-once stream holds some), and rows are in the order
    of profile records, so that a network is trained on the histories that it will be served. What
    a user has had forgotten, also of what an anonymous id did that is known to be his, is left out.

    Args:
        paths: JSONL or CSV (plain, gzip, zstd) or Parquet, in any order.
        report: gets each row that breaks the contract.
        mapping: what makes events of the rows, where they are none of ours.

    Raises:
        MappingError: the mapping says nothing of events.
        RowsError: when a file cannot be read, or is a table that lacks columns without which it
            has no event, or none holds an interaction that is left.
    """
    columns = _Columns()
    bad: list[BadRow] = []

    def note(row: BadRow) -> None:
        report(row)
        if not bad:
            bad.append(row)

    for event in _events(paths, note, mapping):
        columns.add(event)
    if not columns.times:
        first = f" (the first row that is left out is {bad[0]})" if bad else ""
        raise RowsError(
            "there is no interaction (click, cart, favorite, rating, purchase) in "
            f"{', '.join(map(str, paths))}{first}; {_help(mapping)}"
        )
    log = columns.log()
    if not len(log):
        raise RowsError(
            f"users have had forgotten all that {', '.join(map(str, paths))} held; name other files"
        )
    return log


def _events(
    paths: Sequence[Path], report: Callable[[BadRow], None], mapping: Mapping | None
) -> Iterator[Event]:
    if mapping is not None:
        yield from mapped_events(paths, mapping, report)
        return
    now_ms = int(time.time() * 1000)
    for path in paths:
        rows = read_rows(path, lambda path, names: refuse_other_columns(path, names, None))
        for _, event in decode_rows(rows, lambda data: decode_event(data, now_ms), report):
            yield event


def _help(mapping: Mapping | None) -> str:
    files = "name files that hold some"
    return files if mapping is None else f"{files}, or {mapping_help(mapping)}"


class _Columns:
    """Events as columns of machine numbers: a million take 40 MB, and not the 500 of structs."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._sessions: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}
        self._links: list[Identify] = []
        self._user_codes, self._item_codes, self._kinds = array("i"), array("i"), array("B")
        self._session_codes = array("i")
        self._records = bytearray()
        self._searchers: dict[str, int] = {}
        self._searcher_codes = array("i")
        self._search_records = bytearray()
        self._known: dict[str, int] = {}
        self._known_codes = array("i")
        self._trait_records = bytearray()
        self.times = array("q")

    def add(self, event: Event) -> None:
        """Take in an event of any kind."""
        if isinstance(event, User) or (
            event.context is not None and not isinstance(event, Impression | Forget | Identify)
        ):
            traits = pack_traits(event)
            known = self._known.setdefault(event.user_id, len(self._known))
            self._known_codes.extend([known] * (len(traits) // TRAIT_BYTES))
            self._trait_records += traits
        match event:
            case Click() | Cart() | Favorite() | Rating() | Purchase():
                self._add_interaction(event)
            case Search():
                searcher = self._searchers.setdefault(event.user_id, len(self._searchers))
                self._searcher_codes.append(searcher)
                self._search_records += pack_query(event)
            case Forget():
                self._forget(event.user_id, event.time)
            case Identify():
                self._links.append(event)

    def _add_interaction(self, event: Interaction) -> None:
        user = self._users.setdefault(event.user_id, len(self._users))
        self._user_codes.append(user)
        self._item_codes.append(self._items.setdefault(event.item_id, len(self._items)))
        session = event.session_id
        self._session_codes.append(
            -1 if session is None else self._sessions.setdefault(session, len(self._sessions))
        )
        self._kinds.append(INTERACTION_KINDS[type(event)])
        self.times.append(event.time)
        self._records += pack_interaction(event)

    def _forget(self, user_id: str, until: int) -> None:
        self._forgotten[user_id] = max(until, self._forgotten.get(user_id, -1))

    def log(self) -> EventLog:
        """What is left of all events."""
        for link in self._links:
            self._forget(link.anonymous_id, self._forgotten.get(link.user_id, -1))
        until = np.array([self._forgotten.get(user, -1) for user in self._users], np.int64)
        users, times = np.frombuffer(self._user_codes, np.int32), np.frombuffer(self.times, "i8")
        order = _distinct(users, _table(self._records, INTERACTIONS.width))
        order = order[times[order] > until[users[order]]]
        return EventLog.from_columns(
            users[order],
            np.frombuffer(self._item_codes, np.int32)[order],
            np.frombuffer(self._kinds, np.uint8)[order],
            times[order],
            list(self._users),
            list(self._items),
            np.frombuffer(self._session_codes, np.int32)[order] if self._sessions else None,
            self._searches(until),
            self._traits(until),
        )

    def _traits(self, until: NDArray[np.int64]) -> TraitLog:
        """What is left of the traits, of users with interactions; ``until`` as for those."""
        known = np.array([self._users.get(user, -1) for user in self._known], np.int32)
        users = known[np.frombuffer(self._known_codes, np.int32)]
        table = _table(self._trait_records, TRAIT_BYTES)
        order = _distinct(users, table)
        order = order[users[order] >= 0]
        told = TraitLog(users[order], table[order])
        kept = told.times > until[told.users]
        return TraitLog(told.users[kept], told.records[kept])

    def _searches(self, until: NDArray[np.int64]) -> SearchLog:
        """What is left of the searches, of users with interactions; ``until`` as for those."""
        known = np.array([self._users.get(user, -1) for user in self._searchers], np.int32)
        users = known[np.frombuffer(self._searcher_codes, np.int32)]
        table = _table(self._search_records, QUERIES.width)
        order = _distinct(users, table)
        order = order[users[order] >= 0]
        # Read as a profile reads them, so that they are cut where it cuts them.
        found = Profile(queries=table[order].tobytes()).searches()
        times = np.array([time for time, _ in found], np.int64)
        kept = np.flatnonzero(times > until[users[order]])
        return SearchLog(users[order[kept]], times[kept], [found[row][1] for row in kept])


def _table(records: bytearray, width: int) -> NDArray[np.uint8]:
    """Packed records of one width, a row each."""
    return np.frombuffer(records, np.uint8).reshape(-1, width)


def _distinct(users: NDArray[np.int32], table: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What sorts packed records by user, oldest first, byte by byte as a profile compares them,
    and leaves out copies."""
    words = -(-table.shape[1] // 8)
    padded = np.zeros((len(table), 8 * words), np.uint8)
    padded[:, : table.shape[1]] = table
    columns = np.column_stack([users.astype(np.uint64), padded.view(">u8").astype(np.uint64)])
    order = np.lexsort(columns.T[::-1])
    columns = columns[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (columns[1:] != columns[:-1]).any(axis=1)
    return order[is_first]
