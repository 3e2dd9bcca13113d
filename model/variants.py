"""Smaller graphs of an exported network: half precision and 8-bit integers, if they rank as well.

A variant takes less memory and bandwidth, and is quicker where the hardware computes in its
numbers (a GPU in half precision, a CPU with 8-bit dot products); elsewhere it may be slower, which
is why the milliseconds stand beside the megabytes. It is admitted only if its lists are as good as
those of the full graph on the same validation baskets.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import thread_time
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from model.bundle import Precision, VariantReport, digest_of
from model.features import NetworkInputs

MOST_NDCG_LOST = 0.005
"""Share of the full graph's NDCG@10 that a variant may cost: half a percent."""
COMPARED_TOP = 20
RUNS = {1: 31, 64: 7}
"""Users of a run, and runs of which the median counts."""

Quality: TypeAlias = Callable[[Path], float]


def make_variants(
    model: Path,
    precisions: Sequence[Precision],
    folder: Path,
    users: NetworkInputs,
    quality: Quality,
) -> tuple[dict[str, VariantReport], dict[Precision, Path]]:
    """Make, measure and judge variants of an exported graph.

    Args:
        model: the full graph, see ``model.export``.
        precisions: which to make.
        folder: where to write them.
        users: real ones, to compare and time the graphs on.
        quality: judges the lists of a graph on validation baskets (NDCG@10).

    Returns:
        A report on the full graph and on every variant, by precision; and the files of those
        that were admitted.
    """
    whole = quality(model)
    reports = {"fp32": _report(model, model, users, whole, whole)}
    admitted: dict[Precision, Path] = {}
    for precision in precisions:
        path = folder / f"{precision}.onnx"
        convert(model, path, precision)
        report = _report(model, path, users, quality(path), whole)
        reports[precision] = report
        if report.admitted:
            admitted[precision] = path
    return reports, admitted


def convert(model: Path, out: Path, precision: Precision) -> None:
    """Write a graph of the same inputs and outputs that computes in another precision.

    ``fp16`` turns weights and activations into half precision. ``int8`` keeps the weights of
    matrix products and the embedding tables in 8 bits and quantises activations as they come
    (Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", 2018).

    Raises:
        ValueError: there is nothing to convert to ``precision``.
    """
    match precision:
        case "fp16":
            with _quiet():
                half = convert_float_to_float16(onnx.load(model), keep_io_types=True)
            onnx.save(half, out)
        case "int8":
            # Unsigned weights: signed ones overflow on processors without 8-bit dot products.
            # A scale for each column, that is, for each item of the vocabulary.
            with _quiet():
                quantize_dynamic(
                    model,
                    out,
                    op_types_to_quantize=["MatMul", "Gather"],
                    per_channel=True,
                    weight_type=QuantType.QUInt8,
                )
        case _:
            raise ValueError(f"a graph cannot be converted to {precision}, only to fp16 or int8")


def _report(
    model: Path, variant: Path, users: NetworkInputs, ndcg: float, whole: float
) -> VariantReport:
    ours, theirs = _session(variant), _session(model)
    difference, same = _agreement(ours, theirs, users)
    lost = 1.0 - ndcg / whole if whole > 0 else 0.0
    is_number = bool(np.isfinite(difference))
    return VariantReport(
        bytes=variant.stat().st_size,
        sha256=digest_of(variant),
        milliseconds={str(size): _milliseconds(ours, users, size) for size in RUNS},
        ndcg=ndcg,
        ndcg_lost=lost,
        max_difference=difference if is_number else None,
        identical_top_20=same,
        # A graph whose scores are no numbers is refused whatever its lists.
        admitted=is_number and lost <= MOST_NDCG_LOST,
    )


def _agreement(
    ours: onnxruntime.InferenceSession, theirs: onnxruntime.InferenceSession, users: NetworkInputs
) -> tuple[float, float]:
    """Greatest difference of two scores, and the share of users with the same twenty best."""
    difference, same = 0.0, 0
    size = len(users.items)
    for start in range(0, size, 64):
        inputs = _inputs(ours, users, np.arange(start, min(start + 64, size)))
        one, other = (
            each.run(["top_items", "candidate_scores"], inputs) for each in (ours, theirs)
        )
        # The maximum of Python would pass over what is not a number.
        difference = float(np.maximum(difference, np.abs(one[1] - other[1]).max()))
        same += int((one[0][:, :COMPARED_TOP] == other[0][:, :COMPARED_TOP]).all(axis=1).sum())
    return difference, same / max(size, 1)


def _milliseconds(session: onnxruntime.InferenceSession, users: NetworkInputs, size: int) -> float:
    """Processor time of one run of ``size`` users on one thread, the median of some."""
    numbers = np.arange(size) % len(users.items)
    inputs = _inputs(session, users, numbers)
    spent = []
    for _ in range(1 + RUNS[size]):
        start = thread_time()
        session.run(["top_items", "candidate_scores"], inputs)
        spent.append(1000 * (thread_time() - start))
    # The first run allocates.
    return round(median(spent[1:]), 4)


def _inputs(
    session: onnxruntime.InferenceSession, users: NetworkInputs, numbers: NDArray[np.int64]
) -> dict[str, NDArray[np.generic]]:
    """Some users, each with all of his items as candidates."""
    (rows,) = (each.shape[0] for each in session.get_inputs() if each.name == "item_bias")
    read = {name: values[numbers] for name, values in users._asdict().items()}
    return {
        **read,
        "item_bias": np.zeros(rows, np.float32),
        "candidates": read["items"],
    }


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that the converters log, which is not for who trains."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
