"""Delivers what a micro-batch came to: lists and dead letters, acknowledged by the broker."""

from model.events import ContractError
from serving import metrics
from serving.intake import DeadLetter
from serving.recommend import Outcome
from serving.record import Record
from stream.batch_producer import BatchProducer, Message
from stream.deadletter import dead_letter_message
from stream.deadletter_log import DeadLetterLog
from stream.settings import Settings
from stream.trace import NO_TRACE, Trace


class Publisher:
    """Gives lists and dead letters to a producer; ``send`` returns once everything is stored."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.producer = BatchProducer(settings)
        self._dead_letter_log = DeadLetterLog()
        self._outcome: Outcome | None = None
        self._messages: list[Message] = []

    async def start(self) -> None:
        """Connect. Raises aiokafka.errors.KafkaError where no broker answers."""
        await self.producer.start()

    async def stop(self) -> None:
        """Flush for a short time, and close."""
        self._dead_letter_log.close()
        await self.producer.stop()

    async def ping(self) -> None:
        """Return once a broker has answered. Raises KafkaError or TimeoutError where none does."""
        await self.producer.ping()

    async def send(self, outcome: Outcome, trace: Trace = NO_TRACE) -> None:
        """Publish lists and dead letters and wait until the broker has them.

        Lists of one user keep their order: same key, same partition, one idempotent producer.

        Args:
            outcome: what to publish.
            trace: of the micro-batch; what lists say of it goes into their headers.

        Raises:
            TimeoutError: not acknowledged yet; call again with the same outcome to go on waiting.
            aiokafka.errors.KafkaError: refused; call again, and all of it is sent anew.
        """
        if self._outcome is not outcome:
            self._outcome, self._messages = outcome, self._messages_of(outcome, trace)
        await self.producer.send(self._messages)
        self._outcome, self._messages = None, []
        self._dead_letter_log.take(outcome.dead_letters)
        searches = sum(each.query is not None for each in outcome.lists)
        metrics.LISTS.labels("search").inc(searches)
        metrics.LISTS.labels("interaction").inc(len(outcome.lists) - searches)

    @staticmethod
    def letter_of(record: Record, error: Exception) -> Outcome:
        """The dead letter of a record that the path cannot process, to be sent."""
        metrics.DEAD_LETTERS.labels("processing_failed").inc()
        reason = ContractError("processing_failed", f"{type(error).__name__}: {error}")
        return Outcome([], [DeadLetter(record, reason)])

    def _messages_of(self, outcome: Outcome, trace: Trace) -> list[Message]:
        topic = self._settings.recommendations_topic
        headers = trace.headers_of(outcome.lists)
        lists: list[Message] = [
            (topic, data, each.user_id.encode(), told)
            for each, data, told in zip(outcome.lists, outcome.encoded_lists, headers, strict=True)
        ]
        return [*lists, *map(self._dead_letter, outcome.dead_letters)]

    def _dead_letter(self, letter: DeadLetter) -> Message:
        most_bytes = self._settings.events_max_message_bytes
        made = dead_letter_message(letter.error, letter.record, most_bytes)
        return self._settings.dlq_topic, made.value, made.key, made.headers
