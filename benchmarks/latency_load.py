"""The load of the latency benchmark: sends events by a schedule and hears the lists they cause.

    python -m benchmarks.latency_load USERS ITEMS

An event's latency runs from the moment the schedule had it sent, whatever kept the sender, to the
arrival of the first list of its user that has seen it. Both ends are in this process, on one clock;
librdkafka does the sending and the fetching in threads of its own. Settings come from the
environment.
"""

import argparse
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from numpy.typing import NDArray

from benchmarks.backlog import Crowd
from benchmarks.contender import answer
from model.events import Click, encode_event
from serving.recommendation import AsOf
from stream.kafka import consumer_arguments
from stream.settings import Settings

SILENCE_S = 60.0
"""Without a new list for so long, what is still unanswered stays so."""
POLL_S = 0.05
FETCHED = 500


class Heard(msgspec.Struct):
    """What is read of a list."""

    user_id: str
    as_of: AsOf


class LoadError(RuntimeError):
    """An event was not stored, or got no list."""


class Listener(threading.Thread):
    """Notes when lists arrive: per user the highest offset seen so far, and since when."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.brokers,
                "group.id": "latency",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": consumer_arguments(settings)["fetch_max_wait_ms"],
            }
        )
        places = [
            TopicPartition(settings.recommendations_topic, at) for at in range(settings.partitions)
        ]
        for place in places:
            _, place.offset = self._consumer.get_watermark_offsets(place)
        self._consumer.assign(places)
        self._decoder = msgspec.json.Decoder(Heard)
        self.offsets: defaultdict[str, list[int]] = defaultdict(list)
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.last_at = 0.0
        self.error = "none"
        """The consumer's last one."""

    def run(self) -> None:
        """Listen for ever."""
        while True:
            # consume() waits for as many as it may return: with a time-out, a lone list would be
            # heard when that is over.
            first = self._consumer.poll(POLL_S)
            now = time.perf_counter()
            rest = [] if first is None else self._consumer.consume(FETCHED, timeout=0)
            for message in [] if first is None else [first, *rest]:
                if (error := message.error()) is not None:
                    self.error = error.str()
                elif (value := message.value()) is not None:
                    self._note(self._decoder.decode(value), now)

    def _note(self, heard: Heard, now: float) -> None:
        self.last_at = now
        offsets = self.offsets[heard.user_id]
        if not offsets or heard.as_of.offset > offsets[-1]:
            # The time first: who finds the offset finds its time too.
            self.times[heard.user_id].append(now)
            offsets.append(heard.as_of.offset)

    def answered_at(self, user: str, offset: int) -> float | None:
        """When the first list arrived that has seen the event at this offset."""
        offsets = self.offsets[user]
        place = bisect_left(offsets, offset)
        return self.times[user][place] if place < len(offsets) else None


class Load:
    """Sends what it is asked for, event after event."""

    def __init__(self, settings: Settings, crowd: Crowd) -> None:
        self._settings = settings
        self._crowd = crowd
        self._producer = Producer(
            {
                "bootstrap.servers": settings.brokers,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
            }
        )
        self._listener = Listener(settings)
        self._listener.start()
        self._sent = 0

    def turn(self, events: int, rate: float | None = None) -> dict[str, Any]:
        """Send so many events, at random moments at so many a second, or all at once.

        Returns:
            ``per_s`` (from the first event to the last list), and with a rate
            ``per_s_meanwhile`` (lists that arrived before the last event was sent, or ``per_s``
            where none did), ``latencies_ms`` and ``sent_late_ms`` (99th percentile of the
            sender's own delay).

        Raises:
            LoadError: an event was refused or got no list.
        """
        chance = np.random.default_rng(self._sent)
        pauses = chance.exponential(1 / rate, events) if rate else np.zeros(events)
        clicks = self._crowd.clicks(events, first=self._sent)
        offsets: list[int | None] = [None] * events
        begun = time.perf_counter() + 0.01
        due = begun + np.cumsum(pauses)
        late = self._send(clicks, due, offsets)
        if self._producer.flush(SILENCE_S):
            raise LoadError("the broker has not acknowledged all events")
        answered = self._await(clicks, offsets)
        # Not from the first list on: all of them may be heard at once.
        found: dict[str, Any] = {"per_s": events / (float(answered.max()) - begun)}
        if rate:
            found["latencies_ms"] = np.round((answered - due) * 1000, 3).tolist()
            meanwhile = int((answered <= due[-1]).sum())
            pace = meanwhile / (float(due[-1]) - begun)
            found["per_s_meanwhile"] = pace or found["per_s"]
            found["sent_late_ms"] = round(float(np.percentile(late, 99)) * 1000, 3)
        return found

    def _send(
        self,
        clicks: Sequence[tuple[str, str]],
        due: NDArray[np.float64],
        offsets: list[int | None],
    ) -> list[float]:
        late = []
        for at, ((user, item), moment) in enumerate(zip(clicks, due.tolist(), strict=True)):
            while (wait := moment - time.perf_counter()) > 0:
                self._producer.poll(0)
                time.sleep(min(wait, POLL_S))
            late.append(-wait)
            event = Click(
                event_id=f"sent-{self._sent}",
                user_id=user,
                ts=time.time_ns() // 1_000_000,
                item_id=item,
            )
            self._sent += 1
            self._produce(user, encode_event(event), offsets, at)
        return late

    def _produce(self, user: str, value: bytes, offsets: list[int | None], at: int) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                offsets[at] = message.offset()

        while True:
            try:
                self._producer.produce(
                    self._settings.events_topic, value, user, on_delivery=delivered
                )
                return
            except BufferError:
                self._producer.poll(0.01)

    def _await(
        self, clicks: Sequence[tuple[str, str]], offsets: Sequence[int | None]
    ) -> NDArray[np.float64]:
        """When each event was answered."""
        if None in offsets:
            raise LoadError(f"{offsets.count(None)} events were not stored")
        answered: list[float | None] = [None] * len(clicks)
        waiting = list(range(len(clicks)))
        begun = time.perf_counter()
        while waiting:
            for at in waiting:
                offset = offsets[at]
                assert offset is not None
                answered[at] = self._listener.answered_at(clicks[at][0], offset)
            waiting = [at for at in waiting if answered[at] is None]
            heard_at = max(self._listener.last_at, begun)
            if waiting and time.perf_counter() - heard_at > SILENCE_S:
                raise LoadError(
                    f"{len(waiting)} of {len(clicks)} events got no list in {SILENCE_S:.0f} s of"
                    f" silence (error of the consumer: {self._listener.error})"
                )
            time.sleep(POLL_S)
        return np.array(answered, np.float64)


def main() -> None:
    """Answer what ``benchmarks.latency`` asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("users", type=int)
    parser.add_argument("items", type=int)
    asked = parser.parse_args()
    load = Load(Settings(), Crowd(asked.users, asked.items))
    answer(load.turn, refusals=(LoadError,))


if __name__ == "__main__":
    main()
