"""What the pipeline benchmark's rounds come to: ratios first, then rates and costs."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.pace import Pace

COUNTED_BY_LIST = ("full", "stock_faust_job", "quixstreams_job")
OURS = ("transport", "profiles", "candidates", "ranking", "full")

COMPARED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "transport_vs_aiokafka": ("done", "transport", ("aiokafka",)),
    "transport_vs_stock_faust": ("done", "transport", ("stock_faust",)),
    "ingest_vs_plain_set": ("done", "ingest", ("aiokafka", "plain_set")),
    "full_vs_stock_faust_job": ("lists", "full", ("stock_faust_job",)),
    "full_vs_quixstreams_job": ("lists", "full", ("quixstreams_job",)),
}
"""Ratio -> what is counted, ours, and those of which it is held against the slowest."""

Round = dict[str, Pace]
Raw = dict[str, Any]
"""What the model's raw session answered: ``batch``, ``ms``, ``cpu_ms``, ``runs``."""


def figures(rounds: Sequence[Round], raw: Sequence[Raw]) -> dict[str, Any]:
    """The figures; a ratio whose contenders did not both run is left out.

    Args:
        rounds: contender -> pace.
        raw: one answer a round, where ``full`` ran.
    """
    found: dict[str, Any] = _ratios(
        rounds, raw, Pace.per_s, lambda answer: answer["batch"] / answer["ms"] * 1000
    )
    if raw:
        found["cpu_us_per_list_beside_the_model"] = round(
            statistics.median(
                each["full"].cpu_us_per("lists") - _model_cpu_us(answer)
                for each, answer in zip(rounds, raw, strict=True)
            )
        )
    # What other work on the machine disturbs least; without what broker and Redis spend.
    found["by_processor_time"] = _ratios(
        rounds,
        raw,
        lambda pace, counter: 1e6 / pace.cpu_us_per(counter),
        lambda answer: 1e6 / _model_cpu_us(answer),
    )
    if all("full" in each for each in rounds):
        found["events_per_s"] = _median(rounds, "full", lambda pace: pace.per_s("done"))
        found["recommendations_per_s"] = _median(rounds, "full", lambda pace: pace.per_s("lists"))
        found["rss_mb"] = _median(rounds, "full", lambda pace: pace.rss_mb)
        found["steps"] = _steps([each["full"] for each in rounds])
    found["contenders"] = {name: _contender(rounds, name) for name in rounds[0]}
    if raw:
        found["contenders"]["model"] = {
            "lists_per_s": round(statistics.median(e["batch"] / e["ms"] * 1000 for e in raw)),
            "cpu_us_per_list": round(statistics.median(map(_model_cpu_us, raw))),
            "batch": round(statistics.median(each["batch"] for each in raw)),
        }
    return found


def _ratios(
    rounds: Sequence[Round],
    raw: Sequence[Raw],
    rate: Callable[[Pace, str], float],
    model_rate: Callable[[Raw], float],
) -> dict[str, float]:
    """Medians of the rounds' ratios of rates of events (``done``) or of lists."""

    found: dict[str, float] = {}
    for name, (counter, ours, theirs) in COMPARED.items():
        if all({ours, *theirs} <= each.keys() for each in rounds):
            found[name] = statistics.median(
                rate(each[ours], counter) / min(rate(each[other], counter) for other in theirs)
                for each in rounds
            )
    if raw:
        found["full_vs_model"] = statistics.median(
            rate(each["full"], "lists") / model_rate(answer)
            for each, answer in zip(rounds, raw, strict=True)
        )
    return {name: round(value, 3) for name, value in found.items()}


def _model_cpu_us(answer: Raw) -> float:
    return float(answer["cpu_ms"] / answer["batch"] * 1000)


def _median(rounds: Sequence[Round], name: str, figure: Callable[[Pace], float]) -> int:
    return round(statistics.median(figure(each[name]) for each in rounds))


def _contender(rounds: Sequence[Round], name: str) -> dict[str, int]:
    """Rate, wall and processor time of an event (or of a list), memory."""
    rates = {"events_per_s": _median(rounds, name, lambda pace: pace.per_s("done"))}
    if name in COUNTED_BY_LIST:
        rates["lists_per_s"] = _median(rounds, name, lambda pace: pace.per_s("lists"))
    return {
        **rates,
        "us_per_event": _median(rounds, name, lambda pace: 1e6 / pace.per_s("done")),
        "cpu_us_per_event": _median(rounds, name, lambda pace: pace.cpu_us_per("done")),
        "rss_mb": _median(rounds, name, lambda pace: pace.rss_mb),
    }


def _steps(paces: Sequence[Pace]) -> dict[str, dict[str, float]]:
    """Of each step of the path: its share of all steps' time, and microseconds of a list."""
    names = [name for name in paces[0].gained if name.startswith("step/")]
    totals = [sum(pace.gained[name] for name in names) for pace in paces]
    return {
        name.removeprefix("step/"): {
            "share": round(
                statistics.median(
                    pace.gained[name] / total for pace, total in zip(paces, totals, strict=True)
                ),
                3,
            ),
            "us_per_list": round(
                statistics.median(pace.gained[name] / pace.gained["lists"] for pace in paces) * 1e6
            ),
        }
        for name in names
    }
