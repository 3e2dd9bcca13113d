"""What a person may name as the past: a topic, or files; each opened anew or where it was left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from model.mapping import Mapping as EventMapping
from stream.history import History, read_history
from stream.replay.bad_records import Bad
from stream.replay.event_past import EventPast
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

    def open(self, notes: Mapping[str, Any]) -> Past:
        """Look it up. Raises what its past raises."""

    def done(self, position: Position) -> int:
        """Records before a position."""


@dataclass
class TopicSource:
    """Part of a topic, up to the ends found when it was first opened."""

    settings: Settings
    topic: str
    span: Span
    report: Callable[[Bad], None]
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

    def open(self, notes: Mapping[str, Any]) -> Past:
        """Look the offsets up, or take those that were noted."""
        noted = notes.get("ranges")
        ranges = noted and {int(each): (first, end) for each, (first, end) in noted.items()}
        past = TopicPast(
            self.settings, self.topic, self.span, mapping=self.mapping, ranges=ranges,
            report=self.report,
        )  # fmt: skip
        self.ranges = past.ranges
        return past

    def done(self, position: Position) -> int:
        """Offsets of the span before a position."""
        return sum(
            max(position.get(f"{self.topic}:{partition}", first) - first, 0)
            for partition, (first, _) in (self.ranges or {}).items()
        )


@dataclass
class FileSource:
    """Files, known by their content."""

    paths: Sequence[Path]
    report: Callable[[Bad], None]
    notice: Callable[[str], None]

    def __post_init__(self) -> None:
        self._name = ""
        self._history: History | None = None

    @property
    def reads(self) -> dict[str, Any]:
        """A digest of what stands in them. Raises RowsError."""
        self._read()
        return {"files": self._name}

    @property
    def topics(self) -> Sequence[str]:
        """None."""
        return ()

    @property
    def notes(self) -> dict[str, Any]:
        """None: the content tells all."""
        return {}

    def open(self, notes: Mapping[str, Any]) -> Past:
        """Read, check and sort them. Raises RowsError."""
        history = self._read()
        if not history.in_order:
            self.notice("the files were not in event-time order; the events have been sorted")
        return EventPast(self._name, history.events, total=history.total)

    def done(self, position: Position) -> int:
        """Events before a position."""
        return position.get(self._name, 0)

    def _read(self) -> History:
        if self._history is None:
            self._history = read_history(self.paths, self.report)
            digest = sha256()
            for path in self.paths:
                digest.update(path.read_bytes())
            self._name = f"files:{digest.hexdigest()[:16]}"
        return self._history
