"""What do all sources together give over the best one, and who finds new items' buyers?

    python -m benchmarks.temporal --dataset online_retail --data DIR --json
    python -m benchmarks.temporal --dataset complete_journey --json

Next baskets of the last 28 days of a shop, all items ranked, from the profile just before each and
counts of the midnight before. A network with an item tower learns from what came before the
validation days; the blend, the quotas of sources and all other settings are chosen on those, as
``nextclick train --catalog`` does. A single source orders its own candidates by its own signal;
``repeat, then popular`` is the personal frequency that is filled up with popular items. New items
are those first sold in the judged days: see ``benchmarks.cold_lists``.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from msgspec import to_builtins
from numpy.typing import NDArray

from benchmarks.cold_lists import (
    LENGTH,
    POPULAR_WEIGHTS,
    NewestPopular,
    NewItems,
    network_scores,
    new_items,
    recall,
    unsold,
)
from benchmarks.fresh_lists import BASELINE, fresh_report
from benchmarks.temporal_data import TEST_DAYS, VALIDATION_DAYS, parsed, read
from benchmarks.temporal_network import Made, made_of, network_parser, with_half_lives
from model.baselines import DecayedPopularity, FrequentThenPopular
from model.blend import BlendWeights, blend
from model.candidate_table import CandidateTable
from model.cold_items import ItemTower
from model.dataset import Split, cut_times
from model.evaluate import Judge
from model.items import Item
from model.judging import ChosenSources, chosen_sources
from model.log_catalogue import LogCatalogue
from model.log_sources import SourcePlan
from model.pool_table import best_of_lists
from model.quota_choice import TRIED
from model.top_metrics import rank_metrics
from model.train import fitted_weights, split_of
from model.trainer import TrainConfig


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge and print one JSON object."""
    parser = network_parser(__doc__)
    parser.add_argument("--id-dropout", type=float, default=TrainConfig.id_dropout)
    parser.add_argument("--test-days", type=int, default=TEST_DAYS)
    asked = parsed(parser, arguments)
    sys.stdout.write(json.dumps(temporal(asked), indent=1) + "\n")


