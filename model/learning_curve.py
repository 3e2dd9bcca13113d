"""How a training goes: the loss and the validation NDCG of each epoch, and the best network."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from model.network import Network
from model.training_report import EpochReport, TrainingReport


@dataclass
class LearningCurve:
    """How a training has gone so far; all of it stands in the checkpoint."""

    best: dict[str, Tensor]
    """The network of the best epoch."""
    best_ndcg: float = -1.0
    best_epoch: int = 0
    epoch: int = 0
    """How many are done."""
    curve: list[tuple[float, float]] = field(default_factory=list)
    """Loss and validation NDCG of each."""
    seconds: float = 0.0

    def add(self, loss: float, ndcg: float, network: Network) -> None:
        """Another epoch is done."""
        self.epoch += 1
        self.curve.append((loss, ndcg))
        if ndcg > self.best_ndcg:
            self.best_ndcg, self.best_epoch = ndcg, self.epoch
            self.best = {name: value.clone() for name, value in network.state_dict().items()}

    def report(self) -> TrainingReport:
        """For the manifest."""
        curve = [
            EpochReport(loss=round(loss, 6) if math.isfinite(loss) else None, ndcg=round(ndcg, 6))
            for loss, ndcg in self.curve
        ]
        return TrainingReport(seconds=round(self.seconds, 3), epoch=self.best_epoch, curve=curve)
