"""The spans of a micro-batch, which has as many causes as records.

Each record has a span in its own trace, from when its micro-batch is taken until the list is
stored. The micro-batch and its steps are told once: below the first record that is recorded, with
links to and from the others.
"""

import time
from collections.abc import Callable, Sequence
from itertools import islice

from opentelemetry.trace import Link, Span, SpanKind, set_span_in_context

from serving.recommendation import Recommendation
from serving.record import Record
from stream.trace import Headers, Trace
from stream.tracing import Tracing, messaging

MOST_LINKS = 128
"""As many as OpenTelemetry's SDK keeps."""
NS = 1_000_000_000


class StepSpans(dict[str, float]):
    """Seconds by step, each told as it ends."""

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        super().__init__()
        self._tell = tell

    def __setitem__(self, step: str, seconds: float) -> None:
        super().__setitem__(step, seconds)
        self._tell(step, seconds)


class BatchTrace(Trace):
    """From its making until ``end``."""

    def __init__(self, tracing: Tracing, records: Sequence[Record]) -> None:
        self._tracing = tracing
        self._spans = {
            (each.topic, each.partition, each.offset): self._of(each) for each in records
        }
        recorded = [each for each in self._spans.values() if each.is_recording()]
        self._whole = self._begin(recorded) if recorded else None

    def steps(self) -> StepSpans:
        return StepSpans(self.tell)

    def tell(self, step: str, seconds: float) -> None:
        if self._whole is not None:
            end = time.time_ns()
            below, start = set_span_in_context(self._whole), end - int(seconds * NS)
            self._tracing.tracer.start_span(step, context=below, start_time=start).end(end)

    def headers_of(self, made: Sequence[Recommendation]) -> list[Headers]:
        """The trace of the newest record that each list has seen goes on."""
        seen = [each.as_of for each in made]
        spans = [self._spans[each.topic, each.partition, each.offset] for each in seen]
        return list(map(self._tracing.headers_of, spans))

    def fail(self, error: BaseException) -> None:
        if self._whole is not None:
            # Not the error's own words, in which a user's id may stand.
            self._whole.add_event("attempt failed", {"error.type": type(error).__name__})

    def end(self) -> None:
        if self._whole is not None:
            self._whole.end()
        for span in self._spans.values():
            span.end()

    def _of(self, record: Record) -> Span:
        attributes = messaging(record.topic, "process") | {
            "messaging.consumer.group.name": self._tracing.group,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        return self._tracing.tracer.start_span(
            f"process {record.topic}",
            context=self._tracing.context_of(record.headers),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        )

    def _begin(self, recorded: Sequence[Span]) -> Span:
        first, others = recorded[0], recorded[1:]
        whole = self._tracing.tracer.start_span(
            "micro-batch",
            context=set_span_in_context(first),
            links=[Link(each.get_span_context()) for each in islice(others, MOST_LINKS)],
            attributes={"messaging.batch.message_count": len(self._spans)},
        )
        for each in others:
            each.add_link(whole.get_span_context())
        return whole
