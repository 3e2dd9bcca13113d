"""Events in memory as the past."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from model.events import Event
from serving.intake import Decoded
from stream.replay.past import Extent, PastBatch, PastRecord, Position, partition_of


class EventPast:
    """Events in the order given, each taken from its source when its batch is asked for.

    Args:
        name: of the one part of positions, which counts events.
        events: the same ones every time.
        total: how many, where that is known.
        batch: events handed on at once.
    """

    def __init__(
        self, name: str, events: Iterable[Event], *, total: int | None = None, batch: int = 500
    ) -> None:
        self._name, self._events, self._total, self._batch = name, events, total, batch

    def told(self) -> Sequence[str]:
        """Its name."""
        return [f"events of {self._name}"]

    def total(self) -> int | None:
        """How many there are."""
        return self._total

    def extent(self) -> Extent:
        """The one part, where it is known how many there are."""
        return {} if self._total is None else {self._name: (0, self._total)}

    def batches(self, done: Position) -> Iterator[PastBatch]:
        """See `stream.replay.past.Past`."""
        at = done.get(self._name, 0)
        events = islice(iter(self._events), at, None)
        newest = 0
        while chunk := list(islice(events, self._batch)):
            decoded = [
                Decoded(self._record(event, at + number), event)
                for number, event in enumerate(chunk)
            ]
            at += len(chunk)
            newest = max(newest, *(event.time for event in chunk))
            yield PastBatch(decoded, {self._name: at}, newest)

    def _record(self, event: Event, offset: int) -> PastRecord:
        return PastRecord(self._name, partition_of(event.user_id.encode()), offset)
