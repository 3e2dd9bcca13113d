"""What the topics hold: the events as they were logged, and what the workers made of them."""

from dataclasses import dataclass, field
from typing import cast

import msgspec
from confluent_kafka import Message

from model.events import (
    Event,
    Forget,
    Identify,
    Impression,
    Search,
    User,
    decode_event,
)
from model.traits import pack_traits, split_traits
from serving.profile import pack_interaction, pack_query
from stream.deadletter import read_dead_letter
from stream.settings import Settings

GARBAGE_HEADER = "chaos-garbage"
"""The producer marks what it made wrong, so that no decoder has to be believed."""
FAR_FUTURE_MS = 1 << 46

Place = tuple[int, int]
"""Partition and offset in the events topic."""


@dataclass
class History:
    """What the log has of one user; sets, because copies of an event are one event."""

    interactions: dict[bytes, str] = field(default_factory=dict)
    """Packed -> item id."""
    queries: dict[bytes, str] = field(default_factory=dict)
    """Packed -> text."""
    traits: set[bytes] = field(default_factory=set)
    """Packed."""
    forgets: set[int] = field(default_factory=set)
    """Times, epoch milliseconds."""
    visitors: set[str] = field(default_factory=set)
    """Anonymous ids that turned out to be this user."""
    listed: list[tuple[int, int, int]] = field(default_factory=list)
    """Partition, offset and time of each record that asks for a list, searches aside."""
    searches: list[tuple[int, int, int]] = field(default_factory=list)
    """Likewise, of the searches."""

    @property
    def forgotten_until(self) -> int:
        """Time of the newest forget event; -1 for none."""
        return max(self.forgets, default=-1)


class _AsOf(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class ListHead(msgspec.Struct):
    """What counts of a list here."""

    rec_id: str
    user_id: str
    ts: int
    as_of: _AsOf
    query: str | None = None


@dataclass
class Lists:
    """What was published for one user."""

    newest: dict[int, ListHead] = field(default_factory=dict)
    """By partition, the list with the highest ``as_of``."""
    searched: set[Place] = field(default_factory=set)
    """``as_of`` of the lists that answer a search."""
    by_place: dict[Place, tuple[str, int]] = field(default_factory=dict)
    """``rec_id`` and event time by ``as_of``."""


class Ledger:
    """Takes each record of events, recommendations and dead letters as it is read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.histories: dict[str, History] = {}
        self.lists: dict[str, Lists] = {}
        self.garbage: dict[Place, tuple[bytes | None, bytes | None]] = {}
        """Key and value of each record that is none, by place."""
        self.dead: dict[Place, set[tuple[bytes | None, bytes | None]]] = {}
        """Keys and values of the dead letters, by the place they say they come from."""
        self.strangers: list[str] = []
        """Dead letters that name no place, and lists with an ``as_of`` elsewhere."""
        self.events = self.copies = self.published = 0
        self._seen: set[tuple[str, bytes]] = set()
        self._decoder = msgspec.json.Decoder(ListHead)

    def take(self, message: Message) -> None:
        """Note one record."""
        match message.topic():
            case self._settings.events_topic:
                self._take_event(message)
            case self._settings.recommendations_topic:
                self._take_list(message)
            case _:
                self._take_dead_letter(message)

    def _take_event(self, message: Message) -> None:
        place = _place(message)
        self.events += 1
        if any(name == GARBAGE_HEADER for name, _ in headers_of(message)):
            self.garbage[place] = message.key(), message.value()
            return
        event = decode_event(message.value(), FAR_FUTURE_MS)
        history = self.histories.get(event.user_id)
        if history is None:
            history = self.histories[event.user_id] = History()
        if not self._note(history, event, place):
            self.copies += 1

    def _note(self, history: History, event: Event, place: Place) -> bool:
        """Whether the event is new."""
        if not isinstance(event, Forget | Identify | Impression):
            history.traits.update(split_traits(pack_traits(event)))
        match event:
            case Search():
                history.searches.append((*place, event.time))
                packed = pack_query(event)
                is_new = packed not in history.queries
                history.queries[packed] = event.query
            case Forget():
                is_new = event.time not in history.forgets
                history.forgets.add(event.time)
            case Identify():
                is_new = event.anonymous_id not in history.visitors
                history.visitors.add(event.anonymous_id)
            case Impression() | User():
                identity = event.event_id.encode()
                is_new = (event.user_id, identity) not in self._seen
                self._seen.add((event.user_id, identity))
            case _:
                history.listed.append((*place, event.time))
                packed = pack_interaction(event)
                is_new = packed not in history.interactions
                history.interactions[packed] = event.item_id
        return is_new

    def _take_list(self, message: Message) -> None:
        head = self._decoder.decode(message.value() or b"")
        self.published += 1
        if head.as_of.topic != self._settings.events_topic:
            self.strangers.append(f"a list as of {head.as_of}")
            return
        lists = self.lists.get(head.user_id)
        if lists is None:
            lists = self.lists[head.user_id] = Lists()
        place = head.as_of.partition, head.as_of.offset
        if head.query is not None:
            lists.searched.add(place)
        newest = lists.newest.get(place[0])
        if newest is None or newest.as_of.offset < place[1]:
            lists.newest[place[0]] = head
        lists.by_place[place] = head.rec_id, head.ts

    def _take_dead_letter(self, message: Message) -> None:
        told = read_dead_letter(headers_of(message))
        topic = self._settings.events_topic
        try:
            if told["nextclick-topic"] != topic:
                raise ValueError
            place = int(told["nextclick-partition"]), int(told["nextclick-offset"])
        except (KeyError, ValueError):
            self.strangers.append(f"a dead letter with the headers {told}")
            return
        self.dead.setdefault(place, set()).add((message.key(), message.value()))


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    """Of a record; confluent-kafka's annotation allows for more than it gives."""
    return cast("list[tuple[str, bytes]]", message.headers() or [])


def _place(message: Message) -> Place:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None
    return partition, offset
