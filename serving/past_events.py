"""Past events gathered in columns, to be learnt together: each user's in the order of arrival.

What a ``forget`` or ``identify`` event means depends on what came before it, in its user's profile
and in another's. From an ``identify`` event on, all further events of the users that it names are
set apart, to be learnt one wave after the other behind the rest; from a ``forget`` event on, those
of everybody, for it reaches ids that were linked long ago.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from model.events import INTERACTION_KINDS, Event, Forget, Identify, Impression, Search, User
from model.signals import TOGETHER_MS
from model.traits import merge_traits, pack_traits
from serving.intake import Decoded
from serving.profile import INTERACTIONS, pack_interaction, pack_query


@dataclass
class Rows:
    """Records of one section: three columns, for a list of objects takes five times the memory."""

    owners: "array[int]" = field(default_factory=lambda: array("i"))
    """Number of each one's user."""
    packed: bytearray = field(default_factory=bytearray)
    """The records end to end."""
    arrivals: "array[int]" = field(default_factory=lambda: array("i"))
    """Place of each one's event among all; ascending."""


class PastEvents:
    """Events that follow each other.

    Args:
        by_country: whether to note in which countries interactions happened.
    """

    def __init__(self, *, by_country: bool = False) -> None:
        self.users: dict[str, int] = {}
        """Number of each user, by id."""
        self.interactions = Rows()
        self.queries = Rows()
        self.countries: list[str | None] = []
        """Of each interaction; empty unless asked for."""
        self.apart: list[Decoded] = []
        """Forget and identify events, and what came later that may depend on them."""
        self.has_forget = False
        """Whether somebody is forgotten: all that follows is set apart, which is slow."""
        self.taken = 0
        """How many events there are."""
        self.pairs = 0
        """About how many pairs they make: each with its user's of the same half hour."""
        self._latest: array[int] = array("q")
        """Of each user the time of the event that came last."""
        self._runs: array[int] = array("i")
        """And how many came without a pause."""
        self._by_country = by_country
        self._set_apart: set[str] = set()
        self._traits: dict[int, bytes] = {}
        self._contexts: dict[tuple[int, str | None, str | None], Event] = {}
        """By user, country and device the newest event."""

    def take(self, decoded: Iterable[Decoded]) -> None:
        """Add events, in offset order within each partition."""
        interactions, queries = self.interactions, self.queries
        users, set_apart, arrival = self.users, self._set_apart, self.taken - 1
        latest, runs = self._latest, self._runs
        for each in decoded:
            event = each.event
            arrival += 1
            user = event.user_id
            if self.has_forget or user in set_apart:
                self.apart.append(each)
                continue
            if type(event) in INTERACTION_KINDS:
                rows, packed = interactions, pack_interaction(event)  # type: ignore[arg-type]
                if self._by_country:
                    self.countries.append(event.context.country if event.context else None)
            elif isinstance(event, Search):
                rows, packed = queries, pack_query(event)
            else:
                self._take_other(each)
                continue
            owner = users.get(user)
            if owner is None:
                owner = self._number_of(user)
            rows.owners.append(owner)
            rows.packed += packed
            rows.arrivals.append(arrival)
            time = event.time
            if -TOGETHER_MS <= time - latest[owner] <= TOGETHER_MS:
                run = runs[owner]
                self.pairs += run
                if run < INTERACTIONS.bound:  # a window holds no more
                    runs[owner] = run + 1
            else:
                runs[owner] = 1
            latest[owner] = time
            if event.context is not None:
                self._note_context(owner, event)
        self.taken = arrival + 1

    def traits(self) -> dict[int, bytes]:
        """What is told of who users are, as a section, by number of the user."""
        found = dict(self._traits)
        for (owner, _, _), event in self._contexts.items():
            found[owner] = merge_traits(found.get(owner, b""), pack_traits(event))
        return found

    def _take_other(self, each: Decoded) -> None:
        match each.event:
            case User(user_id=user) as event:
                owner = self._number_of(user)
                held = self._traits.get(owner, b"")
                self._traits[owner] = merge_traits(held, pack_traits(event))
            case Forget():
                self.has_forget = True
                self.apart.append(each)
            case Identify(user_id=user, anonymous_id=anonymous):
                self._set_apart.update((user, anonymous))
                self.apart.append(each)
            case Impression():
                pass

    def _number_of(self, user: str) -> int:
        owner = self.users.setdefault(user, len(self.users))
        if owner == len(self._runs):
            self._runs.append(0)
            self._latest.append(0)
        return owner

    def _note_context(self, owner: int, event: Event) -> None:
        """Of events that tell the same only the newest tells who a user is."""
        context = event.context
        assert context is not None
        place = owner, context.country, context.device
        held = self._contexts.get(place)
        if held is None or held.time < event.time:
            self._contexts[place] = event
