"""Whether a source is what it was taken for: told by its first records, before any is used.

A wrong mapping, topic or file would else be read to its end, all of it left out.
"""

import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from model.mapping import Mapping
from stream.event_columns import EventReader
from stream.file_columns import mapping_help, names_in, told_names
from stream.replay.bad_records import Bad, BadRecord
from stream.replay.past import ReplayError
from stream.rows import BadRow, DamagedFileError

LOOK = 1_000
"""Records of a topic, or rows of each file. So many in a row that are bad, or that are left out on
purpose, are no accident."""


def refuse_foreign(
    records: str, looked: int, sound: int, bad: int, first: Bad | None, mapping: Mapping | None
) -> None:
    """Raise ReplayError where nothing of the first records makes an event.

    A short source of which all is left out on purpose may be one of a quiet hour.

    Args:
        records: what they are, for a person.
        looked: how many.
        sound: of them, those that make events.
        bad: of them, those that break the contract; the others are left out on purpose.
        first: of the bad ones.
        mapping: what would make events of them; None: they are events.
    """
    if sound or not looked or bad < looked < LOOK:
        return
    raise ReplayError(
        f"of the first {looked:,} {records} none {_told(first, bad == looked, mapping)}. Nothing "
        f"was sent or built: {mapping_help(mapping)}; --keep-going goes on all the same, and "
        "leaves out what cannot be understood"
    )


def look_at_files(files: Iterable[tuple[Path, Path]], mapping: Mapping | None) -> None:
    """Raise ReplayError where nothing of the first rows of any of them makes an event.

    Args:
        files: each where it is, and as a person knows it.
        mapping: what makes events of their rows.

    Raises:
        RowsError: one of them cannot be read, or lacks columns without which no row is an event.
    """
    look = _FileLook(mapping)
    for path, name in files:
        if look.sees_any(path, name):
            return
    refuse_foreign("rows", look.rows, 0, look.bad, look.first, mapping)


class _FileLook:
    """Counts the first rows of files, as far as none of them makes an event."""

    def __init__(self, mapping: Mapping | None) -> None:
        self._mapping = mapping
        self._now_ms = int(time.time() * 1000)
        self.rows = self.bad = 0
        self.first: BadRow | None = None

    def sees_any(self, path: Path, name: Path) -> bool:
        """Whether one of the first rows of a file makes an event."""
        reader: EventReader = EventReader(
            lambda row: self._note(row, reader), self._now_ms, self._mapping
        )
        # What is damaged is told when it is read to its end.
        with suppress(DamagedFileError, _SeenEnough), closing(reader.read(path, name)) as blocks:
            for _ in blocks:
                if reader.sound or reader.rows >= LOOK:
                    break
        self.rows += reader.rows
        self.bad += reader.bad.total()
        return reader.sound > 0

    def _note(self, row: BadRow, reader: EventReader) -> None:
        self.first = self.first or row
        if reader.sound or reader.rows >= LOOK:
            raise _SeenEnough


class _SeenEnough(Exception):
    """Of a file."""


def _told(first: Bad | None, is_all_bad: bool, mapping: Mapping | None) -> str:
    some = "all" if first is None else "some"
    by = "" if mapping is None else mapping.name
    left_out = f"makes an event: {by} leaves out {some} of them on purpose"
    if first is None:
        return left_out
    names = names_in([(first.value if isinstance(first, BadRecord) else first.raw) or b""])
    lacks = "" if mapping is None else mapping.lacking(names)
    has = f" (it has {told_names(names)}{f' and no {lacks}' if lacks else ''})" if names else ""
    if is_all_bad:
        return f"can be understood; the first is {first}{has}"
    return f"{left_out}; the first of the others is {first}{has}"
