"""Sources asked for a log: alternatives of quotas in one table are what each gives alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs

from model.blend import Signals
from model.dataset import EventLog, next_baskets
from model.evaluate import Judge
from model.export import export_network
from model.features import Vocabulary, featurize
from model.fresh_score import FreshWeights
from model.items import Item
from model.log_catalogue import LogCatalogue
from model.log_sources import MOST_ALTERNATIVES, SourcePlan, plan_of
from model.network import Network, NetworkConfig
from model.quotas import SourceQuotas
from tests.planted import at
from tests.test_evaluate import shop

LENGTH = 8
FEW = SourceQuotas(popular=3, repeat=2, together=2, nearest=4)
ALTERNATIVES = (
    FEW,
    structs.replace(FEW, in_category=2),
    structs.replace(FEW, fresh=3),
    structs.replace(FEW, popular=9, in_category=6, fresh=8),
)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return shop()


@pytest.fixture(scope="module")
def catalogue(log: EventLog) -> LogCatalogue:
    items = [
        Item(item_id=name, category=("shop", f"shelf-{row % 4}"), created=at(row % 12))
        for row, name in enumerate(log.item_ids)
    ]
    return LogCatalogue(log, items)


@pytest.fixture(scope="module")
def graph(log: EventLog, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Vocabulary]:
    """An untrained network."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(log.item_ids)
    network = Network(NetworkConfig(len(vocabulary), length=LENGTH, dim=8, blocks=1))
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    users = featurize([log.interactions(0, 5), log.interactions(5, 9)], vocabulary, LENGTH)
    export_network(network, path, users, top_k=12)
    return path, vocabulary


def judge_of(graph: tuple[Path, Vocabulary], log: EventLog, plan: SourcePlan) -> Judge:
    return Judge(
        *graph, log, length=LENGTH, popularity_half_life_days=14, repeat_half_life_days=60,
        plan=plan,
    )  # fmt: skip


def test_one_table_under_each_of_its_quotas_is_the_table_of_these_alone(
    graph: tuple[Path, Vocabulary], log: EventLog, catalogue: LogCatalogue
) -> None:
    baskets = next_baskets(log, at(8), at(12))
    plan = SourcePlan(ALTERNATIVES, catalogue, FreshWeights())
    every = judge_of(graph, log, plan).candidates(baskets)
    sizes = []
    for number, quotas in enumerate(ALTERNATIVES):
        alone = judge_of(graph, log, replace(plan, quotas=(quotas,))).candidates(baskets)
        part = every.under(number)
        ours, theirs = (np.lexsort((each.item, each.basket)) for each in (part, alone))
        for name in ("basket", "item", "bought"):
            assert np.array_equal(getattr(part, name)[ours], getattr(alone, name)[theirs]), name
        for name in Signals.__struct_fields__:
            one, other = (
                getattr(each.signals, name)[order]
                for each, order in ((part, ours), (alone, theirs))
            )
            assert np.allclose(one, other, atol=1e-5), name
        sizes.append(len(part.item))
    assert sizes == sorted(set(sizes)), "each gives more than the one before"


def test_what_needs_a_catalogue_is_refused_without_one() -> None:
    with pytest.raises(ValueError, match="need a catalogue"):
        SourcePlan((SourceQuotas(fresh=1),))


@pytest.mark.parametrize(
    "quotas", [(FEW, SourceQuotas()), (FEW,) * (MOST_ALTERNATIVES + 1)], ids=["signals", "many"]
)
def test_alternatives_that_cannot_share_a_table_are_refused(
    quotas: tuple[SourceQuotas, ...],
) -> None:
    with pytest.raises(ValueError, match="alternatives"):
        SourcePlan(quotas)


def test_a_plan_names_the_sources_that_it_leaves_out(catalogue: LogCatalogue) -> None:
    quotas = SourceQuotas(in_category=5, fresh=6, new=1)
    plan, out = plan_of(quotas, None, FreshWeights())
    assert out == ["in_category", "fresh", "new"]
    assert (plan.quotas[0].in_category, plan.quotas[0].fresh) == (0, 0)
    plan, out = plan_of(quotas, catalogue, FreshWeights())
    assert out == ["new"]
    assert plan.quotas == (quotas,)
