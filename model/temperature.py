"""How sure scores may be: the temperature with which right answers are least surprising."""

import numpy as np
from numpy.typing import NDArray

from model.ranks import BATCH_CELLS, Scorer
from model.sequences import Cases

TEMPERATURES: NDArray[np.float64] = np.exp(np.linspace(np.log(0.5), np.log(2.0), 21))
"""Steps of 7%: less cannot be told apart on some thousand cases."""


def best_temperature(scorer: Scorer, cases: Cases) -> float:
    """The temperature T that makes softmax(scores / T) of the answers most likely.

    Guo et al., "On Calibration of Modern Neural Networks", 2017. The order of items is not
    changed by it. Items of the history stay out where the cases leave them out.

    Args:
        scorer: gives [B, items].
        cases: that it has not learned from.
    """
    surprise = np.zeros(len(TEMPERATURES))
    size = max(1, BATCH_CELLS // cases.histories.item_count)
    for start in range(0, len(cases), size):
        batch = cases.take(np.arange(start, min(start + size, len(cases))))
        scores = scorer.scores(batch.histories).astype(np.float32)
        if batch.seen_excluded:
            # An answer that was seen cannot be right by any temperature: it stays out of the mean.
            scores[batch.histories.rows, batch.histories.items] = -np.inf
        counts = np.diff(batch.target_starts)
        rows = np.repeat(np.arange(len(batch)), counts)
        own = scores[rows, batch.targets]
        scores -= scores.max(axis=1, keepdims=True)
        fair = np.isfinite(own)
        own = scores[rows, batch.targets][fair]
        weights = (1.0 / counts[rows])[fair]
        for number, temperature in enumerate(TEMPERATURES):
            total = np.log(np.exp(scores / np.float32(temperature)).sum(axis=1))
            surprise[number] += float(((total[rows][fair] - own / temperature) * weights).sum())
    return float(TEMPERATURES[int(surprise.argmin())])
