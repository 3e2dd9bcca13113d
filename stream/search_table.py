"""A search for settings as a table for a terminal."""

from typing import TYPE_CHECKING

from stream.evaluation_tables import Sheet

if TYPE_CHECKING:
    from model.training_report import SearchReport, TrialReport


def search_sheet(search: "SearchReport") -> Sheet:
    """The best trials, each by where it differs from what was chosen."""
    folds = len(search.folds)
    end = "nothing gains more" if search.finished else "the budget ended it"
    return Sheet(
        f"{search.trials_made} trials on {folds} folds of time in {search.seconds / 60:.1f} of "
        f"{search.minutes:g} minutes ({end}); chosen: {_listed(search.settings)}",
        ["instead", "NDCG@10", "± over folds", "folds", "seconds"],
        [
            [
                _listed(_difference(trial, search)) or "chosen",
                f"{trial.mean:.4f}",
                "" if trial.spread is None else f"{trial.spread:.4f}",
                f"{len(trial.ndcg)} of {folds}",
                f"{trial.seconds:.1f}",
            ]
            for trial in search.trials
        ],
    )


def _difference(trial: "TrialReport", search: "SearchReport") -> dict[str, int | float]:
    return {name: value for name, value in trial.settings.items() if value != search.settings[name]}


def _listed(settings: dict[str, int | float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())
