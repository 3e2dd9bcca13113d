"""The network of a shop that next baskets are asked of, with its item tower and its judge."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from model.cold_items import ColdItems, cold_positions
from model.dataset import EventLog, Split
from model.evaluate import Judge
from model.export import export_network
from model.items import Item
from model.tower_export import export_tower
from model.train import TrainedNetwork, fitted_weights, judge_of, some_users, train
from model.trainer import TrainConfig

CHOICE_BASKETS = 1_000
HALF_LIVES = {
    "popularity_half_life_days": (7.0, 14.0, 28.0),
    "repeat_half_life_days": (60.0, 120.0, 240.0),
}
"""Tried on validation baskets."""


class Made(NamedTuple):
    """A network and what judges it."""

    trained: TrainedNetwork
    model: Path
    tower: Path
    log: EventLog
    cold: ColdItems

    def judge_with(self, config: TrainConfig) -> Judge:
        """The judge with the half-lives of ``config``."""
        return judge_of(self.model, self.trained.vocabulary, self.log, config, cold=self.cold)


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
