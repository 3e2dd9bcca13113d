"""The newest lists of users, as they stand in the topic: Redis keeps each one's last alone."""

from collections import OrderedDict
from contextlib import suppress

from serving.recommendation import NO_LIST, AsOf, Recommendation, decode_recommendation

OF_USER = 8
"""Lists of a user."""
MOST_BYTES = 32 << 20
LIST_BYTES, USER_BYTES = 64, 448
"""What Python takes to hold a list, and a user, beside the bytes of the list and of the id."""


class RecentLists:
    """Records of the recommendations topic, by their keys; none is decoded before it is asked for.

    Memory has a bound: at most ``OF_USER`` lists of a user, and of all users together at most
    ``most_bytes`` of lists, ids and what Python takes to hold them. Beyond that goes the user who
    has been given none for longest, with all of his. So the more lists there are a second, the
    shorter is the time from which there are any.

    Args:
        most_bytes: of all users.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self.bytes = 0
        """Of memory, as counted here."""
        self._of_user: OrderedDict[bytes, list[bytes]] = OrderedDict()
        """The newest list last, and the user who was given it last."""

    def keep(self, user: bytes | None, value: bytes | None) -> None:
        """Hold the newest record of a user; one without key or value is nobody's."""
        if user is None or value is None:
            return
        held = self._of_user.get(user)
        if held is None:
            self._of_user[user] = [value]
            self.bytes += len(user) + USER_BYTES
        else:
            held.append(value)
            self._of_user.move_to_end(user)
            if len(held) > OF_USER:
                self.bytes -= _size(held.pop(0))
        self.bytes += _size(value)
        while self.bytes > self._most_bytes:
            self.drop(next(iter(self._of_user)))

    def drop(self, user: bytes) -> None:
        """Hold nothing of a user any more."""
        if (held := self._of_user.pop(user, None)) is not None:
            self.bytes -= sum(map(_size, held)) + len(user) + USER_BYTES

    def of(
        self, user_id: str, last: Recommendation | None, forgotten_until: int
    ) -> list[Recommendation]:
        """The lists of a user, newest first, each once, at most ``OF_USER``.

        What he has been forgotten with is neither told nor held any more: lists for events up to
        that time and, where none has been stored since, all of them, for whoever is forgotten
        loses his last list whatever its time.

        Args:
            user_id: whose.
            last: the one that is stored, which need not be held here; None: there is none.
            forgotten_until: time of his newest ``forget`` event, epoch milliseconds; -1 for none.
        """
        user = user_id.encode()
        if last is not None and last.ts <= forgotten_until:
            last = None
        if last is None and forgotten_until >= 0:
            self.drop(user)
            return []
        once: dict[str, Recommendation] = {}
        for each in self._since(user, forgotten_until):
            once.setdefault(each.rec_id, each)  # a copy is no newer than the first of them
        found = list(reversed(once.values()))
        if last is not None and last.rec_id not in once:
            older = (at for at, each in enumerate(found) if not _is_newer(each.as_of, last.as_of))
            found.insert(next(older, len(found)), last)
        return found[:OF_USER]

    def _since(self, user: bytes, forgotten_until: int) -> list[Recommendation]:
        """His lists for later events, in the order of the topic; nothing else stays held."""
        held = self._of_user.get(user, [])
        found: dict[bytes, Recommendation] = {}
        for value in held:
            with suppress(*NO_LIST):
                made = decode_recommendation(value)
                if made.ts > forgotten_until:
                    found[value] = made
        if len(found) < len(held):
            self.drop(user)
            for value in found:
                self.keep(user, value)
        return list(found.values())


def _size(value: bytes) -> int:
    return len(value) + LIST_BYTES


def _is_newer(one: AsOf, other: AsOf) -> bool:
    """Whether it is known to be: of records of two partitions none is."""
    is_same = (one.topic, one.partition) == (other.topic, other.partition)
    return is_same and one.offset > other.offset
