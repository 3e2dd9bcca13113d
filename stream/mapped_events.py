"""Events out of the files of others, by a mapping."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from model.events import Event, decode_event
from model.mapping import Mapping, MappingError
from stream.mapped_rows import ForeignRow, mapped_rows
from stream.rows import BadRow


def mapped_events(
    paths: Sequence[Path], mapping: Mapping, report: Callable[[BadRow], None]
) -> Iterator[Event]:
    """The events that rows make, in file order; ``report`` gets each row that makes a bad one.

    Raises:
        MappingError: the mapping says nothing of events.
        RowsError: a file cannot be read at all, or lacks columns without which it has no events.
    """
    if not mapping.makes_events:
        raise MappingError(
            f"the mapping {mapping.name} makes no events; give it a table [fields] or [[rules]]"
        )
    now_ms = int(time.time() * 1000)

    def make(row: ForeignRow) -> list[Event]:
        made = mapping.events_of_record(row) if isinstance(row, bytes) else mapping.events(row)
        return [decode_event(data, now_ms) for data in made]

    for events in mapped_rows(paths, mapping, "event", make, report):
        yield from events
