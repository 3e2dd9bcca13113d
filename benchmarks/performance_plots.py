"""Plots of the speed benchmarks, a PNG each; this and flame_plot alone load matplotlib."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.flame_plot import flame_graph
from benchmarks.latency import CURVE
from benchmarks.pipeline_figures import OURS
from benchmarks.replay import BUILDS

DOTS_PER_INCH = 110
Found = dict[str, Any]


def write_plot(name: str, found: Found, folder: Path) -> Path:
    """Draw the figures of a benchmark (its name without ``benchmarks.``) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    # A Figure of its own, not pyplot's: nothing global, and no screen is looked for.
    DRAWINGS[name](found).savefig(path, format="png", dpi=DOTS_PER_INCH)
    return path


def _scoring(found: Found) -> Figure:
    """Time of a user by batch size."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel = figure.subplots()
    batches = [int(batch) for batch in found["by_batch"]]
    for kind in found["rss_mb"]:
        costs = [each["us_per_user"][kind] for each in found["by_batch"].values()]
        panel.plot(batches, costs, "o-", label=kind)
    panel.set_xscale("log", base=2)
    panel.set_xticks(batches, list(map(str, batches)))
    _finish(panel, "users in a run", "µs of a user", "Scoring, one thread")
    panel.legend()
    return figure


def _pipeline(found: Found) -> Figure:
    """Events a second of every contender, ours in another colour."""
    contenders = {
        name: each.get("events_per_s", each.get("lists_per_s"))
        for name, each in found["contenders"].items()
    }
    names = sorted(contenders, key=lambda name: contenders[name])
    figure = Figure(figsize=(8, 1 + 0.35 * len(names)), layout="constrained")
    panel = figure.subplots()
    colours = ["tab:orange" if name in (*OURS, "ingest") else "tab:grey" for name in names]
    bars = panel.barh(names, [contenders[name] for name in names], color=colours)
    panel.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize="small")
    panel.set_xscale("log")
    panel.margins(x=0.15)
    _finish(panel, "events (model: lists) a second", "", "One worker's parts (orange), and others")
    return figure


def _path_profile(found: Found) -> Figure:
    """Processor time of each step and trip."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, part, figures in (
        (panels[0], "steps", ("client_us",)),
        (panels[1], "trips", ("client_us", "server_us")),
    ):
        names = list(found[part])
        left = [0.0] * len(names)
        for key in figures:
            widths = [found[part][name][key] for name in names]
            panel.barh(names, widths, left=left, label=key.removesuffix("_us"))
            left = [a + b for a, b in zip(left, widths, strict=True)]
        panel.invert_yaxis()
        _finish(panel, "processor µs of an event", "", part)
        panel.legend()
    return figure


def _latency(found: Found) -> Figure:
    """Percentiles by load."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel = figure.subplots()
    places = range(len(CURVE))
    for level, each in found["by_level"].items():
        label = f"{level}% of saturation, {each['events_per_s']:,} events/s"
        panel.plot(places, each["curve"], "o-", markersize=3, label=label)
    panel.set_xticks(list(places), [f"p{at}" for at in CURVE], fontsize="small")
    panel.set_yscale("log")
    _finish(panel, "", "ms", "From the scheduled moment to the list")
    panel.legend()
    return figure


def _scaling(found: Found) -> Figure:
    """Cost of a list over each size."""
    curves = [name for name in ("catalogue", "history", "users") if name in found]
    panels_wanted = len(curves) + ("workers" in found)
    figure = Figure(figsize=(4 * panels_wanted, 3.8), layout="constrained")
    panels = list(figure.subplots(1, panels_wanted, squeeze=False)[0])
    for name, panel in zip(curves, panels, strict=False):
        sizes = [int(size) for size in found[name]["us_per_list"]]
        for label, key in (("clock", "us_per_list"), ("processor", "cpu_us_per_list")):
            panel.plot(sizes, list(found[name][key].values()), "o-", label=label)
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
        title = f"{name}, growth {found[name]['growth']:.2f}"
        _finish(panel, name, "µs of a list", title)
        panel.legend()
    if "workers" in found:
        rates = found["workers"]["lists_per_s"]
        panels[-1].bar(list(rates), list(rates.values()), color="tab:orange")
        _finish(panels[-1], "workers", "lists a second", f"{found['workers']['two_vs_one']:.2f} ×")
    return figure


def _replay(found: Found) -> Figure:
    """Events a second of builds and bare consumers."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    panel = figure.subplots()
    rates = {name: each["events_per_s"] for name, each in found["turns"].items()}
    colours = ["tab:orange" if name in BUILDS else "tab:grey" for name in rates]
    bars = panel.barh(list(rates), list(rates.values()), color=colours)
    panel.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize="small")
    panel.margins(x=0.15)
    _finish(panel, "events a second", "", "Builds (orange) and bare consumers")
    return figure


def _finish(panel: Axes, x: str, y: str, title: str) -> None:
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.set_title(title)
    panel.grid(alpha=0.3)


DRAWINGS: dict[str, Callable[[Found], Figure]] = {
    "scoring": _scoring,
    "pipeline": _pipeline,
    "pipeline_embedded": _pipeline,
    "path_profile": _path_profile,
    "flame_graph": flame_graph,
    "latency": _latency,
    "scaling": _scaling,
    "replay": _replay,
}
