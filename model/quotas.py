"""How many candidates each source may propose for a list: settings of a bundle.

The defaults are what lists were made of before there were quotas, and the choices after the same
search; ``model.quota_choice`` raises ``in_category``, ``fresh`` and ``new`` where lists gain by it.
A source whose quota is 0 is not asked and costs nothing.
"""

from typing import get_type_hints

import msgspec

from model.signals import MATCHES, NEIGHBOURS, POPULAR

MOST = 1_000
"""Of one source. Each candidate of a list is scored; past that a list costs more than it gains."""


class SourceQuotas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Candidates per list, at most; kept in the manifest."""

    search: int = MATCHES
    """Matches of the query."""
    chosen: int = NEIGHBOURS
    """What others chose after the same search."""
    repeat: int = 300
    """The user's own newest purchases: all that a profile holds, which are 280 at most."""
    together: int = NEIGHBOURS
    """Of each of the user's newest items, what is seen together with it."""
    nearest: int = MOST
    """Of those that the network finds, which are the ``top_k`` of the bundle."""
    popular: int = POPULAR
    in_category: int = 0
    """Popular in the categories of the user's newest items and of the best matches."""
    in_country: int = 0
    """Popular in the country of the event; with it, popularity is counted by country."""
    fresh: int = 0
    """New items that hardly anyone knows yet, by what the user takes of their kinds and brands."""
    new: int = 0
    """Places at the end of each list without a query, for items that a bandit picks."""


class QuotaError(ValueError):
    """Quotas that cannot be; the message says what to do."""


def with_changes(quotas: SourceQuotas, changes: str) -> SourceQuotas:
    """The quotas with some of them set, such as ``new=1, in_country=50``.

    Raises:
        QuotaError: a source is unknown, or its quota no number from 0 to ``MOST``.
    """
    known = get_type_hints(SourceQuotas)
    changed: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in changes.split(","))):
        name, _, number = (word.strip() for word in part.partition("="))
        if name not in known:
            raise QuotaError(f"`{name}` is no source; the sources are {', '.join(known)}")
        if not number.isdecimal() or int(number) > MOST:
            raise QuotaError(f"`{part}` is no quota; write {name}= and a number from 0 to {MOST}")
        changed[name] = int(number)
    return msgspec.structs.replace(quotas, **changed)
