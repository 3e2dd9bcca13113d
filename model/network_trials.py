"""What settings of a training are worth: train on a fold, export, blend, judge the lists.

Half-lives do not change the network: the graphs of the settings in the lead are kept, so that
trying other half-lives with them costs no training.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model.dataset import Split
from model.export import ExportError, export_network
from model.features import Vocabulary
from model.fold_trials import FoldTrials
from model.folds import Fold
from model.journal import Journal
from model.method import Setting
from model.train import TrainError, fitted_weights, judge_of, some_users, train
from model.trainer import Progress, TrainConfig

JUDGED_BASKETS = 2_000
"""Of each fold at most; every trial is judged on the same ones."""


class _Graph(NamedTuple):
    path: Path
    vocabulary: Vocabulary


class NetworkTrials(FoldTrials):
    """Trials of the settings of ``TrainConfig``, by the NDCG@10 of the blended lists.

    Args:
        folds: to learn from and to judge on.
        config: what is not said by a trial's settings.
        seed: of every training.
        folder: for graphs, while this is used.
        progress: called often; the share is that of the budget.
        seconds, journal, clock: see ``FoldTrials``.
    """

    def __init__(
        self,
        folds: Sequence[Fold],
        config: TrainConfig,
        *,
        seed: int,
        folder: Path,
        progress: Progress,
        seconds: float,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(len(folds), seconds, journal, clock)
        self._parts = folds
        self._config = config
        self._seed = seed
        self._folder = folder
        self._progress = progress
        self._graphs: dict[tuple[TrainConfig, int], _Graph] = {}

    def judge(self, settings: Mapping[str, Setting], fold: int) -> float:
        """NDCG@10 on a sample of a fold's baskets; 0 where such settings make no network.

        Raises:
            TrainError, model.export.ExportError: the settings that a search starts from make none.
            OutOfTime: the budget is spent.
        """
        config = configured(self._config, settings)
        part = self._parts[fold]
        try:
            graph = self._graph(config, fold)
            judge = judge_of(graph.path, graph.vocabulary, part.validation.log, config)
            table = judge.candidates(part.validation.spread(JUDGED_BASKETS))
            return table.metrics(fitted_weights(table, config)).ndcg
        except (TrainError, ExportError):
            if self.leader is None:
                raise
            return 0.0

    def _graph(self, config: TrainConfig, fold: int) -> _Graph:
        key = _network_of(config), fold
        if key not in self._graphs:
            self._forget_all_but(key[0])
            self._graphs[key] = self._train(config, fold)
        return self._graphs[key]

    def _forget_all_but(self, network: TrainConfig) -> None:
        """Drop the graphs of networks that are neither this one nor the leader's."""
        wanted = {network}
        if self.leader:
            wanted.add(_network_of(configured(self._config, dict(self.leader.settings))))
        for key in [key for key in self._graphs if key[0] not in wanted]:
            self._graphs.pop(key).path.unlink()

    def _train(self, config: TrainConfig, fold: int) -> _Graph:
        part = self._parts[fold]
        nothing = part.validation.take(np.zeros(0, np.int64))
        split = Split(part.train, part.validation, nothing)
        leading = f", best so far {self.leader.mean:.4f}" if self.leader else ""
        where = f"trial {len(self.made) + 1}, fold {fold + 1} of {len(self._parts)}{leading}"

        def tell(text: str, share: float) -> None:
            self._progress(where, min(self.spent / self.seconds, 1.0))
            self.stop_when_spent()

        trained = train(split, config, tell, seed=self._seed)
        path = self._folder / f"{len(self.made)}-{fold}.onnx"
        users = some_users(part.validation, trained.vocabulary, config)
        export_network(trained.network, path, users, config.top_k)
        return _Graph(path, trained.vocabulary)


def configured(config: TrainConfig, settings: Mapping[str, Setting]) -> TrainConfig:
    """``config`` with other settings; a stride is at most as long as the window."""
    values: dict[str, Any] = dict(settings)
    changed = replace(config, **values)
    return replace(changed, stride=min(changed.stride, changed.length))


def _network_of(config: TrainConfig) -> TrainConfig:
    """The same for all settings that train the same network."""
    return replace(config, popularity_half_life_days=0.0, repeat_half_life_days=0.0)
