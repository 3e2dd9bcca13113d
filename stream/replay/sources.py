"""What a person may name as the past: a topic, or files; each opened anew or where it was left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from model.mapping import Mapping as EventMapping
from stream.replay.bad_records import Bad, BadPile
from stream.replay.file_past import FilePast
from stream.replay.past import Past, Position
from stream.replay.topic_past import TopicPast
from stream.replay.topic_span import Ranges, Span
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
        """What has to be found again when it is opened to go on, of JSON values."""

    @property
    def side_file(self) -> Path | None:
        """What is left out stands there."""

    def open(self, notes: Mapping[str, Any]) -> Past:
        """Look it up. Raises what its past raises."""

    def done(self, position: Position) -> int:
        """Records before a position."""

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
    ranges: Ranges | None = None

    @property
    def reads(self) -> dict[str, Any]:
        """Topic, span and mapping."""
        span = self.span
        return {
            "topic": self.topic,
            "partitions": sorted(span.partitions),
            "first": sorted(span.first.items()),
            "end": sorted(span.end.items()),
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
        """The offsets that the span meant."""
        return {"ranges": {str(each): list(found) for each, found in (self.ranges or {}).items()}}

    @property
    def side_file(self) -> Path | None:
        """That of the pile."""
        return self.pile.path

    def open(self, notes: Mapping[str, Any]) -> Past:
        """Look the offsets up, or take those that were noted."""
        noted = notes.get("ranges")
        ranges = noted and {int(each): (first, end) for each, (first, end) in noted.items()}
        past = TopicPast(
            self.settings, self.topic, self.span, mapping=self.mapping, ranges=ranges,
            report=self.pile.report,
        )  # fmt: skip
        self.ranges = past.ranges
        return past

    def done(self, position: Position) -> int:
        """Offsets of the span before a position."""
        return sum(
            max(position.get(f"{self.topic}:{partition}", first) - first, 0)
            for partition, (first, _) in (self.ranges or {}).items()
        )

    def finish(self) -> None:
        """Nothing is kept."""


@dataclass
class FileSource:
    """Files, known by their content: they are read, checked and sorted to tell which they are."""

    paths: Sequence[Path]
    report: Callable[[Bad], None]
    console: Console
    mapping: EventMapping | None = None
    bad_rows: Path | None = None

    def __post_init__(self) -> None:
        self._past: FilePast | None = None

    @property
    def reads(self) -> dict[str, Any]:
        """A digest of what stands in them, and of the mapping. Raises RowsError."""
        return {"files": self._prepared().part}

    @property
    def topics(self) -> Sequence[str]:
        """None."""
        return ()

    @property
    def notes(self) -> dict[str, Any]:
        """None: the content tells all."""
        return {}

    @property
    def side_file(self) -> Path | None:
        """As given, or beside what is sorted."""
        return self._prepared().bad_rows

    def open(self, notes: Mapping[str, Any]) -> Past:
        """Read, check and sort them. Raises RowsError."""
        return self._prepared()

    def done(self, position: Position) -> int:
        """Events before a position."""
        return position.get(self._prepared().part, 0)

    def finish(self) -> None:
        """Remove what was sorted."""
        self._prepared().finish()

    def _prepared(self) -> FilePast:
        if self._past is None:
            with self.console.status("reading the files") as status:
                past = FilePast(
                    self.paths, self.report, self.mapping,
                    bad_rows=self.bad_rows,
                    progress=lambda rows: status.update(f"reading the files: {rows:,} rows"),
                )  # fmt: skip
                past.prepare()
            self._past = past
        return self._past
