"""What a manifest says of the training behind a bundle: its course, and the search before it."""

import shlex
import sys
from pathlib import Path

import msgspec


class EpochReport(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a learning curve."""

    loss: float | None
    """Mean over the epoch's steps; None where it was no number, or nothing was to be learned."""
    ndcg: float
    """NDCG@10 of the network alone, on a sample of the validation baskets."""


class TrainingReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the network that the bundle holds was trained."""

    seconds: float
    """Of all epochs; those of a training that was broken off and gone on with add up."""
    epoch: int
    """The one that was kept, counted from 1."""
    curve: list[EpochReport]
    """Every epoch, in order."""


class FoldReport(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the log that settings were judged on, having learned from all before it."""

    since: str
    """The midnight (UTC) at which it begins, RFC 3339."""
    until: str
    """The midnight at which it has ended."""
    baskets: int
    """Next baskets in it; of very many, a sample is judged."""


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """What settings were worth."""

    settings: dict[str, int | float]
    ndcg: list[float]
    """NDCG@10 of the blended lists on each fold, in order; shorter where it was dropped early."""
    mean: float
    """Over the folds; of a trial that was dropped, what the folds judged let expect of all."""
    spread: float | None
    """Standard deviation over the folds judged; None of a single one."""
    seconds: float


class SearchReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the settings of a training were chosen."""

    settings: dict[str, int | float]
    """The chosen ones, of those that were searched."""
    trials: list[TrialReport]
    """The best of them, the best first."""
    trials_made: int
    folds: list[FoldReport]
    minutes: float
    """The budget."""
    seconds: float
    """Spent, those of trials that the journal remembered included."""
    finished: bool
    """Whether a whole round over all settings brought nothing more."""
    seed: int
    command: str


def command_line() -> str:
    """What this process was started with."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