def temporal(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report."""
    torch.set_num_threads(asked.threads)
    begun, spent = time.perf_counter(), time.process_time()
    log, items = read(asked.dataset, asked.data)
    config = replace(
        TrainConfig(), epochs=asked.epochs, id_dropout=asked.id_dropout,
        validation_days=VALIDATION_DAYS, test_days=asked.test_days,
    )  # fmt: skip
    split = split_of(log, config)
    with TemporaryDirectory() as folder:
        made = made_of(log, items, split, config, asked.seed, Path(folder))
        learned = time.process_time() - spent
        config = with_half_lives(made, split, config)
        judged = replace(split, validation=split.validation.spread(asked.baskets),
                         test=split.test.spread(asked.baskets))  # fmt: skip
        catalogue = LogCatalogue(log, items)
        chosen = chosen_sources(
            judged.validation, catalogue, config, lambda plan: made.judge_with(config, plan)
        )
        plain = made.judge_with(config)
        sources = _sources(plain, judged, config)
        sources |= _with_quotas(made, judged, config, chosen, sources["all sources"])
        cold = _cold(made, plain, items, split, config, asked.baskets)
        cold |= _listed(made, catalogue, split, config, chosen, asked.baskets)
        cold["by the source fresh"] = fresh_report(
            log, items, split, days=(config.validation_days, config.test_days),
            half_life_days=config.popularity_half_life_days, most=asked.baskets,
        )  # fmt: skip
    return {
        "dataset": asked.dataset,
        "test_days": asked.test_days,
        "baskets": len(judged.test),
        "baskets_in_log": len(split.test),
        "items": len(log.item_ids),
        "vocabulary": len(made.trained.vocabulary.ids),
        "ndcg@10": sources,
        "blend": to_builtins(chosen.weights),
        "quotas": to_builtins(chosen.plan.quotas[0]),
        "fresh": to_builtins(chosen.plan.fresh),
        "chosen_by": to_builtins(chosen.report),
        "new_items": cold,
        "half_life_days": {
            "popularity": config.popularity_half_life_days,
            "repeat": config.repeat_half_life_days,
        },
        "epochs": asked.epochs,
        "id_dropout": asked.id_dropout,
        "validation_ndcg_of_the_network": made.trained.validation_ndcg,
        "seed": asked.seed,
        "training_processor_seconds": round(learned, 1),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def _sources(judge: Judge, split: Split, config: TrainConfig) -> dict[str, float]:
    """NDCG@10 on the test of the blended lists with no further quota, and of every source's."""
    weights = fitted_weights(judge.candidates(split.validation), config)
    table = judge.candidates(split.test)
    targets = split.test.target_sets()
    alone = {
        "repeat": _alone(table, table.signals.repeat),
        "together": _alone(table, table.signals.covisit),
        "popular": _alone(table, table.signals.popular),
        "nearest": table.nearest,
    }
    found = {name: rank_metrics(lists, targets).ndcg for name, lists in alone.items()}
    best = max(found.values())
    filled = rank_metrics(FrequentThenPopular(split.test.log).rank(split.test), targets).ndcg
    everything = table.metrics(weights).ndcg
    return found | {
        "repeat, then popular": filled,
        "all sources": everything,
        "all sources / best single source": everything / best,
        "all sources / repeat, then popular": everything / filled,
    }


def _with_quotas(
    made: Made, split: Split, config: TrainConfig, chosen: ChosenSources, plain: float
) -> dict[str, float]:
    """NDCG@10 on the test with the quotas that validation has chosen."""
    table = made.judge_with(config, chosen.plan).candidates(split.test)
    found = table.metrics(chosen.weights).ndcg
    return {"all sources, chosen quotas": found, "chosen quotas / quotas 0": found / plain}


def _alone(table: CandidateTable, signal: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    return table.top(np.where(signal > 0, signal, -np.inf).astype(np.float32))


def _cold(
    made: Made,
    judge: Judge,
    items: Sequence[Item],
    split: Split,
    config: TrainConfig,
    most: int,
) -> dict[str, Any]:
    """Recall@50 of new items, by contender; settings of each by the validation days."""
    log = made.log
    validation_from, test_from = cut_times(log, config.validation_days, config.test_days)
    end = int(log.times.max()) + 1
    validation = new_items(log, split.validation, validation_from, test_from)
    test = new_items(log, split.test, test_from, end)
    item_of = {item.item_id: item for item in items}
    tower = ItemTower(made.tower)
    popular = DecayedPopularity(log, config.popularity_half_life_days)
    newest = NewestPopular(log, items, config.popularity_half_life_days)

    def ours(new: NewItems) -> Callable[[float], float]:
        vectors = tower.vectors([item_of[log.item_ids[item]] for item in new.items])
        states = judge.states(new.baskets)
        return lambda weight: recall(new, network_scores(new, states, vectors, popular, weight))

    def baseline(new: NewItems, level: int, by_share: bool) -> float:
        return recall(new, newest.scores(new, level, by_share))

    report: dict[str, Any] = {"new": len(test.items)}
    for name, chosen_on, judged in (
        ("live counts", validation.spread(most), test.spread(most)),
        (
            "without a sale by then",
            unsold(log, validation).spread(most),
            unsold(log, test).spread(most),
        ),
    ):
        found: dict[str, float] = {"baskets": len(judged.baskets)}
        report[name] = found
        weight, of_test = max(POPULAR_WEIGHTS, key=ours(chosen_on)), ours(judged)
        found["weight of popularity"] = weight
        found["by the network"] = of_test(0.0)
        found["by the network and popularity"] = of_test(weight)
        for title, by_share in ((BASELINE, False), ("the same, weighed by category share", True)):
            tried = [baseline(chosen_on, level, by_share) for level in range(newest.levels)]
            found[title] = baseline(judged, tried.index(max(tried)), by_share)
        found["network and popularity / newest popular in category"] = (
            found["by the network and popularity"] / found[BASELINE]
        )
    return report


def _listed(
    made: Made,
    catalogue: LogCatalogue,
    split: Split,
    config: TrainConfig,
    chosen: ChosenSources,
    most: int,
) -> dict[str, Any]:
    """Recall@50 of new items in lists of all items, as a worker would make them, by quotas."""
    log = made.log
    _, test_from = cut_times(log, config.validation_days, config.test_days)
    some = new_items(log, split.test, test_from, int(log.times.max()) + 1).spread(most)
    plan = SourcePlan(TRIED, catalogue, chosen.plan.fresh)
    every = made.judge_with(config, plan).candidates(some.baskets)
    found = {
        f"in_category={each.in_category}, fresh={each.fresh}": _among_all(
            some, every.under(number), chosen.weights
        )
        for number, each in enumerate(TRIED)
    }
    return {"among all items, by the blend": found}


def _among_all(new: NewItems, table: CandidateTable, weights: BlendWeights) -> float:
    """Of the first fifty of all items as a worker would list them."""
    scores = blend(weights, table.signals)
    nothing = np.zeros(len(scores), np.float32)
    chosen = best_of_lists(
        table.basket, nothing, scores, table.item, lists=len(table.baskets), length=LENGTH
    )
    lists = np.split(table.item[chosen.places], chosen.ends[:-1])
    return float(
        np.mean([np.isin(new.items[targets], each).mean()
                 for targets, each in zip(new.targets, lists, strict=True)])
    )  # fmt: skip


if __name__ == "__main__":
    main()
