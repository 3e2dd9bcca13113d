"""The search for a training's settings: a bounded climb, each trial judged on folds of time.

The climb is the one that chooses every other setting here (``model.choice``). It begins with
settings that are known to be good and never ends below them, which counts where a budget is a few
dozen trials: a model-based search spends as many on drawing at random first.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from model.choice import Budget, OutOfTime, choose
from model.dataset import EventLog
from model.fold_trials import FoldTrial
from model.folds import Fold, expanding_folds
from model.journal import Journal
from model.method import Setting
from model.network_trials import NetworkTrials, configured
from model.tasks import served_kind
from model.train import TrainError
from model.trainer import Progress, TrainConfig
from model.training_report import FoldReport, SearchReport, TrialReport, command_line

Grid = Mapping[str, Sequence[Setting]]

GRID: Grid = {
    "repeat_half_life_days": (15.0, 30.0, 60.0, 120.0, 240.0),
    "popularity_half_life_days": (3.5, 7.0, 14.0, 28.0, 56.0),
    "learning_rate": (1.5e-3, 3e-3, 6e-3, 1.2e-2),
    "epochs": (2, 3, 5, 8, 12),
    "dropout": (0.0, 0.1, 0.2, 0.35, 0.5),
    "dim": (32, 64, 96, 128),
    "length": (25, 50, 100),
    "min_count": (2, 3, 5, 10, 20),
    "stride": (25, 50, 100),
    "blocks": (1, 2, 3),
}
"""Around the demonstration's settings; the half-lives first, for they cost no training."""
TRIALS_KEPT = 20
DIGITS = 6


@dataclass(frozen=True)
class SearchRequest:
    """What a person asks for."""

    minutes: float
    folds: int = 3
    journal: Path | None = None
    """A file of trials, to go on from."""
    fixed: frozenset[str] = frozenset()
    """Settings that are not searched, for they were given."""


def search_settings(
    log: EventLog,
    config: TrainConfig,
    request: SearchRequest,
    *,
    seed: int,
    progress: Progress,
    grid: Grid = GRID,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[TrainConfig, SearchReport]:
    """Climb from ``config``, within the budget; no event of the test window is looked at.

    Args:
        log: everything; see ``model.folds.expanding_folds`` for what is used of it.
        config: where the climb starts, and all that is not searched.
        request: budget, folds, journal.
        seed: of every training.
        progress: called often; the share is that of the budget.
        grid: ascending values of the settings to choose.
        clock: seconds, from any moment on.

    Returns:
        The best settings found, and how they were.

    Raises:
        TrainError: the log is too short for the folds, the journal is of another search or is
            none, or the budget ended before ``config`` itself was judged on all folds.
        model.export.ExportError: the exported graph of ``config`` is not the network.
    """
    searched = {name: values for name, values in grid.items() if name not in request.fixed}
    try:
        folds = expanding_folds(
            log, request.folds, validation_days=config.validation_days,
            test_days=config.test_days, kind=served_kind(log, config.task),
        )  # fmt: skip
        journal = _journal(request, folds, repr((config, sorted(searched.items()), seed)))
    except ValueError as error:
        raise TrainError(str(error)) from None
    except OSError as error:
        raise TrainError(
            f"the journal {request.journal} cannot be used ({error}); give another --journal"
        ) from error
    seconds = 60 * request.minutes
    with TemporaryDirectory() as folder:
        trials = NetworkTrials(
            folds, config, seed=seed, folder=Path(folder), progress=progress, seconds=seconds,
            journal=journal, clock=clock,
        )  # fmt: skip
        try:
            choice = choose(
                lambda settings: trials.worth(_of(configured(config, settings), searched)),
                _of(configured(config, {}), searched),
                searched,
                Budget(seconds, trials=sys.maxsize),
                clock=trials.clock,
            )
        except OutOfTime:
            raise TrainError(
                f"{request.minutes:g} minutes were over before the settings that the search starts "
                f"from were judged on {len(folds)} folds; give more --search-minutes, or fewer "
                "--search-folds (a --journal keeps the folds that were judged)"
            ) from None
    chosen = configured(config, choice.settings)
    ranked = sorted(trials.made.values(), key=lambda trial: -trial.mean)[:TRIALS_KEPT]
    report = SearchReport(
        settings=_of(chosen, searched),
        trials=[_trial(each) for each in ranked],
        trials_made=len(trials.made),
        folds=[_fold(each) for each in folds],
        minutes=request.minutes,
        seconds=round(trials.spent, 3),
        finished=choice.finished,
        seed=seed,
        command=command_line(),
    )
    return chosen, report


def _journal(request: SearchRequest, folds: Sequence[Fold], search: str) -> Journal | None:
    """The file of trials, ready to be written.

    Raises:
        ValueError: it is of another log or of other settings, or is no journal.
        OSError: it cannot be read or written.
    """
    path = request.journal
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("a").close()
    log = folds[-1].validation.log
    searches, mark = log.searches, 0
    for column in (log.users, log.items, log.kinds, log.times, searches.users, searches.times):
        mark = crc32(column.tobytes(), mark)
    for text in searches.texts:
        mark = crc32(f"{text}\0".encode(), mark)
    days = [(fold.since, fold.until) for fold in folds]
    journal = Journal(
        path, f"train log {mark:08x} search {crc32(repr((search, days)).encode()):08x}"
    )
    if journal.others:
        raise ValueError(
            f"the journal {path} is of a search with another log, seed, folds or settings; give "
            "another --journal, or delete this one"
        )
    return journal


def _of(config: TrainConfig, names: Iterable[str]) -> dict[str, Setting]:
    return {name: getattr(config, name) for name in names}


def _trial(trial: FoldTrial) -> TrialReport:
    spread = trial.spread
    return TrialReport(
        settings=dict(trial.settings),
        ndcg=[round(each, DIGITS) for each in trial.worths],
        mean=round(trial.mean, DIGITS),
        spread=None if spread is None else round(spread, DIGITS),
        seconds=round(trial.seconds, 3),
    )


def _fold(fold: Fold) -> FoldReport:
    return FoldReport(since=_day(fold.since), until=_day(fold.until), baskets=len(fold.validation))


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
