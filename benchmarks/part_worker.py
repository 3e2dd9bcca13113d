"""A worker that does only the first parts of the path, each part on top of the ones before it.

    python -m benchmarks.part_worker transport|profiles|candidates|ranking

It is the product's app with another agent: batches in, and the events again, or for each event or
list a list without items out, delivered before the batch is acknowledged. Settings come from the
environment.
"""

import argparse
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import faust

from benchmarks.pace import Progress, tell_progress
from model.events import Event, encode_event
from serving import recommend as path
from serving.intake import Decoded, decode
from serving.learning import learn
from serving.list_request import ListRequest
from serving.parts import Parts
from serving.recommend import Outcome
from serving.recommendation import AsOf, Recommendation, recommendation_id
from serving.record import Record
from serving.requests import list_requests
from stream.app import App
from stream.batch_producer import Message
from stream.batches import RecordBatch, ack, batch_topic, micro_batches
from stream.settings import Settings
from stream.worker import Worker

Part = Callable[[Worker, Parts, Sequence[Record]], Awaitable[int]]
"""Does its work for a micro-batch and delivers what comes of it; returns how many messages."""


async def transport(worker: Worker, parts: Parts, records: Sequence[Record]) -> int:
    """Decode each event, and send it on, as the bare loops do."""
    decoded, dead = decode(records, parts.now_ms())
    topic = worker.settings.recommendations_topic
    messages: list[Message] = [
        (topic, encode_event(each.event), each.record.key, []) for each in decoded
    ]
    await worker.publisher.producer.send(messages)
    if dead:
        await worker.publisher.send(Outcome([], dead))
    return len(messages)


async def profiles(worker: Worker, parts: Parts, records: Sequence[Record]) -> int:
    """And merge it into profiles and counts."""
    decoded, dead = decode(records, parts.now_ms())
    await learn(parts, decoded)
    return await _publish(worker, Outcome([_nothing_for_event(parts, e) for e in decoded], dead))


async def candidates(worker: Worker, parts: Parts, records: Sequence[Record]) -> int:
    """And gather candidates for each list."""
    decoded, dead = decode(records, parts.now_ms())
    learned = await learn(parts, decoded)
    requests = list_requests(parts, decoded, learned)
    await parts.candidates.gather(requests)
    return await _publish(worker, Outcome([_nothing_for_request(parts, e) for e in requests], dead))


async def ranking(worker: Worker, parts: Parts, records: Sequence[Record]) -> int:
    """And run the network; ``main`` has taken the last step out of the path."""
    return await _publish(worker, await path.recommend(parts, records))


PARTS: dict[str, Part] = {
    "transport": transport,
    "profiles": profiles,
    "candidates": candidates,
    "ranking": ranking,
}


async def _publish(worker: Worker, outcome: Outcome) -> int:
    await worker.publisher.send(outcome)
    return len(outcome.lists)


def _nothing_for_event(parts: Parts, each: Decoded) -> Recommendation:
    event, record = each.event, each.record
    as_of = AsOf(record.topic, record.partition, record.offset)
    return _nothing(parts, event, event.time, as_of)


def _nothing_for_request(parts: Parts, request: ListRequest) -> Recommendation:
    return _nothing(parts, request, request.time, request.as_of)


def _nothing(parts: Parts, cause: Event | ListRequest, time: int, as_of: AsOf) -> Recommendation:
    version = parts.bundle.manifest.version
    return Recommendation(
        rec_id=recommendation_id(cause.user_id, as_of, version),
        user_id=cause.user_id,
        event_id=cause.event_id,
        ts=time,
        as_of=as_of,
        bundle=version,
        items=(),
        step_ms={},
    )


def build_app(settings: Settings, part: Part, progress: Progress) -> faust.App:
    """The product's app with the part for an agent."""
    worker = Worker(settings)
    app = App(settings, worker)
    topic = batch_topic(app, settings.events_topic, max_batch=settings.max_batch)

    @app.agent(topic, name="events")
    async def events(stream: faust.StreamT[RecordBatch]) -> None:
        parts = (await worker.ready()).parts
        async for batches in micro_batches(stream, settings.max_batch):
            records = [each for batch in batches for each in cast(RecordBatch, batch.value).records]
            sent = await part(worker, parts, records)
            for batch in batches:
                ack(batch)
            progress.done += len(records)
            progress.lists += sent

    return app


def without_final_list(requests: Sequence[ListRequest], *_: Any, **__: Any) -> list[tuple[()]]:
    """In place of ``serving.rerank.rerank``."""
    return [()] * len(requests)


def main() -> None:
    """Run until a signal ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=tuple(PARTS))
    asked = parser.parse_args()
    if asked.part == "ranking":
        setattr(path, "rerank", without_final_list)  # noqa: B010 (mypy: another signature)
    progress = Progress()
    app = build_app(Settings(), PARTS[asked.part], progress)
    tell_progress(progress)
    faust.Worker(app, loglevel="error").execute_from_commandline()


if __name__ == "__main__":
    main()
