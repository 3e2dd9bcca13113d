"""torch to ONNX, written only when ONNX Runtime gives what torch gives on real users.

The graph, with a dynamic number of users B, of events L and of candidates C:

===================  ================  ==========================================================
input                                  meaning
===================  ================  ==========================================================
``items``            int64 [B, L]      rows of the vocabulary, newest last, 0 = padding; L is the
                                       network's length or less: padding of all changes nothing
``kinds``            int64 [B, L]      kinds of interaction
``gaps``             int64 [B, L]      buckets of the pause before each interaction
``item_bias``        float32 [V]       added to every score before the top K are taken
``candidates``       int64 [B, C]      rows to be scored, 0 = padding
``queries``          int64 [B, L, W]   words of the query that is open after each interaction; of a
                                       network that reads queries, and no other
``who``              int64 [B, T]      rows of attributes, country and device, 0 = padding; of a
                                       network that reads them, and no other
===================  ================  ==========================================================

Outputs: ``top_items`` int64 [B, K] and ``top_scores`` float32 [B, K], the best of the whole
vocabulary with ``item_bias`` (never padding or unknown); ``candidate_scores`` float32 [B, C],
the same scores without the bias, in the order of ``candidates``. A network with an item tower has
one more: ``states`` float32 [B, D + 1], the last column 1, for ``model.cold_items``.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.features import FIRST_ITEM, PADDING, NetworkInputs, needed_lengths
from model.network import NEVER, Network
from model.newest_state import NewestState

OPSET = 17
INPUTS = ("items", "kinds", "gaps", "item_bias", "candidates")
QUERIES = "queries"
WHO = "who"
OUTPUTS = ("top_items", "top_scores", "candidate_scores")
STATES = "states"
MAX_DIFFERENCE = 1e-3
"""Scores differ by 1e-5 between two correct float32 runtimes; a wrong graph is off by far more."""
PARITY_TOP = 20


class ExportError(RuntimeError):
    """The exported graph does not do what the torch network does; nothing is written."""


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime (CPU) and torch agreed on the users that were compared."""

    max_difference: float
    identical_top_20: float
    """Share of users whose twenty best items come in the same order in both."""
    users: int


class RankingGraph(nn.Module):
    """Encode, score the whole vocabulary, keep the top K, score candidates.

    Args:
        network: gives the states and has the items.
        top_k: K.
        newest: gives the states of what is exported, in the network's place.
        states: whether to give the states too.
    """

    def __init__(
        self,
        network: Network,
        top_k: int,
        newest: NewestState | None = None,
        *,
        states: bool = False,
    ) -> None:
        super().__init__()
        self.states = states
        self.network = network
        self.newest = newest
        self.top_k = min(top_k, network.config.vocabulary_size - FIRST_ITEM)
        never = torch.zeros(network.config.vocabulary_size)
        never[:FIRST_ITEM] = NEVER
        self.register_buffer("never", never)
        self.never: Tensor

    def forward(
        self,
        items: Tensor,
        kinds: Tensor,
        gaps: Tensor,
        item_bias: Tensor,
        candidates: Tensor,
        queries: Tensor | None = None,
        who: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """See the module's table for shapes."""
        if self.newest is None:
            user = self.network.encode(items, kinds, gaps, newest_only=True, queries=queries)[:, 0]
        else:
            user = self.newest(items, kinds, gaps, queries)
        user = self.network.of_users(user, who)
        scores = user @ self.network.item_vectors().T + self.network.item_bias
        best = torch.topk(scores + (item_bias + self.never), self.top_k, dim=1)
        found = best.indices, best.values, torch.gather(scores, 1, candidates)
        return (*found, functional.pad(user, (0, 1), value=1.0)) if self.states else found


def export_network(
    network: Network, path: Path, users: NetworkInputs, top_k: int = 100, *, states: bool = False
) -> Parity:
    """Write ``network`` to ``path`` as ONNX, after comparing both on ``users``.

    What the network computes of its items alone (content, norms) is computed once, here: the graph
    holds a table of finished vectors. With ``states`` it gives these too.

    Raises:
        ExportError: when scores differ by more than ``MAX_DIFFERENCE`` or are no numbers; ``path``
            is removed.
    """
    graph = RankingGraph(network.eval(), top_k).eval()
    folded = network.folded()
    exported = RankingGraph(folded, top_k, NewestState(folded), states=states).eval()
    outputs = (*OUTPUTS, STATES) if states else OUTPUTS
    arguments = _graph_inputs(users, network.config.vocabulary_size, slice(0, 2))
    tensors = _tensors(arguments)
    optional = [name for name in (QUERIES, WHO) if name in tensors]
    with warnings.catch_warnings():
        # The legacy exporter is the one that was measured to agree; its notice is no news.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            (*(tensors[name] for name in INPUTS), {name: tensors[name] for name in optional}),
            str(path),
            input_names=list(arguments),
            output_names=list(outputs),
            dynamic_axes={
                **{name: {0: "B", 1: "L"} for name in ("items", "kinds", "gaps")},
                **{name: {0: "B"} for name in outputs},
                "candidates": {0: "B", 1: "C"},
                "candidate_scores": {0: "B", 1: "C"},
                **({QUERIES: {0: "B", 1: "L", 2: "W"}} if QUERIES in arguments else {}),
                **({WHO: {0: "B"}} if WHO in arguments else {}),
            },
            opset_version=OPSET,
            dynamo=False,
        )
    parity = check_parity(graph, path, users)
    # Not "more than": a difference that is no number is neither more nor less.
    if not parity.max_difference <= MAX_DIFFERENCE:
        path.unlink()
        raise ExportError(
            f"ONNX Runtime and torch differ by {parity.max_difference:.2g} (at most "
            f"{MAX_DIFFERENCE:g}); the bundle was not written: check the versions of torch "
            "and onnxruntime against constraints.txt"
        )
    return parity


