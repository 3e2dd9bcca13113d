"""The Faust app: ``faust -A stream.app worker``, or ``nextclick worker``."""

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any

import faust
from faust.app import BootStrategy
from faust.utils.terminal import SpinnerHandler
from mode import ServiceT

from stream.agents import run_agent
from stream.batches import RecordBatch, batch_topic, faust_settings
from stream.kafka_security import faust_credentials
from stream.settings import Settings
from stream.worker import Worker


class ConsumerOnly(BootStrategy):
    """No web server, whatever ``faust worker`` asks for: a host's second worker lacks a port.

    And not Faust's producer: lists go out by ``stream.batch_producer``, and a broker that is away
    in the moment in which Faust's starts would end the worker.
    """

    enable_web = False
    enable_kafka_producer = False


class App(faust.App):
    """A Faust app that opens its worker's parts before it joins the consumer group."""

    BootStrategy = ConsumerOnly

    def __init__(self, settings: Settings, worker: Worker) -> None:
        self._nextclick_worker = worker
        super().__init__(
            settings.group,
            broker=_broker_url(settings),
            broker_credentials=faust_credentials(settings),
            **faust_settings(),
        )
        worker.assignment.follow(self)

    async def on_first_start(self) -> None:
        """Faust has set up its log by now."""
        stop_spinner()
        await super().on_first_start()

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """What starts with the app, in this order."""
        return [self._nextclick_worker, *super().on_init_dependencies()]


def stop_spinner() -> None:
    """Take away what turns while a Faust worker starts that is to log no more than warnings.

    It turns at every debug message of every library, for which Faust has the root logger pass all
    of them on, for ever: a sixth of the time of a worker that only moves records.
    """
    for handler in [each for each in logging.root.handlers if isinstance(each, SpinnerHandler)]:
        logging.root.removeHandler(handler)
        logging.root.setLevel(min(each.level for each in logging.root.handlers))


def build_app(settings: Settings) -> faust.App:
    """The app of one worker process; nothing is opened before it starts."""
    worker = Worker(settings)
    app = App(settings, worker)

    topic = batch_topic(app, *settings.source_topics, max_batch=settings.max_batch)

    @app.agent(topic, name="events")
    async def events(stream: faust.StreamT[RecordBatch]) -> None:
        await run_agent(stream, worker)

    return app


def _broker_url(settings: Settings) -> str:
    url = ";".join(f"batch://{broker}" for broker in settings.broker_list)
    # The embedded broker never answers a waiting fetch early.
    return f"{url}?fetch_wait_ms=10" if settings.embedded else url


@cache
def _app_of_the_environment() -> faust.App:
    return build_app(Settings())


def __getattr__(name: str) -> Any:
    # Faust asks this module for `app`; a mere import reads no environment.
    if name == "app":
        return _app_of_the_environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
