"""The tables of docs/performance.md, out of what the benchmarks printed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import ge, le
from typing import Any

from benchmarks.latency import PERCENTILES
from benchmarks.pipeline_figures import OURS

Found = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What a figure shall be."""

    what: str
    benchmark: str
    keys: tuple[str, ...]
    """Where the figure stands in what the benchmark printed."""
    bound: float
    is_met: Callable[[float, float], bool] = ge
    unit: str = ""

    def row(self, found: dict[str, Found]) -> list[str]:
        """Of the table of targets; a dash where it was not measured."""
        wanted = f"{'≥' if self.is_met is ge else '≤'} {self.bound:g}{self.unit}"
        key = f"`{'.'.join(self.keys)}`"
        value: Any = found.get(self.benchmark, {})
        around: Any = {}
        for step in self.keys:
            around, value = value, value.get(step, {})
        if isinstance(value, dict):
            return [self.what, key, wanted, "–", "–", "–"]
        met = "yes" if self.is_met(value, self.bound) else "no"
        processor = around.get("by_processor_time", {}).get(self.keys[-1], "")
        return [self.what, key, wanted, f"{value:,g}{self.unit}", met, str(processor)]


REPLAY_COLUMNS = {
    "events_per_s": "events/s",
    "events_per_cpu_s": "events / processor s",
    "client_us_per_event": "client µs of an event",
    "redis_us_per_event": "Redis µs",
    "peak_rss_mb": "MB",
}

TARGETS = (
    Target("transport only / bare aiokafka loop", "pipeline", ("transport_vs_aiokafka",), 1.5),
    Target("transport only / stock Faust", "pipeline", ("transport_vs_stock_faust",), 30),
    Target(
        "ingest / the slower of bare aiokafka and plain SETs",
        "pipeline", ("ingest_vs_plain_set",), 0.5,
    ),
    Target("full path / raw ONNX session", "pipeline", ("full_vs_model",), 0.7),
    Target(
        "processor time of a list beside the model's",
        "pipeline", ("cpu_us_per_list_beside_the_model",), 120, le, " µs",
    ),
    Target("full path / same job on stock Faust", "pipeline", ("full_vs_stock_faust_job",), 10),
    Target("full path / same job on Quix Streams", "pipeline", ("full_vs_quixstreams_job",), 5),
    Target("latency at 50% of saturation, p50", "latency", ("p50_ms_at_50",), 10, le, " ms"),
    Target("latency at 50% of saturation, p99", "latency", ("p99_ms_at_50",), 50, le, " ms"),
    Target("our ranker / raw session, lowest over sizes", "scoring", ("ranker_vs_raw",), 0.95),
    Target(
        "cost of a list, 1 million / 100 thousand items",
        "scaling", ("million_vs_100_thousand_items",), 2, le,
    ),
    Target(
        "memory at 100 thousand items",
        "scaling", ("catalogue", "rss_mb", "100000"), 600, le, " MB",
    ),
    Target("two workers / one", "scaling", ("workers", "two_vs_one"), 1.6),
    Target("build from Kafka / bare kafka-python consumer", "replay", ("ratio",), 0.5),
    Target("build from Parquet, events/s", "replay", ("parquet_events_per_s",), 100_000),
    Target("memory of a build", "replay", ("peak_rss_mb",), 500, le, " MB"),
)  # fmt: skip


