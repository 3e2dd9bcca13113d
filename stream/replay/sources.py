"""What a person may name as the past: a topic, or files; each opened anew or where it was left."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.status import Status

from model.mapping import Mapping as EventMapping
from stream.replay.bad_pile import BadPile
from stream.replay.bad_records import Bad
from stream.replay.file_past import FilePast
from stream.replay.past import Past, Position
from stream.replay.topic_past import TopicPast
from stream.replay.topic_span import Ranges, Span
from stream.replay.work_folder import FOLDER
from stream.settings import Settings


class Source(Protocol):
    """A past that is still to be opened."""

    @property
    def reads(self) -> dict[str, Any]:
        """What it is, of JSON values: the same for the same command."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics that it reads."""

    @property
    def notes(self) -> dict[str, Any]:
        """What has to be found again by the same command, of JSON values."""

    @property
    def left_out(self) -> int:
        """Rows or records that break the contract."""

    @property
    def damaged(self) -> Sequence[str]:
        """Of which files only what stands before a damage could be read, in sentences."""

    @property
    def side_file(self) -> Path | None:
        """What is left out stands there."""

    @property
    def whole(self) -> str | None:
        """The part that it is, where that never grows."""

    def recall(self, notes: Mapping[str, Any]) -> None:
        """Take up what an earlier run has noted."""

    def look_back(self) -> None:
        """Know what was left out when it was read to its end, without being opened."""

    def open(self, *, is_begun: bool = False) -> Past:
        """Look it up, and unless it is begun refuse it where its first records make no event
        (``stream.replay.first_look``). Raises what its past raises, and ReplayError.
        """

    def done(self, position: Position) -> int:
        """Records before a position; only where it has been opened, or recalled."""

    @property
    def left(self) -> str:
        """What a dry run leaves on disk, as the middle of a sentence; empty for nothing."""

    def finish(self) -> None:
        """All is done: nothing has to be kept."""


@dataclass
class TopicSource:
    """Part of a topic, up to the ends found when it was first opened."""

    settings: Settings
    topic: str
    span: Span
    pile: BadPile
    mapping: EventMapping | None = None
    mapping_name: str = ""
    keep_going: bool = False
    ranges: Ranges | None = None

    @property
    def reads(self) -> dict[str, Any]:
        """Topic, span and mapping."""
        span = self.span
        return {
            "topic": self.topic,
            "partitions": sorted(span.partitions),
            "first": [[*place] for place in sorted(span.first.items())],
            "end": [[*place] for place in sorted(span.end.items())],
            "since": span.since,
            "until": span.until,
            "mapping": self.mapping_name,
        }

    @property
    def topics(self) -> Sequence[str]:
        """The one."""
        return [self.topic]

    @property
    def notes(self) -> dict[str, Any]:
        """The offsets that the span meant, and how many those are."""
        ranges = self.ranges or {}
        return {
            "ranges": {str(each): list(found) for each, found in ranges.items()},
            "total": sum(end - first for first, end in ranges.values()),
        }

    @property
    def left_out(self) -> int:
        """By this run."""
        return self.pile.count

    @property
    def damaged(self) -> Sequence[str]:
        """None."""
        return ()

    @property
    def side_file(self) -> Path | None:
        """That of the pile."""
        return self.pile.path

    @property
    def whole(self) -> str | None:
        """Topics grow."""
        return None

    def look_back(self) -> None:
        """That is not known."""

    def recall(self, notes: Mapping[str, Any]) -> None:
        """The offsets."""
        if noted := notes.get("ranges"):
            self.ranges = {int(each): (first, end) for each, (first, end) in noted.items()}

    def open(self, *, is_begun: bool = False) -> Past:
        """Look the offsets up, unless they have been recalled, and at the first records."""
        past = TopicPast(
            self.settings, self.topic, self.span, mapping=self.mapping, ranges=self.ranges,
            report=self.pile.report,
        )  # fmt: skip
        self.ranges = past.ranges
        # What it was begun with may be gone by now.
        if not (is_begun or self.keep_going):
            past.refuse_foreign()
        return past

    def done(self, position: Position) -> int:
        """Offsets of the span before a position."""
        return sum(
            max(min(position.get(f"{self.topic}:{partition}", first), end) - first, 0)
            for partition, (first, end) in (self.ranges or {}).items()
        )

    @property
    def left(self) -> str:
        """Nothing."""
        return ""

    def finish(self) -> None:
        """Nothing is kept."""


@dataclass
class FileSource:
    """Files, known by their content: they are read to tell which they are, and once more, with
    checks, to sort them."""

    paths: Sequence[Path]
    pile: BadPile
    console: Console
    mapping: EventMapping | None = None
    keep_going: bool = False
    _status: Status | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._past = FilePast(
            self.paths, self._report, self.mapping,
            on_damage=self.pile.damage, progress=self._tell,
            refuses_foreign=not self.keep_going,
        )  # fmt: skip

    @property
    def reads(self) -> dict[str, Any]:
        """A digest of what stands in them, and of the mapping. Raises RowsError."""
        with self._telling("looking at the files"):
            return {"files": self._past.identify()}

    @property
    def topics(self) -> Sequence[str]:
        """None."""
        return ()

    @property
    def notes(self) -> dict[str, Any]:
        """Their names, and how many events they hold."""
        return {"files": self._past.names, "total": self._past.total()}

    @property
    def left_out(self) -> int:
        """Also where an earlier run has read them."""
        summary = self._past.known()
        return 0 if summary is None else sum(summary.bad.values())

    @property
    def damaged(self) -> Sequence[str]:
        """Also where an earlier run has read them."""
        return [str(each) for each in self._past.damages()]

    @property
    def side_file(self) -> Path | None:
        """As given, or beside what is sorted."""
        return self.pile.path or FOLDER / f"bad-rows-{self._past.digest}.jsonl"

    @property
    def whole(self) -> str | None:
        """All of them. Raises RowsError."""
        return str(self.reads["files"])

    def recall(self, notes: Mapping[str, Any]) -> None:
        """They tell all themselves."""

    def look_back(self) -> None:
        """They are read again where nobody has noted it."""
        if self._past.known() is None:
            self.open()

    def open(self, *, is_begun: bool = False) -> Past:
        """Read, check and sort them. Raises RowsError and ReplayError."""
        with self._telling("reading the files"):
            self._past.prepare()
        return self._past

    def done(self, position: Position) -> int:
        """Events before a position."""
        return position.get(self._past.part, 0)

    @property
    def left(self) -> str:
        """What was sorted."""
        return (
            f"; the sorted events stay in {FOLDER / self._past.digest} for the next run, so remove "
            "that folder if there will be none"
        )

    def finish(self) -> None:
        """Remove what was sorted."""
        self._past.finish()

    def _report(self, bad: Bad) -> None:
        self.pile.path = self.side_file
        self.pile.report(bad)

    def _tell(self, rows: int) -> None:
        if self._status is not None:
            self._status.update(f"reading the files: {rows:,} rows")

    @contextmanager
    def _telling(self, text: str) -> Iterator[None]:
        with self.console.status(text) as self._status:
            yield
        self._status = None
