"""The contenders of the scoring benchmark that run in torch.

python -m benchmarks.scoring_torch eager|compile BUNDLE cpu|cuda
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.contender import answer
from benchmarks.pinned import BLOCKS, DIM, SEED
from benchmarks.scoring_contender import THREADS, Batches, Run, turns
from model.bundle import Bundle, load_bundle
from model.export import INPUTS, RankingGraph
from model.network import Network, NetworkConfig

MOST_SHAPES = 64
"""torch.compile gives up after eight programs by default."""


def pinned_graph(bundle: Bundle) -> RankingGraph:
    """The network that the pinned bundle's graph was exported from, folded as the export does."""
    manifest = bundle.manifest
    config = NetworkConfig(
        vocabulary_size=len(bundle.vocabulary), length=manifest.history_length, dim=DIM,
        blocks=BLOCKS,
    )  # fmt: skip
    torch.manual_seed(SEED)
    return RankingGraph(Network(config).eval().folded(), manifest.top_k).eval()


def runs_of(
    graph: Callable[..., tuple[Tensor, ...]], batches: Batches, device: str, batch: int
) -> Run:
    """Runs on arrays that are ready: to the device, through the network, and back."""
    inputs = batches.inputs(batch)

    def run(number: int) -> NDArray[np.int64]:
        arrays = (torch.from_numpy(inputs[number][name]).to(device) for name in INPUTS)
        with torch.inference_mode():
            best, *others = (each.cpu().numpy() for each in graph(*arrays))
        assert len(others) == 2
        return best

    return run


def main() -> None:
    """Answer what ``benchmarks.scoring`` asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("eager", "compile"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("provider", choices=("cpu", "cuda"))
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch._dynamo.config.cache_size_limit = MOST_SHAPES
    batches = Batches(load_bundle(asked.bundle))
    graph = pinned_graph(batches.bundle).to(asked.provider)
    # Each size gets a program of its own: fixed shapes are torch.compile's best case.
    fast = torch.compile(graph, dynamic=False) if asked.kind == "compile" else graph
    answer(turns(lambda batch: runs_of(fast, batches, asked.provider, batch)))


if __name__ == "__main__":
    main()
