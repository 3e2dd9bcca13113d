"""Events and lists a second of one worker, part by part, beside six contenders on one backlog.

    python -m benchmarks.pipeline --json [--broker kafka|embedded] [--events 200000] [--rounds 5]

Our parts, each on top of the ones before: ``transport`` (batches in, the same events out, as in the
bare loops), ``profiles``, ``candidates``, ``ranking`` (lists without items), all with one
micro-batch in work at a time, and ``full``, which is the product's own worker with several in work;
and ``ingest``, the same worker on events that are too old for a list. Beside them: bare loops of
aiokafka and confluent-kafka, stock Faust that echoes, plain pipelined SETs, the same job in its
plainest form on stock Faust and on Quix Streams, and the model's raw ONNX Runtime session at the
worker's own batch size.

Each is a process of its own and starts anew, in every round, one after the other, on an empty Redis
with the users' pasts in it; it reads the same topic from its beginning for ``--seconds``. Ratios
are medians of the rounds' ratios of rates; the model is pinned (2 blocks, d = 64, length 50, 12,102
items, untrained), every run has one thread.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.backlog import Crowd, fill_catalogue, fill_counts, fill_events, fill_profiles
from benchmarks.contender import ONE_THREAD, Contender
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT
from benchmarks.measured import contender_pace, worker_pace
from benchmarks.pace import Pace
from benchmarks.part_worker import PARTS
from benchmarks.pinned import pinned_bundle
from benchmarks.pipeline_figures import figures
from benchmarks.printed import print_figures
from benchmarks.servers import forget_everything, servers
from stream.settings import Settings

DAY_S = 86_400
QUIXSTREAMS = Path(".nextclick/quixstreams")
INSTALL = f"python -m pip install --target {QUIXSTREAMS} quixstreams==3.28.1"


class Field:
    """The contenders, ready to take turns on one backlog."""

    def __init__(self, asked: argparse.Namespace, settings: Settings, folder: Path) -> None:
        self._asked = asked
        self._settings = settings.model_copy(update={"max_event_age_s": DAY_S})
        self._folder = folder
        self._crowd = Crowd(asked.users, asked.items)
        self.left_out: dict[str, str] = {}
        if asked.broker == "embedded":
            # Quix Streams asks for the settings of topics, and the embedded broker has none.
            self.left_out["quixstreams_job"] = "it needs --broker kafka"
        elif not (asked.quixstreams / "quixstreams").is_dir():
            self.left_out["quixstreams_job"] = f"not installed: {INSTALL}"
        wanted = asked.only.split(",") if asked.only else TURNS
        self.names = [name for name in TURNS if name in wanted and name not in self.left_out]

    def take(self, name: str, number: int) -> Pace:
        """One contender's turn: an empty Redis with the users' pasts in it."""
        forget_everything(self._settings)
        fill_profiles(self._settings, self._crowd)
        fill_counts(self._settings, self._crowd)
        return TURNS[name](self, number)

    def part(self, number: int, part: str) -> Pace:
        """Our first parts, up to this one."""
        settings = self._settings.model_copy(update={"group": f"{part}-{number}"})
        return contender_pace(settings, "benchmarks.part_worker", [part], **self._window)

    def full(self, number: int) -> Pace:
        """The product's own worker."""
        settings = self._settings.model_copy(update={"group": f"full-{number}"})
        return self._worker(settings, f"full-{number}", "lists")

    def ingest(self, number: int) -> Pace:
        """The same, on events that are too old for a list."""
        changes = {"group": f"ingest-{number}", "max_event_age_s": 1}
        settings = self._settings.model_copy(update=changes)
        return self._worker(settings, f"ingest-{number}", "done")

    def _worker(self, settings: Settings, name: str, counter: str) -> Pace:
        log = self._folder / f"{name}.log"
        return worker_pace(settings, log, counter=counter, **self._window)

    def plain_set(self, number: int) -> Pace:
        """Values as large as a profile, in pipelines."""
        size = len(fill_profiles(self._settings, self._crowd))
        return self.contender("plain_set", *map(str, (size, self._asked.users, self._asked.events)))

    def plain_job(
        self, module: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> Pace:
        """The same job in its plainest form."""
        crowd = [f"--users={self._asked.users}", f"--items={self._asked.items}"]
        return self.contender(module, *arguments, *crowd, environment=environment)

    def quixstreams_job(self, number: int) -> Pace:
        """That job on Quix Streams, which lives in a folder of its own."""
        environment = {"PYTHONPATH": str(self._asked.quixstreams.resolve())}
        return self.plain_job("quixstreams_job", f"quix-{number}", environment=environment)

    def contender(
        self, module: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> Pace:
        """A process of ``benchmarks.MODULE``."""
        return contender_pace(
            self._settings, f"benchmarks.{module}", arguments, environment=environment,
            **self._window,
        )  # fmt: skip

    @property
    def _window(self) -> dict[str, Any]:
        return {"seconds": self._asked.seconds, "total": self._asked.events}


TURNS: dict[str, Callable[[Field, int], Pace]] = {
    **{part: partial(Field.part, part=part) for part in PARTS},
    "ingest": Field.ingest,
    "full": Field.full,
    "aiokafka": lambda field, _: field.contender("bare_loop", "aiokafka"),
    "confluent": lambda field, _: field.contender("bare_loop", "confluent"),
    "plain_set": Field.plain_set,
    "stock_faust": lambda field, number: field.contender(
        "faust_contender", "echo", f"echo-{number}"
    ),
    "stock_faust_job": lambda field, number: field.plain_job(
        "faust_contender", "job", f"faust-{number}"
    ),
    "quixstreams_job": Field.quixstreams_job,
}
"""Contender -> its turn, of the number of the round."""


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    bundle = pinned_bundle(asked.items)
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(asked.broker, Settings(bundle=bundle, provider="cpu")) as settings,
        Contender("benchmarks.scoring_contender", ["raw", str(bundle), "cpu"]) as model,
        Progress(console=Console(stderr=True)) as progress,
    ):
        fill_catalogue(settings, asked.items)
        crowd = Crowd(asked.users, asked.items)
        fill_events(settings, crowd.clicks(asked.events))
        field = Field(asked, settings, Path(folder))
        rounds: list[dict[str, Pace]] = []
        raw: list[dict[str, Any]] = []
        bar = progress.add_task("pipeline", total=asked.rounds * len(field.names))
        for number in range(asked.rounds):
            found: dict[str, Pace] = {}
            for name in field.names:
                progress.update(bar, description=name)
                found[name] = field.take(name, number)
                progress.advance(bar)
            rounds.append(found)
            if "full" in found:
                size = max(
                    round(found["full"].gained["lists"] / found["full"].gained["batches"]), 1
                )
                raw.append({"batch": size, **model.ask(batch=size, seconds=asked.seconds)})
        return {
            **figures(rounds, raw),
            "left_out": field.left_out,
            "broker": asked.broker,
            "events": asked.events,
            "users": asked.users,
            "items": asked.items,
            "seconds_a_turn": asked.seconds,
            "rounds": asked.rounds,
            "machine": machine(),
        }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--events", type=int, default=200_000, help="in the backlog")
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a contender's turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="these contenders, with commas between")
    parser.add_argument(
        "--quixstreams", type=Path, default=QUIXSTREAMS, help=f"where it is: {INSTALL}"
    )
    parser.add_argument("--plots", type=Path, help="a folder to draw the figures into")
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    if unknown := {name for name in asked.only.split(",") if name} - TURNS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(TURNS)}")
    os.environ.update(ONE_THREAD)  # for the worker, which inherits it
    print_figures("pipeline", measure(asked), asked.plots)


if __name__ == "__main__":
    main()