def check_parity(graph: RankingGraph, path: Path, users: NetworkInputs) -> Parity:
    """Run ``users`` through torch and through ONNX Runtime on the CPU and compare.

    Those with the shorter histories are run again without the padding that all of them have.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    size = len(users.items)
    difference, same = 0.0, 0
    for start in range(0, size, 64):
        arguments = _graph_inputs(
            users, graph.network.config.vocabulary_size, slice(start, min(start + 64, size))
        )
        ours = session.run(list(OUTPUTS), arguments)
        with torch.inference_mode():
            theirs = [value.numpy() for value in graph(**_tensors(arguments))]
        shorter, short = _shortened(arguments)
        ours_short = session.run(list(OUTPUTS), short)
        # The maximum of Python would pass over what is not a number.
        furthest = [
            *(np.abs(ours[at] - theirs[at]).max() for at in (1, 2)),
            *(np.abs(ours_short[at] - theirs[at][shorter]).max() for at in (1, 2)),
        ]
        difference = float(np.max([difference, *furthest]))
        same += int((ours[0][:, :PARITY_TOP] == theirs[0][:, :PARITY_TOP]).all(axis=1).sum())
    return Parity(difference, same / max(size, 1), size)


def _shortened(
    arguments: dict[str, NDArray[np.generic]],
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.generic]]]:
    """Which half of the users has the fewest events, and their inputs no longer than they need."""
    events = (arguments["items"] != PADDING).sum(axis=1)
    shorter = events <= np.median(events)
    some = {
        name: values if name == "item_bias" else values[shorter]
        for name, values in arguments.items()
    }
    items = some["items"].astype(np.int64)
    length = max(needed_lengths(items, reads_queries=QUERIES in some))
    windows = some.keys() - {"item_bias", "candidates", WHO}
    return shorter, some | {name: some[name][:, -length:] for name in windows}


def _tensors(arguments: dict[str, NDArray[np.generic]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in arguments.items()}


def _graph_inputs(
    users: NetworkInputs, vocabulary_size: int, part: slice
) -> dict[str, NDArray[np.generic]]:
    """Inputs of the graph for some of the users, each scored on its own newest items."""
    read = {name: values[part] for name, values in users._asdict().items()}
    optional = {name: read.pop(name) for name in (QUERIES, WHO) if name in read}
    return {
        **read,
        "item_bias": np.zeros(vocabulary_size, np.float32),
        "candidates": read["items"][:, -10:],
        **optional,
    }
