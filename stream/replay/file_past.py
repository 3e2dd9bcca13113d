"""Files as a source of the past: read, checked and sorted once, then handed on in order.

The order is that of (event time, event id, JSON), whatever the order of rows and files; copies
stay. The events stand on disk in sorted runs meanwhile, below the work folder, in a folder with
the name of the set: its digest comes from the contents of the files without their names and
order, and from the mapping. So a run that was stopped finds its input again and what it has sorted
of it, files that were renamed or are named in another order are the same input, and changed ones
are another. On disk an event takes about as much as in a packed file; in memory there are a run
that is being sorted and a block of each run that is being merged, whatever the number of events.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from model.events import MAX_TIME_MS, decode_event
from model.mapping import Mapping
from serving.intake import Decoded
from stream.event_columns import EventReader
from stream.file_set import STDIN, files_of
from stream.replay.bad_records import bad_line, read_bad_rows, told_name
from stream.replay.event_batches import BATCH, in_batches
from stream.replay.first_look import look_at_files
from stream.replay.input_set import InputSet, format_with, input_set
from stream.replay.past import Extent, PastBatch, PastRecord, Position, partition_of
from stream.replay.set_summary import Damage, Summary, read_summary, write_summary
from stream.replay.sorted_runs import RUN_BYTES, RunWriter, merged
from stream.replay.stdin_file import spooled
from stream.replay.work_folder import FOLDER, Held, WorkFolder
from stream.rows import BadRow, DamagedFileError, RowsError

MOST_TOLD = 20
"""Files by name; of more there is one line."""
_SUMMARY = "summary.json"
_BAD_ROWS = "bad-rows.jsonl"


def refuse(damage: DamagedFileError) -> None:
    """Read no set of which a file is damaged."""
    raise damage


class FilePast:
    """The events of files.

    Args:
        paths: files, folders, patterns, or ``-`` for standard input (`stream.file_set.files_of`).
        report: gets each bad row, the first time and whenever the same set is read again; what it
            raises ends the read before anything is handed on.
        mapping: what makes events of foreign rows.
        on_damage: gets each file that cannot be read to its end, at the same times; where it
            returns, what stands before the damage is taken.
        folder: where sorted events are kept until `finish`.
        progress: called with the number of rows read, while they are sorted.
        batch: events handed on together.
        run_bytes: sorted in memory at a time.
        refuses_foreign: sort no set of whose first rows none makes an event
            (`stream.replay.first_look`).
    """

    def __init__(
        self,
        paths: Sequence[Path],
        report: Callable[[BadRow], None],
        mapping: Mapping | None = None,
        *,
        on_damage: Callable[[DamagedFileError], None] = refuse,
        folder: Path = FOLDER,
        progress: Callable[[int], None] = lambda rows: None,
        batch: int = BATCH,
        run_bytes: int = RUN_BYTES,
        refuses_foreign: bool = False,
    ) -> None:
        self._paths = list(paths)
        self._report = report
        self._mapping = mapping
        self._on_damage = on_damage
        self._folder = folder
        self._progress = progress
        self._batch = batch
        self._run_bytes = run_bytes
        self._refuses_foreign = refuses_foreign
        self._set: InputSet | None = None
        self.summary: Summary | None = None
        """Known once the files have been sorted."""

    @property
    def part(self) -> str:
        """The name of this set in a position; known once it has been looked at."""
        return f"files:{self.digest}"

    @property
    def digest(self) -> str:
        """Of the set; empty before it has been looked at."""
        return "" if self._set is None else self._set.digest

    @property
    def names(self) -> list[str]:
        """What the files of the set are called; empty before it has been looked at."""
        return [] if self._set is None else [name for name, _ in self._set.named()]

    def told(self) -> Sequence[str]:
        """The files, each with its size, and where their events are sorted."""
        files = self._files()
        lines = [
            "standard input" if path == STDIN else f"{path} ({_size([path])})"
            for path in files[:MOST_TOLD]
        ]
        if others := files[MOST_TOLD:]:
            lines.append(f"and {len(others):,} more files ({_size(others)})")
        if self.summary is not None and self.summary.unmapped:
            lines.append(
                f"{self.summary.rows:,} rows, {self.summary.unmapped:,} of which make no event by "
                "the mapping, on purpose"
            )
        return [*lines, f"sorted events are kept in {self._folder} until all is done"]

    def total(self) -> int | None:
        """How many events there are; None before they are sorted."""
        return None if self.summary is None else self.summary.events

    def extent(self) -> Extent:
        """The one part, once it has been sorted."""
        return {} if self.summary is None else {self.part: (0, self.summary.events)}

    def identify(self) -> str:
        """Tell the set by what stands in its files: they are read, and nothing is sorted, unless it
        is standard input, which can be read once only. Returns `part`. Raises RowsError.
        """
        if self._set is None:
            files = self._files()
            if STDIN in files:
                self.prepare()
            else:
                self._set = input_set([(path, path) for path in files], self._mapping)
        return self.part

    def prepare(self) -> Summary:
        """Read, check and sort the files, unless this set has been; `batches` does so, too.

        Raises:
            RowsError: a file cannot be read, or there is no room for what is sorted.
            ReplayError: none of the first rows makes an event, and that is refused.
        """
        if self.summary is None:
            try:
                self.summary = self._prepared()
            except OSError as error:
                raise RowsError(
                    f"{self._folder} cannot hold the sorted events ({error.strerror or error}); "
                    "they take about as much room as the files do when they are packed: make "
                    "some, or name another folder"
                ) from None
        return self.summary

    def batches(self, done: Position) -> Iterator[PastBatch]:
        """The events behind a position. Raises RowsError as `prepare` does."""
        summary, held = self._held()
        first = done.get(self.part, 0)
        with held, closing(merged([held.path / run for run in summary.runs])) as blocks:
            try:
                for values in in_batches(blocks, first, self._batch):
                    decoded = self._decoded(values, first)
                    first += len(values)
                    yield PastBatch(decoded, {self.part: first}, decoded[-1].event.time)
            except (OSError, pa.ArrowInvalid) as error:
                raise _damaged(held.path, str(error)) from None
        if first < summary.events:
            raise _damaged(held.path, f"{first:,} events of {summary.events:,}")

    def known(self) -> Summary | None:
        """What the set holds, where this run has read it, or an earlier one has come to its end."""
        if self.summary is None and self._set is not None:
            try:
                return read_summary(self._finished)
            except FileNotFoundError:
                return None
        return self.summary

    def damages(self) -> list[DamagedFileError]:
        """The files of a known set that cannot be read to their end."""
        summary = self.known()
        if summary is None or self._set is None:
            return []
        names = self._set.names_of(summary.files)
        return [DamagedFileError(names[it.file], it.line, it.why) for it in summary.damages]

    def finish(self) -> None:
        """Remove what was kept for the next run: all is done. The summary stays."""
        if self.summary is not None:
            write_summary(self._finished, self.summary)
        WorkFolder(self._folder).remove(self.digest)

    @property
    def _finished(self) -> Path:
        return self._folder / f"{self.digest}.{_SUMMARY}"

    def _files(self) -> list[Path]:
        form = None if self._mapping is None else self._mapping.form
        # Files with columns of their own are seldom called .csv.
        is_own = form is not None and (form.separator != "," or form.columns is not None)
        files = files_of(self._paths, any_format=is_own)
        for path in files:
            if path != STDIN:
                format_with(path, self._mapping)
        return files

    def _held(self) -> tuple[Summary, Held]:
        while True:
            summary = self.prepare()
            held = WorkFolder(self._folder).hold(self.digest)
            if held is not None:
                return summary, held
            self.summary = None  # a replay of the same set has come to its end meanwhile

    def _prepared(self) -> Summary:
        work = WorkFolder(self._folder)
        with work.unfinished() as unfinished:
            if self._set is None:
                self._set = input_set(
                    [
                        (
                            spooled(sys.stdin.buffer, unfinished.path) if path == STDIN else path,
                            path,
                        )
                        for path in self._files()
                    ],
                    self._mapping,
                )
            kept = work.hold(self.digest)
            if kept is not None:
                with kept:
                    return self._known(kept.path, self._set)
            if self._refuses_foreign:
                look_at_files([each[:2] for each in self._set.inputs], self._mapping)
            summary = self._sort(self._set, unfinished.path)
            for each in self._set.inputs:
                if each.name == STDIN:
                    each.path.unlink()
            unfinished.keep(self.digest)
            return summary

    def _known(self, folder: Path, files: InputSet) -> Summary:
        """What an earlier run has sorted; what it left out is told again, by the names of today."""
        summary = read_summary(folder / _SUMMARY)
        names = files.names_of(summary.files)
        for row in read_bad_rows(folder / _BAD_ROWS, names):
            self._report(row)
        for it in summary.damages:
            self._on_damage(DamagedFileError(names[it.file], it.line, it.why))
        return summary

    def _sort(self, files: InputSet, folder: Path) -> Summary:
        """Write runs, bad rows and summary into a folder."""
        damages: list[Damage] = []
        writer = RunWriter(folder, self._run_bytes)
        with (folder / _BAD_ROWS).open("wb") as side:

            def report(row: BadRow) -> None:
                side.write(bad_line(row))
                self._report(row)

            now_ms = int(time.time() * 1000)
            reader = EventReader(report, now_ms, self._mapping)
            for path, name, _ in files.inputs:
                try:
                    for events in reader.read(path, name):
                        writer.add(events)
                        self._progress(reader.rows)
                except DamagedFileError as error:
                    self._on_damage(error)
                    damages.append(Damage(told_name(name), error.line, error.why))
        runs = writer.close()
        summary = Summary(
            files.named(),
            [path.name for path in runs],
            writer.events,
            reader.rows,
            writer.first,
            writer.newest,
            dict(reader.bad),
            reader.unmapped,
            damages,
        )
        write_summary(folder / _SUMMARY, summary)
        return summary

    def _decoded(self, values: Sequence[bytes], first: int) -> list[Decoded]:
        topic = f"files-{self.digest}"
        decoded: list[Decoded] = []
        for offset, value in enumerate(values, first):
            # It has been checked, so that the present does not matter any more.
            event = decode_event(value, MAX_TIME_MS)
            key = event.user_id.encode()
            record = PastRecord(topic, partition_of(key), offset, key, value)
            decoded.append(Decoded(record, event))
        return decoded


def _damaged(folder: Path, what: str) -> RowsError:
    return RowsError(f"{folder} is damaged ({what}); remove it and start again")


def _size(files: Sequence[Path]) -> str:
    return f"{sum(path.stat().st_size for path in files if path != STDIN) / 1e6:,.1f} MB"
