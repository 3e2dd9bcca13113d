"""Networks to one ONNX graph that scores every item, and the session that runs it.

Inputs ``items``, ``kinds``, ``gaps`` int64 [B, L], both dynamic; output ``scores`` float32
[B, items], log-probabilities. Of several networks, the geometric mean of what they expect; the
temperature makes the probabilities as sure as they have reason to be (Guo et al., "On Calibration
of Modern Neural Networks", 2017).
"""

import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.export import MAX_DIFFERENCE, OPSET, ExportError
from model.features import FIRST_ITEM, Features
from model.network import Network
from model.packing import windows_of
from model.sequences import Sequences

INPUTS = Features._fields


class ScoringGraph(nn.Module):
    """What is exported."""

    def __init__(
        self, networks: Sequence[Network], task: int | None = None, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(each.folded(task).eval() for each in networks)
        self.temperature = temperature

    def forward(self, items: Tensor, kinds: Tensor, gaps: Tensor) -> Tensor:
        """[B, L] each to [B, items]."""
        total = torch.zeros(())
        for network in self.networks:
            user = network.encode(items, kinds, gaps, newest_only=True)[:, 0]  # type: ignore[operator]
            table = network.item_table.weight[FIRST_ITEM:]  # type: ignore[index,union-attr]
            scores = user @ table.T + network.item_bias[FIRST_ITEM:]  # type: ignore[index]
            total = total + torch.log_softmax(scores, dim=1)
        return torch.log_softmax(total / (len(self.networks) * self.temperature), dim=1)


class ScoringSession:
    """An exported graph, ready to score.

    Args:
        graph: an ONNX file's bytes, as ``export_scoring`` gives them.
        length: newest events that are read.
        threads: of ONNX Runtime; 0 takes all.
    """

    def __init__(self, graph: bytes, length: int, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._length = length

    def scores(self, histories: Sequences) -> NDArray[np.float32]:
        """float32 [B, items], log-probabilities."""
        return self.run(windows_of(histories, self._length))

    def run(self, inputs: Features) -> NDArray[np.float32]:
        """The same from what the network reads."""
        found: list[NDArray[np.float32]] = self._session.run(["scores"], inputs._asdict())
        return found[0]


def export_scoring(
    networks: Sequence[Network],
    sample: Sequences,
    task: int | None = None,
    temperature: float = 1.0,
) -> bytes:
    """An ONNX file's bytes.

    Args:
        networks: of one vocabulary and length.
        sample: real histories that both runtimes score, for comparison.
        task: kind of the answers that are asked for, where the networks have tasks.
        temperature: the logarithms are divided by it.

    Raises:
        ExportError: when ONNX Runtime and torch differ by more than ``MAX_DIFFERENCE``.
    """
    graph = ScoringGraph(networks, task, temperature).eval()
    length = networks[0].config.length
    inputs = windows_of(sample, length)
    arguments = tuple(torch.from_numpy(each) for each in inputs)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # The legacy exporter is the one that was measured to agree; its notice is no news.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            arguments,
            stream,  # type: ignore[arg-type]
            input_names=list(INPUTS),
            output_names=["scores"],
            dynamic_axes={**{name: {0: "B", 1: "L"} for name in INPUTS}, "scores": {0: "B"}},
            opset_version=OPSET,
            dynamo=False,
        )
    written = stream.getvalue()
    with torch.inference_mode():
        expected = graph(*arguments).numpy()
    difference = float(np.abs(ScoringSession(written, length).run(inputs) - expected).max())
    if difference > MAX_DIFFERENCE:
        raise ExportError(
            f"ONNX Runtime and torch differ by {difference:.2g} (at most {MAX_DIFFERENCE:g}); "
            "check the versions of torch and onnxruntime against constraints.txt"
        )
    return written
