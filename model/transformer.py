"""The causal transformer as a method: learned with torch, judged as the ONNX graph that ships."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from model.checkpoint import Checkpoint
from model.choice import Budget
from model.content import ItemContent
from model.dataset import spread_numbers
from model.member import Look, Member
from model.method import Scores, Setting
from model.neighbour_content import joined, neighbour_content
from model.network import Network
from model.ranks import Objective, judge
from model.scoring import ScoringSession, export_scoring
from model.sequences import Cases, Sequences
from model.temperature import best_temperature
from model.transformer_settings import TransformerSettings

PARITY_HISTORIES = 64


class Transformer:
    """The method.

    Args:
        objective: what the best epoch is chosen by.
        settings: of the network and its training.
        content: of the items, or None; in the order of the sequences' ``item_ids``.
        members: networks trained one after another from other seeds; their log-probabilities are
            averaged.
        budget: of ``fit``: its seconds are split among the members, and the learning rate's
            schedule ends with them or with the epochs, whichever is first.
        looks: how often each member is judged on validation, spread over its run.
        cases: at most so many validation cases are judged in each look.
        refit_share: of the epochs and the seconds of the fit, what a refit takes.
        checkpoint: written after each look and removed when ``fit`` is done; where it is there
            already, ``fit`` goes on from it.
        progress: told a sentence after each look, and the share of the fit that is done.
        seed: of the first member, and of the cases.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        settings: TransformerSettings | None = None,
        content: ItemContent | None = None,
        members: int = 1,
        budget: Budget | None = None,
        looks: int = 10,
        cases: int = 5_000,
        refit_share: float = 0.2,
        checkpoint: Path | None = None,
        progress: Callable[[str, float], None] = lambda sentence, share: None,
        seed: int = 0,
    ) -> None:
        self._objective = objective
        self._settings = settings or TransformerSettings()
        self._content = content
        self._member_count = members
        self._seconds = (budget or Budget(600.0)).seconds / members
        self._looks = looks
        self._cases = cases
        self._refit_share = refit_share
        self._checkpoint = checkpoint
        self._progress = progress
        self._seed = seed
        self._members: list[Member] = []
        self._fitted_on: Sequences | None = None
        self._session: ScoringSession | None = None
        self._temperature = 1.0

    @property
    def curves(self) -> list[list[Look]]:
        """How each member did on validation while it learned."""
        return [member.curve for member in self._members]

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn; with ``validation``, keep the epoch of each member that does best on it, and
        choose the temperature.

        Raises:
            model.checkpoint.CheckpointError: the checkpoint is of another run.
            FloatingPointError: training has diverged.
        """
        sample = None if validation is None else validation.sample(self._cases, self._seed)
        content = self._content_of(train)
        self._members = [
            Member(
                self._settings, train.item_count, content,
                seconds=self._seconds, looks=self._looks, seed=self._seed + number,
            )
            for number in range(self._member_count)
        ]  # fmt: skip
        saved = self._saved(train, sample)
        if saved and (state := saved.load()):
            for member, kept in zip(self._members, state["members"], strict=True):
                member.restore(kept)

        def worth(network: Network) -> float:
            assert sample is not None
            return self._objective(judge(self._session_of([network], train), sample))

        def note(member: Member) -> None:
            if saved:
                saved.save({"members": [each.state() for each in self._members]})
            self._tell(member)

        for member in self._members:
            member.learn(train, None if sample is None else worth, note)
        self._fitted_on, self._temperature = train, 1.0
        self._session = self._session_of(self._networks, train)
        if sample is not None:
            self._temperature = best_temperature(self._session, sample)
            self._session = self._session_of(self._networks, train)
        if saved:
            saved.remove()

    def refit(self, train: Sequences) -> None:
        """Learn from other sequences, warm: from the weights of ``fit``, never from those of
        another refit, for a share of the epochs. What was fitted on brings those weights back."""
        if self._fitted_on is None:
            self.fit(train)
            return
        for member in self._members:
            if _same(train, self._fitted_on):
                member.begin_again()
            else:
                member.learn_more(train, self._refit_share)
        self._session = self._session_of(self._networks, train)

    def scores(self, histories: Sequences) -> Scores:
        """float32 [B, items]: log-probabilities.

        Raises:
            ValueError: before ``fit``.
        """
        if self._session is None:
            raise ValueError("this network has learned nothing yet; call fit first")
        return self._session.scores(histories)

    def for_task(self, task: int, cases: Cases) -> ScoringSession:
        """The same networks asked for answers of one kind.

        Args:
            task: one of the settings' ``tasks``.
            cases: whose answers are of that kind; the temperature of the task is chosen on them.

        Raises:
            ValueError: before ``fit``, or when the task is none of those learned.
        """
        if self._fitted_on is None or task not in self._settings.tasks:
            raise ValueError(
                f"kind {task} is none of the tasks learned, {self._settings.tasks}; "
                "name it in the settings and call fit"
            )
        plain = self._exported(self._networks, self._fitted_on, task, 1.0)
        chosen = best_temperature(plain, cases)
        return self._exported(self._networks, self._fitted_on, task, chosen)

    def settings(self) -> Mapping[str, Setting]:
        """The settings in force; those that are not numbers are left out."""
        found = {
            **asdict(self._settings),
            "members": self._member_count,
            "temperature": self._temperature,
        }
        return {name: value for name, value in found.items() if isinstance(value, int | float)}

    def _content_of(self, train: Sequences) -> ItemContent | None:
        if not self._settings.neighbours:
            return self._content
        near = neighbour_content(train, self._settings.neighbours)
        return near if self._content is None else joined(self._content, near)

    def _saved(self, train: Sequences, sample: Cases | None) -> Checkpoint | None:
        if self._checkpoint is None:
            return None
        run = (self._settings, self._member_count, self._seconds, self._looks, self._seed)
        tokens = None if self._content is None else self._content.token_count
        data = (len(train), len(train.items), train.item_count, int(train.items.sum()), tokens)
        # Curve and best epoch are of these cases.
        judged = (
            None
            if sample is None
            else (len(sample), int(sample.targets.sum()), sample.seen_excluded)
        )
        return Checkpoint(self._checkpoint, repr((run, data, judged)))

    def _tell(self, member: Member) -> None:
        look, number = member.curve[-1], self._members.index(member)
        self._progress(
            f"network {number + 1} of {self._member_count}, epoch {look.epoch}: "
            f"loss {look.loss:.3f}, validation {look.value:.5f}",
            (number + member.course.share()) / self._member_count,
        )

    @property
    def _networks(self) -> list[Network]:
        return [member.network for member in self._members]

    def _session_of(self, networks: list[Network], train: Sequences) -> ScoringSession:
        tasks = self._settings.tasks
        return self._exported(networks, train, tasks[0] if tasks else None, self._temperature)

    def _exported(
        self, networks: list[Network], train: Sequences, task: int | None, temperature: float
    ) -> ScoringSession:
        some = spread_numbers(len(train), PARITY_HISTORIES)
        graph = export_scoring(networks, train.take(some), task, temperature)
        return ScoringSession(graph, self._settings.length)


def _same(one: Sequences, other: Sequences) -> bool:
    return np.array_equal(one.items, other.items) and np.array_equal(one.starts, other.starts)
