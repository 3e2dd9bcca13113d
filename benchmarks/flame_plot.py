"""The flame graph of a worker: a bar for each stack, as wide as its share, callers on top."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DEEPEST = 16
NARROWEST_NAMED = 0.02
"""Share of a bar that has room for a name."""
LETTERS = 130
"""That a bar of the whole width has room for."""
COLOURS = {
    "model/": "#d95f02", "serving/": "#e6ab02", "stream/": "#66a61e", "onnxruntime/": "#7570b3",
    "aiokafka/": "#80b1d3", "faust/": "#b3de69", "redis/": "#fb8072",
}  # fmt: skip
OTHER = "#d9d9d9"


def flame_graph(found: Mapping[str, Any]) -> Figure:
    """Draw the ``stacks`` of ``benchmarks.flame_graph``."""
    stacks = {tuple(name.split(";")): count for name, count in found["stacks"].items()}
    figure = Figure(figsize=(15, 6.5), layout="constrained")
    panel = figure.subplots()
    _draw(panel, stacks, (), 0.0, found["samples"])
    panel.set_xlim(0, 1)
    panel.set_ylim(DEEPEST, 0)
    panel.set_yticks([])
    panel.set_xlabel("share of the samples of threads that run")
    labels = [*(name.rstrip("/") for name in COLOURS), "other"]
    handles = [panel.bar(0, 0, color=colour) for colour in (*COLOURS.values(), OTHER)]
    panel.legend(handles, labels, loc="lower right", ncols=4)
    return figure


def _draw(
    panel: Axes,
    stacks: Mapping[tuple[str, ...], int],
    above: tuple[str, ...],
    left: float,
    samples: int,
) -> None:
    """What the stack ``above`` calls, the widest first, from ``left`` on."""
    depth = len(above)
    called = [stack for stack in stacks if len(stack) == depth + 1 and stack[:depth] == above]
    if depth == DEEPEST:
        return
    for stack in sorted(called, key=lambda stack: -stacks[stack]):
        share = stacks[stack] / samples
        frame = stack[-1]
        colour = next((c for part, c in COLOURS.items() if f"({part}" in frame), OTHER)
        panel.barh(
            depth + 0.5,
            share,
            height=0.96,
            left=left,
            color=colour,
            edgecolor="white",
            linewidth=0.5,
        )
        if share >= NARROWEST_NAMED:
            name = frame.partition(" (")[0][: int(share * LETTERS)]
            panel.text(left + share / 2, depth + 0.5, name, ha="center", va="center", fontsize=7)
        _draw(panel, stacks, stack, left, samples)
        left += share