def targets(found: dict[str, Found]) -> str:
    """Every target beside its figure."""
    return table(
        ["what", "key", "target", "measured", "reached", "by processor time"],
        [each.row(found) for each in TARGETS],
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def pipeline_section(found: Found) -> str:
    """Every contender, then the steps of the full path."""
    contenders = found["contenders"]
    ours = [name for name in (*OURS, "ingest") if name in contenders]
    others = [name for name in contenders if name not in ours]
    figures = ("events_per_s", "lists_per_s", "us_per_event", "cpu_us_per_event", "rss_mb")
    rows = [
        [name, *(_number(contenders[name].get(figure)) for figure in figures)]
        for name in (*ours, *others)
    ]
    head = ["contender", "events/s", "lists/s", "µs of an event", "processor µs", "MB"]
    sentences = [
        f"{found['rounds']} rounds of {found['seconds_a_turn']:g} s each on {found['broker']}, "
        f"{found['users']:,} users with a past. `transport` to `full` hold the parts before them, "
        "with one micro-batch in work at a time but for `full`, the product's own worker, which "
        "overlaps them; `ingest` is that worker on events too old for a list.\n",
        table(head, rows),
    ]
    sentences += [f"Left out: {name}, {reason}.\n" for name, reason in found["left_out"].items()]
    if steps := found.get("steps"):
        beside = {name: each for name, each in steps.items() if name != "rank"}
        next_one = max(beside, key=lambda name: beside[name]["share"])
        sentences += [
            "Where the full path's time goes, by its own clocks:\n",
            table(
                ["step", "share", "µs of a list"],
                [
                    [name, f"{each['share']:.0%}", each["us_per_list"]]
                    for name, each in steps.items()
                ],
            ),
            f"Beside the model's run (`rank`) the next bottleneck is `{next_one}`.\n",
        ]
    return "\n".join(sentences)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


def path_section(found: Found) -> str:
    """Steps and trips, microseconds of an event; the next bottleneck by name."""
    steps, trips = found["steps"], found["trips"]
    beside = [name for name in steps if name != "rank"]
    next_one = max(beside, key=lambda name: steps[name]["client_us"])
    return "\n".join(
        [
            f"The path in one process, micro-batches of {found['batch']}, nothing overlapping; µs "
            f"of an event. A list costs {found['client_us_beside_rank_per_list']:g} µs of "
            "processor time beside the model's run (`rank`).\n",
            table(
                ["step", "share of the processor time", "processor µs", "µs by the clock"],
                [
                    [name, f"{each['share_of_client']:.0%}", each["client_us"], each["wall_us"]]
                    for name, each in steps.items()
                ],
            ),
            table(
                ["trip to Redis", "worker's processor µs", "server's processor µs"],
                [[name, each["client_us"], each["server_us"]] for name, each in trips.items()],
            ),
            f"The next bottleneck beside the model is `{next_one}`.\n",
        ]
    )


def flame_section(found: Found) -> str:
    """Functions by their own time."""
    threads = ", ".join(f"{name} {share:.0%}" for name, share in found["threads"].items())
    rows = [
        [f"`{name}`", f"{each['own']:.1%}", f"{each['total']:.1%}"]
        for name, each in found["functions"].items()
    ]
    return (
        f"The product's worker on {found['broker']} as py-spy sees it, {found['rate']} times a "
        f"second for {found['seconds']} s: {found['samples']:,} samples of threads that run "
        f"({threads}). Native code counts for the Python function that called it.\n\n"
        + table(["function", "itself", "with what it calls"], rows)
    )


def latency_section(found: Found) -> str:
    """Percentiles by load."""
    rows = [
        [
            f"{level}%", f"{each['events_per_s']:,}", f"{each['events']:,}",
            *(each[f"{name}_ms"] for name in PERCENTILES),
            each["by_round"]["p50_ms"], each["by_round"]["p99_ms"], each["sent_late_ms"],
            ", ".join(f"{name} {cores:.2f}" for name, cores in each.get("cores", {}).items()),
        ]
        for level, each in found["by_level"].items()
    ]  # fmt: skip
    head = ["load", "events/s", "events", *(f"{name} ms" for name in PERCENTILES),
            "p50, median round", "p99, median round", "sender late, p99 ms", "cores"]  # fmt: skip
    return (
        f"One worker on {found['broker']}, saturated at {found['saturation_events_per_s']:,} "
        f"events/s while events keep coming at the pace of a burst (which it works off at "
        f"{found['burst_events_per_s']:,}/s); {found['rounds']} rounds of "
        f"{found['seconds_a_turn']:g} s, {found['users']:,} users. An open loop: "
        "latency runs from the moment the schedule had an event sent to the arrival of its list: "
        "sender, broker, worker with Redis, broker again, consumer. No sender lingers, each event "
        "is a request of its own unless five are under way, and load and broker share the worker's "
        "cores; how many cores each keeps busy stands in the last column.\n\n" + table(head, rows)
    )


def scoring_section(found: Found) -> str:
    """Ratios and costs by batch size."""
    kinds = list(found["rss_mb"])
    ratios = [key for key in next(iter(found["by_batch"].values())) if "_vs_" in key]
    rows = [
        [
            batch,
            *(each[ratio] for ratio in ratios),
            *(each["us_per_user"][kind] for kind in kinds),
        ]
        for batch, each in found["by_batch"].items()
    ]
    head = [
        "users", *(ratio.replace("_vs_", " / ") for ratio in ratios),
        *(f"{kind} µs" for kind in kinds),
    ]  # fmt: skip
    return (
        f"Provider {found['provider']}, {found['rounds']} rounds; µs of a user. `ranker` and `raw` "
        "begin with arrays that are ready, `histories` is the ranker with the arrays to make, "
        "`variant` the ranker on the int8 graph (fp16 on a GPU). On a machine with a GPU: "
        "`python -m benchmarks.scoring --provider cuda --json`.\n\n" + table(head, rows)
    )


def replay_section(found: Found) -> str:
    """Builds beside bare consumers."""
    rows = [
        [name, *(f"{each[key]:,}" for key in REPLAY_COLUMNS)]
        for name, each in found["turns"].items()
    ]
    bounds = "; ".join(f"{name}: {bound}" for name, bound in found["bounds"].items())
    return (
        f"{found['events']:,} clicks of {found['users']:,} users, {found['rounds']} rounds. "
        "`kafka` and `parquet` build a shadow generation; `kafka_python` and `confluent` fetch and "
        "decode the same records and do nothing with them. Memory is that of the process that "
        f"builds or reads. A build from Kafka makes {found['ratio']} of the bare kafka-python "
        f"consumer's events a second, {found['cpu_ratio']} by processor time. What bounds a build: "
        f"{bounds}."
        "\n\n" + table(["contender", *REPLAY_COLUMNS.values()], rows)
    )


def scaling_section(found: Found) -> str:
    """Each curve with its growth."""
    rows = []
    for name in ("catalogue", "history", "users"):
        for size, cost in found.get(name, {}).get("us_per_list", {}).items():
            each = found[name]
            rows.append(
                [name, f"{int(size):,}", f"{cost:,}", f"{each['cpu_us_per_list'][size]:,}",
                 f"{each['rss_mb'][size]:,}", each["recall_at_100"][size], each["growth"]]
            )  # fmt: skip
    text = (
        f"Micro-batches of {found['batch']}, {found['rounds']} rounds; growth is the slope of "
        "cost over size on logarithmic axes, 1 is in proportion. Recall is the share of the "
        "exactly nearest 100 items that the ranker finds: 1 where it scores all items.\n\n"
    )
    head = ["what grows", "size", "µs of a list", "processor µs", "MB", "recall", "growth"]
    text += table(head, rows)
    if workers := found.get("workers"):
        rates = ", ".join(f"{count}: {rate:,}" for count, rate in workers["lists_per_s"].items())
        free = workers["with_every_core"]
        text += (
            f"\nLists a second by workers, a core for each: {rates}; two / one: "
            f"{workers['two_vs_one']}, by the workers' own processor time "
            f"{workers['by_processor_time']['two_vs_one']}. With every core for all, two / one: "
            f"{free['two_vs_one']}.\n"
        )
    return text
