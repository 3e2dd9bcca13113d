"""Where a training run stands, and the learning rate that this asks for."""

import math
import time
from dataclasses import dataclass

WARM_UP = 0.05
"""Of the run: the learning rate climbs, before it goes down a cosine to zero."""


@dataclass
class Course:
    """Where a run stands: at most ``epochs``, and no longer than ``seconds``."""

    epochs: int
    seconds: float
    peak: float
    """Highest learning rate."""
    done: float = 0.0
    """Epochs, the fraction of the present one included."""
    earlier: float = 0.0
    """Seconds spent before a restart."""
    begun: float | None = None
    """By the monotonic clock."""

    def share(self) -> float:
        """Of the run, 0 to 1: by epochs or by time, whichever is further."""
        return min(max(self.done / self.epochs, self.spent() / self.seconds), 1.0)

    def spent(self) -> float:
        """Seconds that the run has taken."""
        return self.earlier + (0.0 if self.begun is None else time.monotonic() - self.begun)

    def rate(self) -> float:
        """The learning rate now."""
        share = self.share()
        if share < WARM_UP:
            return self.peak * max(share / WARM_UP, 0.02)
        return self.peak * (0.5 + 0.5 * math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))
