"""Folders of public data, read and split by the protocol of their published tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model.layouts import (
    Cleaning,
    read_atomic,
    read_inputs_and_outputs,
    read_sequences,
    read_sessions,
    read_shop,
)
from model.ranks import Ranks
from model.sequences import Sequences
from model.splits import Split, leave_one_out, next_basket, next_in_session

BASKET_DAYS = 28
VALIDATION_SESSIONS = 0.07
"""About as many prefixes as the published test has."""


@dataclass(frozen=True)
class Metric:
    """One column of a table."""

    name: str
    of: Callable[[Ranks], float]
    """The mean over cases."""


@dataclass(frozen=True)
class Row:
    """One way to judge a data set; rows with the same ``choice`` share the settings chosen."""

    name: str
    choice: str
    split: Split


@dataclass(frozen=True)
class Dataset:
    """What a table is made of."""

    sequences: Sequences
    cleaning: Cleaning
    rows: list[Row]
    metrics: list[Metric]
    unit: str
    """``share``, or ``percent`` where the published tables print percents."""
    deciding: int = 1
    """How many of the metrics settings are chosen by."""
    in_order: bool = False
    """Whether the sequences follow each other in time."""

    def objective(self, ranks: Ranks) -> float:
        """What settings are chosen by: the sum of the first ``deciding`` metrics."""
        return sum(metric.of(ranks) for metric in self.metrics[: self.deciding])


def one_file(folder: Path, *patterns: str) -> Path:
    """The only file that matches the first pattern that any file matches.

    Raises:
        FileNotFoundError: when none matches.
        ValueError: when several do.
    """
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ValueError(f"{folder} holds several of {pattern}: {names}; keep one")
        if found:
            return found[0]
    raise FileNotFoundError(f"{folder} holds no {' or '.join(patterns)}; give another --data")


def _one_item_metrics() -> list[Metric]:
    return [
        Metric("NDCG@10", lambda ranks: float(ranks.ndcg(10).mean())),
        Metric("HR@10", lambda ranks: float(ranks.hit(10).mean())),
        Metric("MRR@10", lambda ranks: float(ranks.mrr(10).mean())),
    ]


def _left_out(sequences: Sequences, cleaning: Cleaning) -> Dataset:
    rows = [
        Row(
            name,
            "shared",
            leave_one_out(sequences, validation_in_history=True, validation_in_final=learned),
        )
        for name, learned in (("train_part_only", False), ("validation_item_learned", True))
    ]
    return Dataset(sequences, cleaning, rows, _one_item_metrics(), "share")


def beauty(folder: Path) -> Dataset:
    """A sequence file whose lines begin with the user."""
    path = one_file(folder, "s3rec_sequences.txt", "*sequences*.txt")
    return _left_out(*read_sequences(path, owner_first=True))


def ml1m(folder: Path) -> Dataset:
    """A sequence file without users, and the last item of each apart."""
    return _left_out(
        *read_inputs_and_outputs(
            one_file(folder, "test_input_rebuilt.txt", "test_input*.txt"),
            one_file(folder, "test_output.txt"),
        )
    )


def recbole(folder: Path) -> Dataset:
    """An atomic file of interactions."""
    return _left_out(*read_atomic(one_file(folder, "*.inter")))


def diginetica(folder: Path) -> Dataset:
    """Sessions in order of time, and prefixes of later ones to continue."""
    sessions, test, cleaning = read_sessions(
        one_file(folder, "train_sessions.txt"), one_file(folder, "test_prefix_target.txt")
    )
    split = next_in_session(sessions, test, validation_share=VALIDATION_SESSIONS)
    metrics = [
        Metric("P@20", lambda ranks: 100 * float(ranks.hit(20).mean())),
        Metric("MRR@20", lambda ranks: 100 * float(ranks.mrr(20).mean())),
        Metric("NDCG@20", lambda ranks: 100 * float(ranks.ndcg(20).mean())),
    ]
    return Dataset(
        sessions, cleaning, [Row("all_items", "own", split)], metrics, "percent", 2, True
    )


def online_retail(folder: Path) -> Dataset:
    """Purchase lines of a shop with times."""
    sequences, cleaning = read_shop(
        one_file(folder, "online_retail_full_noids.parquet", "*.parquet")
    )
    rows = [
        Row(name, name, next_basket(sequences, days=BASKET_DAYS, unseen_only=unseen))
        for name, unseen in (("all_items", False), ("unseen_items_only", True))
    ]
    metrics = [
        Metric("NDCG@10", lambda ranks: float(ranks.ndcg(10).mean())),
        # Baskets hold more than ten items: of the ten that a list can hit.
        Metric("Recall@10", lambda ranks: float(ranks.capped_recall(10).mean())),
        Metric("Hit@10", lambda ranks: float(ranks.hit(10).mean())),
        Metric("P@10", lambda ranks: float(ranks.precision(10).mean())),
    ]
    return Dataset(sequences, cleaning, rows, metrics, "share")


DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "beauty": beauty,
    "ml1m": ml1m,
    "diginetica": diginetica,
    "online_retail": online_retail,
    "recbole": recbole,
}
