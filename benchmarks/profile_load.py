"""Full profiles, and events for them as a stream brings them: mostly in order, some late or twice.

Items are those of the Complete Journey where it is installed, else generated ids as long.
"""

import random
from collections import deque
from dataclasses import dataclass, field

from model.events import Click, Context, Purchase, Search, User
from model.journey import load_items
from model.traits import MOST_ATTRIBUTES, pack_traits
from serving.merge import ProfileUpdate, origin
from serving.profile import (
    INTERACTIONS,
    PURCHASES,
    QUERIES,
    SECTIONS,
    Profile,
    pack_interaction,
    pack_query,
    profile_of,
)

START_MS = 1_780_000_000_000
DAY_MS = 86_400_000
SOURCE = "events:0"
DUPLICATES, LATE = 0.1, 0.1
SEARCHES, BOUGHT = 0.1, 0.2
TEMPLATES = 64
"""Different profiles; users share them, for packing one takes milliseconds."""


def catalogue_ids() -> tuple[list[str], str]:
    """Item ids, and where they come from."""
    try:
        return [item.item_id for item in load_items()], "The Complete Journey"
    except ModuleNotFoundError:
        return [str(25_000 + 193 * at) for at in range(92_331)], "generated"


def full_profile(chance: random.Random, items: list[str]) -> Profile:
    """A profile at all its bounds, older than ``START_MS``."""
    events = [
        Purchase(
            event_id=f"bought-{chance.getrandbits(64):x}", user_id="", quantity=2, price=3.99,
            ts=START_MS - DAY_MS * (2 + at), item_id=chance.choice(items),
        )
        for at in range(PURCHASES.bound)
    ] + [
        (Purchase if at % 2 else Click)(
            event_id=f"recent-{chance.getrandbits(64):x}", user_id="",
            ts=START_MS - 60_000 * (1 + at), item_id=chance.choice(items),
        )
        for at in range(INTERACTIONS.bound)
    ]  # fmt: skip
    queries = [
        Search(
            event_id=f"asked-{chance.getrandbits(64):x}", user_id="",
            ts=START_MS - 90_000 * (1 + at), query=f"what a shopper looks for, number {at}",
        )
        for at in range(QUERIES.bound)
    ]  # fmt: skip
    told = User(
        event_id="told", user_id="", ts=START_MS - DAY_MS,
        attributes={f"attribute {at}": chance.random() for at in range(MOST_ATTRIBUTES)},
        context=Context(country="DE", device="phone"),
    )  # fmt: skip
    profile = profile_of(
        [pack_interaction(each) for each in events],
        list(map(pack_query, queries)),
        [pack_traits(told)],
    )
    full = zip(profile, SECTIONS, strict=True)
    assert all(len(packed) == kind.bound * kind.width for packed, kind in full)
    return profile


@dataclass
class Shopper:
    """A user, and the last records that came in for them."""

    user_id: str
    profile: Profile
    recent: deque[tuple[bytes, bytes, int]] = field(default_factory=lambda: deque(maxlen=50))
    """Record, origin and time, for events that come twice or late."""


class Load:
    """Users with full profiles and an endless stream of updates for them, one event each.

    Args:
        users: how many.
        prefix: of their ids.
        seed: same seed, same events.
    """

    def __init__(self, users: int, *, prefix: str, seed: int) -> None:
        self._chance = random.Random(seed)
        self._items, self.catalogue = catalogue_ids()
        templates = [full_profile(self._chance, self._items) for _ in range(min(users, TEMPLATES))]
        self.shoppers = [
            Shopper(f"{prefix}-{at}", templates[at % len(templates)]) for at in range(users)
        ]
        self._offset = 0

    def updates(self, count: int) -> list[ProfileUpdate]:
        """The next updates; no user comes twice within as many updates as there are users."""
        found: list[ProfileUpdate] = []
        while len(found) < count:
            self._chance.shuffle(self.shoppers)
            found += map(self._update, self.shoppers)
        return found[:count]

    def _update(self, shopper: Shopper) -> ProfileUpdate:
        dice = self._chance.random()
        if shopper.recent and dice < DUPLICATES:
            record, place, _ = self._chance.choice(shopper.recent)
            return ProfileUpdate(shopper.user_id, [record], [place])
        self._offset += 1
        ts = START_MS + self._offset
        if shopper.recent and dice < DUPLICATES + LATE:
            ts = self._chance.choice(shopper.recent)[2] - 1
        record, place = self._record(ts), origin(SOURCE, self._offset)
        shopper.recent.append((record, place, ts))
        return ProfileUpdate(shopper.user_id, [record], [place])

    def _record(self, ts: int) -> bytes:
        event_id, dice = f"event-{self._chance.getrandbits(64):x}", self._chance.random()
        if dice < SEARCHES:
            return pack_query(Search(event_id=event_id, user_id="", ts=ts, query=f"query {ts}"))
        kind = Purchase if dice < SEARCHES + BOUGHT else Click
        item_id = self._chance.choice(self._items)
        return pack_interaction(kind(event_id=event_id, user_id="", ts=ts, item_id=item_id))
