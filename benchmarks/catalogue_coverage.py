"""How much of a catalogue do lists show, and how evenly, beside popularity and the plain network?

    python -m benchmarks.catalogue_coverage --dataset online_retail --data DIR --json
    python -m benchmarks.catalogue_coverage --dataset complete_journey --epochs 3 --json

Next baskets of the last 28 days of a shop, all items ranked, of the shop and network of
``benchmarks.temporal``: the lists that a worker would publish (all sources, blended, varied by
``model.diversity``) by strength, the network's own nearest items, and what sold most in 28 days.
Loss of NDCG@10 is against the published lists at strength 0. The figures of the validation
days are those that the constants of ``model.diversity`` were chosen by. Coverage
grows with the number of lists: compare what stands side by side only.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.temporal_data import TEST_DAYS, VALIDATION_DAYS, parsed, read
from benchmarks.temporal_network import Made, made_of, network_parser, with_half_lives
from model.baselines import MostPopular
from model.blend import BlendWeights, blend
from model.candidate_table import CandidateTable
from model.dataset import Baskets
from model.diversity import Diversity
from model.item_vectors import vectors_in
from model.items import Item
from model.list_quality import (
    NOTHING,
    by_category,
    coverage,
    diversity,
    exposures,
    gini,
    novelty,
    tail_share,
)
from model.ranked_lists import varied
from model.top_metrics import CUT, rank_metrics
from model.train import fitted_weights, split_of
from model.trainer import TrainConfig

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5)
JUDGED_STRENGTH = 0.3
Lists = NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge and print one JSON object."""
    asked = parsed(network_parser(__doc__), arguments)
    sys.stdout.write(json.dumps(report(asked), indent=1) + "\n")


def report(asked: argparse.Namespace) -> dict[str, Any]:
    """Every contender's figures on the validation and the test days."""
    torch.set_num_threads(asked.threads)
    begun = time.perf_counter()
    log, items = read(asked.dataset, asked.data)
    config = replace(
        TrainConfig(), epochs=asked.epochs,
        validation_days=VALIDATION_DAYS, test_days=TEST_DAYS,
    )  # fmt: skip
    split = split_of(log, config)
    with TemporaryDirectory() as folder:
        made = made_of(log, items, split, config, asked.seed, Path(folder))
        config = with_half_lives(made, split, config)
        judge = made.judge_with(config)
        tables = {
            "validation": judge.candidates(split.validation.spread(asked.baskets)),
            "test": judge.candidates(split.test.spread(asked.baskets)),
        }
        vectors = vectors_in(made.model)
    weights = fitted_weights(tables["validation"], config)
    categories = categories_of(made, items)
    found: dict[str, Any] = {
        days: figures_of(table, weights, vectors, categories) for days, table in tables.items()
    }
    return {
        "dataset": asked.dataset,
        "items": len(log.item_ids),
        **found,
        "epochs": asked.epochs,
        "seed": asked.seed,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def categories_of(made: Made, items: Sequence[Item]) -> NDArray[np.int32]:
    """int32 [items of the log]: numbers of categories, 0 for none."""
    numbers: dict[tuple[str, ...], int] = {(): 0}
    category_of = {item.item_id: item.category for item in items}
    found = [category_of.get(each, ()) for each in made.log.item_ids]
    return np.array([numbers.setdefault(each, len(numbers)) for each in found], np.int32)


def figures_of(
    table: CandidateTable,
    weights: BlendWeights,
    vectors: NDArray[np.float32],
    categories: NDArray[np.int32],
) -> dict[str, Any]:
    """Of every contender's lists, and those at the judged strength beside two of them."""
    scores, baskets = blend(weights, table.signals), table.baskets
    named = {
        "popularity": padded(MostPopular(baskets.log).rank(baskets)),
        "network": padded(table.nearest),
    }
    for strength in STRENGTHS:
        if strength:
            vary = Diversity(strength, vectors, vectors.shape[1])
            places, ends = varied(table, scores, vary, categories)
            lists = np.split(table.item[places], ends[:-1])
        else:
            lists = table.top(scores)
        named[f"published, {strength}"] = padded(lists)
    found = {name: figures(lists, baskets, categories) for name, lists in named.items()}
    judged, plain = found[f"published, {JUDGED_STRENGTH}"], found["published, 0.0"]
    return {
        "baskets": len(baskets),
        "lists": found,
        "coverage / the network's": judged["coverage@10"] / found["network"]["coverage@10"],
        "loss of ndcg@10": 1 - judged["ndcg@10"] / plain["ndcg@10"],
    }


def figures(lists: Lists, baskets: Baskets, categories: NDArray[np.int32]) -> dict[str, float]:
    """Popularity is that of the events before the first of the baskets."""
    log = baskets.log
    count = len(log.item_ids)
    first = min(baskets.time(number) for number in range(len(baskets)))
    popularity = np.bincount(log.items[log.times < first], minlength=count)
    shown = exposures(lists, count)
    ranked = [each[each != NOTHING] for each in lists]
    return {
        "ndcg@10": rank_metrics(ranked, baskets.target_sets()).ndcg,
        "coverage@10": coverage(shown),
        "gini": gini(shown),
        "novelty_bits": novelty(shown, popularity),
        "diversity_by_category": diversity(lists, by_category(categories.astype(np.int64) - 1)),
        "tail_share": tail_share(shown, popularity),
    }


def padded(lists: Sequence[NDArray[np.int64]]) -> Lists:
    """int64 [B, 10], ``NOTHING`` where a list is shorter."""
    table = np.full((len(lists), CUT), NOTHING, np.int64)
    for row, each in zip(table, lists, strict=True):
        row[: len(each)] = each[:CUT]
    return table


if __name__ == "__main__":
    main()
