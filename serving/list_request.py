"""What a list is made for, and what the users of many lists have done, in columns."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from model.events import MAX_TIME_MS, Context
from model.features import Histories, PurchaseTable, Searches
from model.who import who_rows
from serving.profile import QUERIES, Profile, histories_of, purchases_of
from serving.recommendation import AsOf


class ListRequest(NamedTuple):
    """A list to make."""

    user_id: str
    event_id: str
    time: int
    """Event time of the cause, epoch milliseconds."""
    as_of: AsOf
    profile: Profile
    query: str | None = None
    current_item: str | None = None
    """The item the user looks at right now: recommending it would be no help."""
    searched_until: int = MAX_TIME_MS
    """Epoch milliseconds: later searches are not what this list is for."""
    context: Context | None = None
    """Where the cause happened, as far as it says so."""

    @property
    def is_known(self) -> bool:
        """Whether the profile holds anything but the search that the list is for."""
        searched = 0 if self.query is None else QUERIES.width
        return len(self.profile.queries) > searched or any(
            self.profile._replace(queries=b"", traits=b"")
        )


class RequestTable(Sequence[ListRequest]):
    """The lists that a micro-batch asks for (L), and their users' profiles as columns.

    Each column is unpacked when it is read first, of all users at once.
    """

    def __init__(self, requests: Sequence[ListRequest]) -> None:
        self._requests = requests

    def __len__(self) -> int:
        """How many lists."""
        return len(self._requests)

    def __iter__(self) -> Iterator[ListRequest]:
        """One request after the other."""
        return iter(self._requests)

    @overload
    def __getitem__(self, number: int) -> ListRequest: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[ListRequest]: ...
    def __getitem__(self, number: int | slice) -> ListRequest | Sequence[ListRequest]:
        """One request, or some. Raises IndexError where there is no such request."""
        return self._requests[number]

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """Event time of the cause of each, int64 [L], epoch milliseconds."""
        return np.array([each.time for each in self._requests], np.int64)

    @cached_property
    def histories(self) -> Histories:
        """What each user did."""
        return histories_of([each.profile for each in self._requests])

    @cached_property
    def purchases(self) -> PurchaseTable:
        """What each user has bought."""
        return purchases_of([each.profile for each in self._requests])

    @cached_property
    def who(self) -> NDArray[np.int64]:
        """Who each user is, as a network reads it, int64 [L, T]."""
        return who_rows([each.profile.traits for each in self._requests])

    def searches(self) -> list[Searches]:
        """What each user has searched for, of which unpacking costs more than all the rest."""
        return [each.profile.searches_until(each.searched_until) for each in self._requests]
