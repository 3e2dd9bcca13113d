"""The seeded log: what shoppers do, with copies, late records, garbage, forget and identify.

What is expected at the end must not depend on how the log is cut into micro-batches, hence:

- nobody makes more than a profile's bounds within the 30 minutes of a co-visit, and a late record
  is seconds late, so no record comes in below its user's window (copies may);
- a user is silent before a forget for as long as a record may be late: what the forget erases has
  come before it, if often in the same micro-batch;
- a visitor who is identified makes few enough events to leave room for the known user's own.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aiokafka.partitioner import murmur2

from model.events import (
    Cart,
    Click,
    Event,
    Favorite,
    Forget,
    Identify,
    Impression,
    Purchase,
    Rating,
    Search,
    User,
    encode_event,
)
from tests.chaos.garbage import garbage
from tests.chaos.goods import ITEMS, SEARCHED
from tests.chaos.message import Message
from tests.chaos.shopper import Shopper

BEGIN_MS = 1_760_000_000_000
"""Event time of the first record: the same log on any day, and none of it in the future."""
GAP_MS = 48_000
"""Between two events of a user who is active: 37 of them in the window of a co-visit."""
ACTIVE = 48
SESSION = (5, 40)
EVENTS_PER_USER = 500
GARBAGE, COPIES, LATE = 0.01, 0.10, 0.20
LATE_PLACES = 24
COPY_PLACES = (30, 6_000)
"""How much later a copy comes: most of them soon, all of them behind the late originals."""
QUIET_PLACES = 30
"""Of a user before a forget: no late record of before comes behind it."""


class Traffic:
    """So many records, always the same for the same arguments.

    Args:
        events: records of the log, copies and garbage among them.
        seed: of everything.
        partitions: of the events topic.
    """

    def __init__(self, events: int, seed: int, partitions: int) -> None:
        self.events = events
        self.distinct: Counter[str] = Counter()
        self._rng = random.Random(f"traffic {seed}")
        self._partitions = partitions
        self._late: list[tuple[int, int, Message]] = []
        self._serial = 0
        self._now = BEGIN_MS
        self._place = 0
        users = max(24, events // EVENTS_PER_USER)
        self._idle = [self._shopper(f"user-{number}") for number in range(users)]
        self._households = [self._idle.pop() for _ in range(users // 10)]
        for shopper in self._households:
            shopper.is_household = True
        links = self._make_links(max(2, users // 20))
        self._linked = {each for link in links for each in link}
        self._unidentified = links
        self._active = [self._idle.pop() for _ in range(min(ACTIVE, users // 2))]
        self._step_ms = GAP_MS // len(self._active)
        self._silent: list[tuple[int, Shopper]] = []

    def __iter__(self) -> Iterator[Message]:
        """The records in the order of the log."""
        forget_every = max(100, min(2_000, self.events // 40))
        identify_at = self._identify_places()
        sent = 0
        while sent < self.events:
            for message in self._due():
                sent += 1
                yield message
                if sent == self.events:
                    return
            self._place += 1
            self._now += self._rng.randint(1, 2 * self._step_ms - 1)
            if self._rng.random() < GARBAGE / (1 - COPIES):
                self._emit_garbage()
                continue
            if self._place % forget_every == 0:
                self._silence()
            self._forget_the_silent()
            while identify_at and identify_at[-1] <= self._place:
                identify_at.pop()
                self._identify()
            self._emit_event()

    # -- who acts

    def _shopper(self, user_id: str) -> Shopper:
        hashed: int = murmur2(user_id.encode())
        return Shopper(user_id, (hashed & 0x7FFFFFFF) % self._partitions)

    def _make_links(self, count: int) -> list[tuple[Shopper, Shopper]]:
        known = self._rng.sample(self._idle, count)
        links = []
        for number, shopper in enumerate(known):
            visitor = self._shopper(f"visitor-{number}")
            visitor.left, visitor.searches_left = 60, 4
            shopper.most_interactions, shopper.most_queries = 36, 5
            shopper.partner, visitor.partner = visitor, shopper
            links.append((shopper, visitor))
            self._idle.append(visitor)
        self._rng.shuffle(self._idle)
        return links

    def _identify_places(self) -> list[int]:
        places = [int(self.events * self._rng.uniform(0.05, 0.8)) for _ in self._unidentified]
        return sorted(places, reverse=True)

    def _actor(self) -> Shopper:
        while True:
            at = self._rng.randrange(len(self._active))
            shopper = self._active[at]
            if shopper.session > 0 and shopper.left > 0 and shopper.has_room(self._now):
                return shopper
            next_one = self._next_shopper()
            next_one.session = self._rng.randint(*SESSION)
            if shopper.left > 0:
                self._rest(shopper)
            self._active[at] = next_one

    def _next_shopper(self) -> Shopper:
        # A tenth of the users makes about a third of the events.
        is_household = bool(self._households) and self._rng.random() < 0.3
        pool = self._households if is_household else self._idle
        at = self._rng.randrange(len(pool))
        pool[at], pool[-1] = pool[-1], pool[at]
        return pool.pop()

    def _wake(self, shopper: Shopper) -> None:
        if shopper in self._idle and shopper.left > 0:
            self._idle.remove(shopper)
            places = [at for at, each in enumerate(self._active) if each not in self._linked]
            at = self._rng.choice(places)
            self._rest(self._active[at])
            self._active[at] = shopper
            shopper.session = self._rng.randint(*SESSION)

    def _rest(self, shopper: Shopper) -> None:
        (self._households if shopper.is_household else self._idle).append(shopper)

    # -- what they do

    def _emit_event(self) -> None:
        shopper = self._actor()
        shopper.session -= 1
        shopper.last_ms = self._now
        shopper.left -= 1
        event = self._event_of(shopper)
        self.distinct[type(event).__name__.lower()] += 1
        self._send(shopper, event, late=True)

    def _event_of(self, shopper: Shopper) -> Event:
        rng = self._rng
        given: dict[str, Any] = {
            "event_id": self._next_id(),
            "user_id": shopper.user_id,
            "ts": self._now,
        }
        dice = rng.random()
        if dice < 0.10 and shopper.may_search(self._now):
            shopper.queries.append(self._now)
            shopper.searches_left -= 1
            return Search(**given, query=rng.choice(SEARCHED))
        if dice > 0.98:
            return Impression(**given, rec_id="shown", item_ids=(self._item(), self._item()))
        if dice > 0.96:
            return User(**given, attributes={"age_band": "30-39", "interests": ["茶"]})
        shopper.interactions.append(self._now)
        given["item_id"] = self._item()
        if rng.random() < (0.6 if shopper.is_household else 0.1):
            return Purchase(**given, quantity=rng.randint(1, 5), price=rng.randint(1, 900) / 10)
        dice = rng.random()
        if dice < 0.12:
            return Cart(**given, quantity=rng.randint(1, 3))
        if dice < 0.18:
            return Favorite(**given)
        if dice < 0.24:
            return Rating(**given, value=rng.randint(1, 10) / 2, text="很好")
        return Click(**given, dwell_ms=rng.randrange(60_000))

    def _emit_garbage(self) -> None:
        shopper = self._rng.choice(self._active)
        value = garbage(self._rng, shopper.user_id, self._now)
        key = shopper.user_id.encode()
        self._push(self._place, Message(shopper.partition, key, value, is_garbage=True))

    def _silence(self) -> None:
        at = self._rng.randrange(len(self._active))
        shopper = self._active[at]
        if shopper in self._linked or len(self._idle) < 2:
            return
        self._active[at] = self._next_shopper()
        self._silent.append((self._place + QUIET_PLACES, shopper))

    def _forget_the_silent(self) -> None:
        for until, shopper in list(self._silent):
            if self._place < until:
                continue
            self._silent.remove((until, shopper))
            self.distinct["forget"] += 1
            self._send(
                shopper,
                Forget(event_id=self._next_id(), user_id=shopper.user_id, ts=self._now),
                late=False,
            )
            for message in shopper.recent:  # what must not come back
                self._push(self._place + self._rng.randint(*COPY_PLACES) // 8, message)
            self._rest(shopper)

    def _identify(self) -> None:
        shopper, visitor = self._unidentified.pop()
        event = Identify(
            event_id=self._next_id(),
            user_id=shopper.user_id,
            ts=self._now,
            anonymous_id=visitor.user_id,
        )
        self.distinct["identify"] += 1
        # Who signs in goes on, under both ids.
        self._wake(visitor)
        self._wake(shopper)
        self._send(shopper, event, late=True)

    # -- the order of the log

    def _send(self, shopper: Shopper, event: Event, *, late: bool) -> None:
        rng = self._rng
        message = Message(shopper.partition, shopper.user_id.encode(), encode_event(event))
        shopper.recent.append(message)
        place = self._place
        if late and rng.random() < LATE:
            place += rng.randrange(LATE_PLACES)
        self._push(place, message)
        if rng.random() < COPIES / (1 - COPIES):
            low, high = COPY_PLACES
            delay = low + int(rng.random() ** 6 * (high - low))
            self._push(self._place + delay, message)

    def _push(self, place: int, message: Message) -> None:
        self._serial += 1
        heapq.heappush(self._late, (place, self._serial, message))

    def _due(self) -> Iterator[Message]:
        while self._late and self._late[0][0] <= self._place:
            yield heapq.heappop(self._late)[2]

    def _next_id(self) -> str:
        self._serial += 1
        return f"e{self._serial:x}-{self._rng.getrandbits(24):x}"

    def _item(self) -> str:
        return f"item-{int(self._rng.random() ** 1.5 * len(ITEMS))}"
