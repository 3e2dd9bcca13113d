"""The network of a shop that next baskets are asked of, with its item tower and its judge."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.temporal_data import shop_parser
from model.cold_items import ColdItems, cold_positions
from model.dataset import EventLog, Split
from model.evaluate import Judge
from model.export import export_network
from model.items import Item
from model.log_sources import SourcePlan
from model.tower_export import export_tower
from model.train import TrainedNetwork, fitted_weights, judge_of, some_users, train
from model.trainer import TrainConfig

SEED = 7
CHOICE_BASKETS = 1_000
HALF_LIVES = {
    "popularity_half_life_days": (7.0, 14.0, 28.0),
    "repeat_half_life_days": (60.0, 120.0, 240.0),
}
"""Tried on validation baskets."""


def network_parser(description: str | None) -> argparse.ArgumentParser:
    """What is asked where a network is trained."""
    parser = shop_parser(description)
    parser.add_argument("--epochs", type=int, default=TrainConfig.epochs)
    parser.add_argument("--baskets", type=int, default=4_000, help="at most so many are judged")
    parser.add_argument("--threads", type=int, default=1, help="of the training")
    parser.add_argument("--seed", type=int, default=SEED)
    return parser


class Made(NamedTuple):
    """A network and what judges it."""

    trained: TrainedNetwork
    model: Path
    tower: Path
    log: EventLog
    cold: ColdItems

    def judge_with(self, config: TrainConfig, plan: SourcePlan | None = None) -> Judge:
        """The judge with the half-lives of ``config`` that asks the sources of a plan."""
        return judge_of(
            self.model, self.trained.vocabulary, self.log, config, cold=self.cold, plan=plan
        )


def made_of(
    log: EventLog,
    items: Sequence[Item],
    split: Split,
    config: TrainConfig,
    seed: int,
    folder: Path,
) -> Made:
    """A network and its item tower, trained before the validation days; files in ``folder``."""
    trained = train(split, config, lambda text, share: None, seed=seed, items=items)
    model, tower = folder / "model.onnx", folder / "tower.onnx"
    users = some_users(split.validation, trained.vocabulary, config)
    export_network(trained.network, model, users, config.top_k, states=True)
    export_tower(trained.whole, tower, items, trained.vocabulary)
    cold = cold_positions(tower, items, log, trained.vocabulary)
    return Made(trained, model, tower, log, cold)


def with_half_lives(made: Made, split: Split, config: TrainConfig) -> TrainConfig:
    """The half-lives that do best on validation baskets, one after the other."""
    some = split.validation.spread(CHOICE_BASKETS)

    def worth(tried: TrainConfig) -> float:
        table = made.judge_with(tried).candidates(some)
        return table.metrics(fitted_weights(table, tried)).ndcg

    for name, values in HALF_LIVES.items():
        tried: list[dict[str, Any]] = [{name: value} for value in values]
        config = max((replace(config, **each) for each in tried), key=worth)
    return config
