"""Item vectors to start from: what stands together in the sequences, in few dimensions.

A truncated singular value decomposition of positive pointwise mutual information (Levy and
Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", 2014). A network that starts
there has the first epochs behind it after seconds.
"""

import numpy as np
import torch
from torch import Tensor

from model.neighbours import meetings
from model.sequences import Sequences

OVERSAMPLING = 8
ITERATIONS = 3
"""Halko et al., "Finding Structure with Randomness", 2011: few of both are enough."""
CONTEXT_POWER = 0.75
"""Common neighbours say less than their share (Levy et al., 2015)."""


def item_start(train: Sequences, dim: int, *, reach: int = 3, seed: int = 0) -> Tensor:
    """Vectors whose inner products say how much more often two items meet than chance has it.

    Args:
        train: sequences.
        dim: D; where there are fewer items the further dimensions are 0.
        reach: events further apart do not meet; those k apart count 1 / k.
        seed: of the randomised decomposition.

    Returns:
        float32 [items, D], of mean square length 1; items that never meet another have zeros.
    """
    size = train.item_count
    found = torch.zeros(size, dim)
    first, second, weights = meetings(train, reach)
    if not len(weights):
        return found
    sums = np.bincount(first, weights, size)
    context = sums**CONTEXT_POWER
    expected = sums[first] * context[second] / context.sum()
    information = np.log(np.maximum(weights / expected, 1e-9))
    kept = information > 0
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([first[kept], second[kept]])),
        torch.from_numpy(information[kept].astype(np.float32)),
        (size, size),
        check_invariants=True,
    ).coalesce()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wanted = min(dim + OVERSAMPLING, size)
        left, values, _ = torch.svd_lowrank(matrix, q=wanted, niter=ITERATIONS)
    vectors = (left * values.sqrt())[:, :dim]
    found[:, : vectors.shape[1]] = vectors
    return found / found.square().sum(dim=1).mean().sqrt().clamp(min=1e-9)
