"""One network of a ``model.transformer``: its run, how it did on validation, its best epoch."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from model.content import ItemContent
from model.course import Course
from model.network import Network
from model.sequence_training import SequenceTrainer
from model.sequences import Sequences
from model.transformer_settings import TransformerSettings


@dataclass(frozen=True)
class Look:
    """The network judged on validation once while it learned."""

    epoch: int
    loss: float
    """Mean over the epoch, augmentation and dropout included."""
    value: float
    """The objective."""
    seconds: float
    """Since the run began."""


class Member:
    """A run that can be broken off after any look and gone on with.

    Args:
        settings: all choices.
        item_count: of the catalogue.
        content: of the items, or None.
        seconds: the run ends with them, or with the epochs of the settings.
        looks: how often it is judged, spread over the run.
        seed: of the network.
    """

    def __init__(
        self,
        settings: TransformerSettings,
        item_count: int,
        content: ItemContent | None,
        *,
        seconds: float,
        looks: int,
        seed: int,
    ) -> None:
        self._trainer = SequenceTrainer(settings, item_count, content, seed)
        self._settings = settings
        self._looks = looks
        self.course = Course(settings.epochs, seconds, settings.learning_rate)
        self.curve: list[Look] = []
        self._best: dict[str, Tensor] = {}
        self._fitted: dict[str, Tensor] = {}
        self._fitted_epoch = 0

    @property
    def network(self) -> Network:
        """As it is now; after ``learn`` with ``worth``, as it was at the best look."""
        return self._trainer.network

    def learn(
        self,
        train: Sequences,
        worth: Callable[[Network], float] | None,
        note: Callable[["Member"], None],
    ) -> None:
        """Go on to the end of the run.

        Args:
            train: what is learned from.
            worth: of the network, on validation; None keeps the last epoch.
            note: called after each look.
        """

        def after_epoch(loss: float) -> None:
            share = self.course.share()
            if worth is None or (share < 1 and share * self._looks < 1 + len(self.curve)):
                return
            value = worth(self.network)
            if value > max((look.value for look in self.curve), default=float("-inf")):
                self._best = _copied(self.network)
            self.curve.append(Look(self._trainer.epoch, loss, value, self.course.spent()))
            note(self)

        self._trainer.run(train, self.course, after_epoch)
        if self._best:
            self.network.load_state_dict(self._best)
        self._fitted, self._fitted_epoch = _copied(self.network), self._trainer.epoch

    def begin_again(self) -> None:
        """The weights that ``learn`` ended with, whatever was learned since."""
        self._trainer.begin_at(self._fitted, self._fitted_epoch)

    def learn_more(self, train: Sequences, share: float) -> None:
        """Learn from other sequences, from where ``learn`` ended, at half the learning rate.

        Args:
            train: what is learned from.
            share: epochs, of those of the run, and of its seconds.
        """
        self.begin_again()
        epochs = max(1, round(self._settings.epochs * share))
        course = Course(epochs, self.course.seconds * share, self._settings.learning_rate / 2)
        self._trainer.run(train, course, lambda loss: None)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: tensors, numbers and plain containers."""
        return {
            "trainer": self._trainer.state(),
            "done": self.course.done,
            "spent": self.course.spent(),
            "curve": [asdict(look) for look in self.curve],
            "best": self._best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state()``."""
        self._trainer.restore(state["trainer"])
        self.course.done, self.course.earlier = state["done"], state["spent"]
        self.curve = [Look(**look) for look in state["curve"]]
        self._best = state["best"]


def _copied(network: Network) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in network.state_dict().items()}
