"""How a training goes: the loss and the validation NDCG of each epoch, and the best network."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from model.network import Network
from model.trainer import Progress, Trainer
from model.training_report import EpochReport, TrainingReport
from model.windows import Batch


@dataclass
class Course:
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


class RecordingTrainer(Trainer):
    """A trainer that remembers the losses of the epoch that runs."""

    def run_epoch(self, epoch: int, progress: Progress) -> None:
        self._losses: list[float] = []
        super().run_epoch(epoch, progress)

    def mean_loss(self) -> float:
        """Of the last epoch's steps; no number where there was nothing to learn."""
        return sum(self._losses) / len(self._losses) if self._losses else math.nan

    def _learn(self, batch: Batch, share: float) -> float:
        loss = super()._learn(batch, share)
        self._losses.append(loss)
        return loss
