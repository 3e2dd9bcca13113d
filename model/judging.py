"""Choices made on validation baskets, of the blend and of the sources, and the verdict on both."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from model.baselines import FrequentThenPopular, MostPopular
from model.blend import BlendWeights, fit_blend
from model.candidate_table import CandidateTable
from model.cold_items import ColdItems
from model.dataset import Baskets, EventLog
from model.evaluate import Judge
from model.features import DAY_MS, Vocabulary
from model.fresh_choices import fresh_weights_of
from model.item_index import IndexFiles
from model.log_catalogue import LogCatalogue
from model.log_sources import SourcePlan
from model.quota_choice import TRIED, choose_quotas
from model.source_report import SourceReport
from model.top_metrics import TopMetrics, rank_metrics
from model.trainer import TrainConfig


class TrainError(RuntimeError):
    """A log that cannot be trained on; the message says what to change."""


class ChosenSources(NamedTuple):
    """Which sources lists are made of, and what they are worth on validation."""

    plan: SourcePlan
    table: CandidateTable
    """Candidates of the validation baskets."""
    weights: BlendWeights
    report: SourceReport | UnsetType
    """Absent where there was nothing to choose, for want of a catalogue."""


def judge_of(
    model: Path,
    vocabulary: Vocabulary,
    log: EventLog,
    config: TrainConfig,
    index: IndexFiles | None = None,
    cold: ColdItems | None = None,
    plan: SourcePlan | None = None,
) -> Judge:
    """The judge of an exported graph, or of its index, with the half-lives of ``config``."""
    return Judge(
        model,
        vocabulary,
        log,
        length=config.length,
        popularity_half_life_days=config.popularity_half_life_days,
        repeat_half_life_days=config.repeat_half_life_days,
        repeats_allowed=config.repeats_allowed,
        index=index,
        top_k=config.top_k,
        cold=cold,
        plan=plan,
    )


def chosen_sources(
    validation: Baskets,
    catalogue: LogCatalogue | None,
    config: TrainConfig,
    judge_with: Callable[[SourcePlan], Judge],
) -> ChosenSources:
    """The order of new items, the quotas and the blend that do best on validation baskets.

    Args:
        validation: the baskets.
        catalogue: of their log; without one the quotas are the defaults.
        config: all choices.
        judge_with: makes the judge that asks the sources of a plan.

    Raises:
        TrainError: nothing that was bought is among the candidates.
    """
    if catalogue is None:
        table = judge_with(SourcePlan()).candidates(validation)
        return ChosenSources(SourcePlan(), table, fitted_weights(table, config), UNSET)
    fresh = fresh_weights_of(validation, catalogue, config.popularity_half_life_days)
    every = judge_with(SourcePlan(TRIED, catalogue, fresh.weights)).candidates(validation)
    first = min(validation.time(number) for number in range(len(validation)))
    is_new = catalogue.known_since >= first // DAY_MS * DAY_MS
    weights = fitted_weights(every.under(0), config)
    number, quotas, report = choose_quotas(every, weights, is_new, fresh)
    table = every.under(number)
    if number:
        weights = fitted_weights(table, config)
    return ChosenSources(SourcePlan((quotas,), catalogue, fresh.weights), table, weights, report)


def fitted_weights(validation: CandidateTable, config: TrainConfig) -> BlendWeights:
    """The blend that does best on validation baskets.

    Raises:
        TrainError: nothing that was bought is among the candidates.
    """
    try:
        return fit_blend(
            validation.signals,
            validation.basket,
            validation.bought,
            lambda weights: validation.metrics(weights).ndcg,
            config.repeat_half_life_days,
        )
    except ValueError as error:
        raise TrainError(
            f"{error} on the validation days; check that the log names items the same way all along"
        ) from None


def judged(
    window: str, baskets: Baskets, table: CandidateTable, weights: BlendWeights
) -> dict[str, TopMetrics]:
    """Every contender on one window."""
    targets = baskets.target_sets()
    lists = {
        "popular": MostPopular(baskets.log).rank(baskets),
        "frequent, full history": FrequentThenPopular(baskets.log, None).rank(baskets),
        "frequent, profile history": FrequentThenPopular(baskets.log).rank(baskets),
        "network": table.nearest,
        "blend": table.lists(weights),
    }
    return {f"{window}/{name}": rank_metrics(ranked, targets) for name, ranked in lists.items()}
