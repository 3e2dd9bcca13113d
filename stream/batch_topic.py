"""Topics that deliver batches of undecoded records: what is declared, and what arrives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faust.exceptions import ImproperlyConfigured
from faust.topics import Topic
from faust.types import AppT, ConsumerMessage, Message

from stream.acknowledge import Token
from stream.fetched_record import FetchedRecord

MAX_BATCH = 1000


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records of one partition in offset order, keys and values as the bytes they arrived as."""

    topic: str
    partition: int
    records: tuple[FetchedRecord, ...]

    def __len__(self) -> int:
        return len(self.records)


class BatchMessage(ConsumerMessage):
    """A Faust message whose value is a `RecordBatch`; its offset is that of the last record."""

    def __init__(self, batch: RecordBatch, token: Token, generation_id: int | None) -> None:
        self.token = token
        last = batch.records[-1]
        super().__init__(
            topic=batch.topic,
            partition=batch.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000.0,
            timestamp_type=last.timestamp_type,
            headers=None,
            key=None,
            value=batch,  # type: ignore[arg-type]  # bytes, in Faust's own messages
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            generation_id=generation_id,
        )

    @property
    def acked(self) -> bool:
        """True when the batch is done, was given back, or belongs to another member by now."""
        return not self.token.open

    @acked.setter
    def acked(self, value: bool) -> None:
        # Faust's accelerated stream iterator writes here instead of calling ack().
        if value:
            raise not_through_micro_batches(self)


def not_through_micro_batches(message: Message) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"A batch of {message.topic}[{message.partition}] was not taken through micro_batches:"
        " Faust's own iteration acknowledges a batch even where its handler raised. Write"
        " `async for events in micro_batches(stream, max_records)` in the agent."
    )


class BatchTopic(Topic):
    """A topic whose events have a `RecordBatch` as value; made by `batch_topic`."""

    def __init__(self, app: AppT, *, max_batch: int = MAX_BATCH, **kwargs: Any) -> None:
        if max_batch < 1:
            raise ImproperlyConfigured(f"max_batch must be at least 1, not {max_batch}.")
        self.max_batch = max_batch
        super().__init__(app, **kwargs)

    def _compile_decode(self) -> None:
        """Leave `Channel.decode` in place, which takes the value as it is."""

    def _clone_args(self) -> Mapping[str, Any]:
        return {**super()._clone_args(), "max_batch": self.max_batch}


def batch_topic(app: AppT, *names: str, max_batch: int = MAX_BATCH) -> BatchTopic:
    """What to hand to ``app.agent(...)``: events of up to `max_batch` records of one partition of
    one of the topics.

    Raises ImproperlyConfigured where `max_batch` is below 1.
    """
    return BatchTopic(app, topics=list(names), max_batch=max_batch)
