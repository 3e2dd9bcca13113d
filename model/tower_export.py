"""The item tower as an ONNX graph of its own: content in, vector out, for items of no vocabulary.

==========================  ===================================================================
input                       meaning
==========================  ===================================================================
``tokens`` int64 [N, W]     as ``model.item_tokens.token_table`` gives them, 0 = padding
==========================  ===================================================================

Output: ``item_vectors`` float32 [N, D + 1], the last column the bias: the inner product with a
state that ends in 1 is a score, as for the items of ``model.state_graph``.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.export import MAX_DIFFERENCE, OPSET, ExportError
from model.features import FIRST_ITEM, Vocabulary
from model.item_tokens import token_table
from model.items import Item
from model.network import Network

TOKENS = "tokens"
TOWER_OUTPUT = "item_vectors"
COMPARED = 500
"""Items on which both runtimes, and both ways to the bags of tokens, are compared."""


class TowerGraph(nn.Module):
    """Bags of tokens, weighed as those of the vocabulary, to vectors with a bias.

    Args:
        network: has a tower with a bias, and whole vectors: not of length 1.

    Raises:
        ValueError: it has not.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        tower, bias = network.tower, network.cold_bias
        if tower is None or tower.token_weights is None or bias is None:
            raise ValueError("the network has no tower of a catalogue; train it with one")
        if network.config.unit_items:
            raise ValueError("vectors of length 1 have no tower graph; train without unit_items")
        self.register_buffer("table", tower.token_table.weight.detach().clone())
        self.register_buffer("token_weights", torch.from_numpy(tower.token_weights))
        self.register_buffer("added", functional.pad(bias.detach()[None], (network.config.dim, 0)))
        self.table: Tensor
        self.token_weights: Tensor
        self.added: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """See the module's table."""
        weights = self.token_weights[tokens]
        # Of an item without a telling token nothing is left but the bias.
        lengths = weights.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
        bags = (weights / lengths)[:, None] @ self.table[tokens]
        return bags[:, 0] + self.added


def export_tower(
    network: Network, path: Path, items: Sequence[Item], vocabulary: Vocabulary
) -> float:
    """Write the tower to ``path``, after comparing it with what the network was trained with.

    Args:
        network: not folded.
        path: of the graph.
        items: the catalogue that it was trained with.
        vocabulary: of the network.

    Returns:
        The greatest difference of two numbers, on items of the vocabulary.

    Raises:
        ValueError: the network has no such tower.
        ExportError: a difference is more than ``MAX_DIFFERENCE``; ``path`` is removed.
    """
    row_of = {each: FIRST_ITEM + row for row, each in enumerate(vocabulary.ids)}
    known = [item for item in items if item.item_id in row_of][:COMPARED]
    rows = torch.tensor([row_of[item.item_id] for item in known])
    tokens = token_table(known)
    with warnings.catch_warnings():
        # The legacy exporter is the one that was measured to agree; its notice is no news.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            TowerGraph(network).eval(),
            (torch.from_numpy(tokens[:2]),),
            str(path),
            input_names=[TOKENS],
            output_names=[TOWER_OUTPUT],
            dynamic_axes={TOKENS: {0: "N", 1: "W"}, TOWER_OUTPUT: {0: "N"}},
            opset_version=OPSET,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ours = session.run([TOWER_OUTPUT], {TOKENS: tokens})[0]
    with torch.inference_mode():
        nothing = torch.zeros(len(rows), dtype=torch.bool)
        theirs = torch.hstack(
            [network.item_vectors(rows, nothing), network.item_biases(rows, nothing)[:, None]]
        ).numpy()
    difference = float(np.abs(ours - theirs).max())
    # Not "more than": a difference that is no number is neither more nor less.
    if not difference <= MAX_DIFFERENCE:
        path.unlink()
        raise ExportError(
            f"the item tower in ONNX Runtime and in torch differ by {difference:.2g} (at most "
            f"{MAX_DIFFERENCE:g}); the bundle was not written: check the versions of torch and "
            "onnxruntime against constraints.txt"
        )
    return difference
