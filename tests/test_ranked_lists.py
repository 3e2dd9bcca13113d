"""The lists that are judged: of the bundle as a worker makes them, of counts from the past."""

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from model.blend import BlendWeights
from model.bundle import Bundle, load_bundle
from model.choice import Budget
from model.dataset import EventLog
from model.evaluate import Judge
from model.features import DAY_MS
from model.items import Item
from model.list_quality import NOTHING
from model.past_counts import answers_of, past_counts
from model.protocols import LEAVE_ONE_OUT, NEXT_BASKET, PREQUENTIAL, questions
from model.quotas import SourceQuotas
from model.ranked_lists import DEPTH, BundleJudge, Lists, baseline_lists
from model.ranks import ranks_in_lists
from model.sequences import Cases, Sequences
from model.transitions import Transitions
from tests.planted import ITEMS, at, log_of, succession
from tests.test_evaluate import shop
from tests.tiny import tiny_bundle

NOT_TUNED = Budget(seconds=0.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    blend = BlendWeights(network=0.5, repeat=2.0, covisit=0.5, popular=0.3)
    tiny_bundle(path, [item for item in shop().item_ids if item != "rare"], top_k=30, blend=blend)
    return load_bundle(path)


def own_lists(log: EventLog, bundle: Bundle, start: int) -> tuple[Lists, Lists]:
    """Of the blend and of the network, by the judge's own short way."""
    manifest = bundle.manifest
    judge = Judge(
        bundle.model_path, bundle.vocabulary, log, length=manifest.history_length,
        popularity_half_life_days=manifest.popularity_half_life_days,
        repeat_half_life_days=manifest.blend.repeat_half_life_days,
    )  # fmt: skip
    table = judge.candidates(questions(NEXT_BASKET, log, start, at(100)))
    return np.array(table.lists(manifest.blend)), np.array(table.nearest)


def test_the_first_ten_are_those_of_the_judge_of_training(bundle: Bundle) -> None:
    log = shop()
    served = BundleJudge(bundle, log).ask(questions(NEXT_BASKET, log, at(8), at(100)))
    blended, nearest = own_lists(log, bundle, at(8))
    assert served.blend.shape == (len(blended), DEPTH)
    assert served.blend[:, :10].tolist() == blended.tolist()
    assert served.network[:, :10].tolist() == nearest.tolist()
    assert ((served.probability > 0) & (served.probability < 1)).all()


def test_diversity_varies_the_first_ten_and_loses_nothing_behind_them(bundle: Bundle) -> None:
    log = shop()
    asked = questions(NEXT_BASKET, log, at(8), at(100))
    plain = BundleJudge(bundle, log).ask(asked).blend
    same = BundleJudge(bundle, log, diversity=0).ask(asked).blend
    varied = BundleJudge(bundle, log, diversity=0.7).ask(asked).blend
    assert same.tolist() == plain.tolist()
    assert varied.tolist() != plain.tolist()
    for one, other in zip(plain, varied, strict=True):
        assert len(set(other[other >= 0])) == (other >= 0).sum() == (one >= 0).sum()


def test_lists_are_judged_with_the_sources_of_the_bundle(bundle: Bundle) -> None:
    log = shop()
    # By the popularity that stands behind it, what the category proposes comes first.
    manifest = structs.replace(
        bundle.manifest,
        blend=BlendWeights(network=0.0, repeat=0.0, popular=1.0),
        quotas=SourceQuotas(
            repeat=0, together=0, popular=1, nearest=0, in_category=8, fresh=3, new=1
        ),
    )
    asking = replace(bundle, manifest=manifest)
    items = [
        Item(item_id=name, category=(f"shelf-{row % 4}",)) for row, name in enumerate(log.item_ids)
    ]
    asked = questions(NEXT_BASKET, log, at(8), at(100))
    with_items = BundleJudge(asking, log, items=items)
    without = BundleJudge(asking, log)
    assert with_items.left_out == ["new"]
    assert without.left_out == ["in_category", "fresh", "new"]
    listed = (with_items.ask(asked).blend >= 0).sum(axis=1)
    assert (without.ask(asked).blend >= 0).sum(axis=1).max() == 1
    assert listed.min() >= 3
    assert listed.max() > 8


def test_questions_may_come_in_any_order_and_number(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = shop()
    asked = questions(PREQUENTIAL, log, at(9), at(100))
    judge = BundleJudge(bundle, log)
    at_once = judge.ask(asked)
    monkeypatch.setattr("model.ranked_lists.QUESTIONS_AT_ONCE", 7)
    order = np.random.default_rng(1).permutation(len(asked))
    shares: list[float] = []
    in_parts = judge.ask(asked.take(order), shares.append)
    assert in_parts.blend.tolist() == at_once.blend[order].tolist()
    assert in_parts.network.tolist() == at_once.network[order].tolist()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def baselines(
    log: EventLog,
    protocol: str,
    start: int,
    *,
    repeats_allowed: bool = True,
    tuning: Budget = NOT_TUNED,
) -> dict[str, Lists]:
    counts, _ = past_counts(
        log, protocol=protocol, start=start, repeats_allowed=repeats_allowed, tuning=tuning, seed=0
    )
    asked = questions(protocol, log, start, at(100))
    return baseline_lists(log, asked, counts=counts, repeats_allowed=repeats_allowed)


def test_counts_learn_a_succession_and_popularity_does_not() -> None:
    log = succession()
    asked = questions(LEAVE_ONE_OUT, log, at(30), at(100))
    found = baselines(log, LEAVE_ONE_OUT, at(30))
    hits = {
        name: float(ranks_in_lists(lists, *answers_of(asked)).hit(1).mean())
        for name, lists in found.items()
    }
    assert hits["counts"] == 1.0
    assert hits["popular"] < 0.5
    assert all((lists[:, :ITEMS] != NOTHING).all() for lists in found.values())
    assert all((lists[:, ITEMS:] == NOTHING).all() for lists in found.values())


def test_tuning_keeps_counts_that_are_right_already() -> None:
    log = succession()
    asked = questions(LEAVE_ONE_OUT, log, at(30), at(100))
    tuned = baselines(log, LEAVE_ONE_OUT, at(30), tuning=Budget(seconds=30.0, trials=3))
    assert ranks_in_lists(tuned["counts"], *answers_of(asked)).hit(1).all()


def test_counts_are_tuned_on_the_last_days_of_what_they_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: list[tuple[Sequences, Cases | None]] = []
    fit = Transitions.fit

    def recorded(counts: Transitions, train: Sequences, validation: Cases | None = None) -> None:
        fitted.append((train, validation))
        fit(counts, train, validation)

    monkeypatch.setattr(Transitions, "fit", recorded)
    log = succession()
    baselines(log, LEAVE_ONE_OUT, at(30), tuning=Budget(seconds=30.0, trials=3))
    ((train, validation),) = fitted
    assert validation is not None and len(validation)
    assert train.known_times.max() < at(30) - 5 * DAY_MS
    assert train.known_times.max() < validation.histories.known_times.max() < at(30)


@pytest.mark.parametrize("tuning", [NOT_TUNED, Budget(seconds=30.0, trials=3)])
def test_the_judged_days_teach_the_counts_nothing(tuning: Budget) -> None:
    # After day 10 everyone goes backwards, for longer than they went forwards; the counts have
    # learned the way forwards, and one look at the judged days would turn them round.
    rows = [
        (f"u{user}", f"item-{(user + (day if day < 10 else 20 - day)) % ITEMS:02}", at(day + 0.4))
        for user in range(20)
        for day in range(40)
    ]
    log = log_of(rows)
    asked = questions(LEAVE_ONE_OUT, log, at(10), at(100))
    found = baselines(log, LEAVE_ONE_OUT, at(10), tuning=tuning)
    assert not ranks_in_lists(found["counts"], *answers_of(asked)).hit(5).any()


def test_where_items_may_not_return_no_list_holds_one() -> None:
    log = shop()
    found = baselines(log, NEXT_BASKET, at(8), repeats_allowed=False)
    asked = questions(NEXT_BASKET, log, at(8), at(100))
    assert set(found) == {"popular", "counts"}
    for lists in found.values():
        assert (lists != NOTHING).sum() > 300
        for number, ranked in enumerate(lists):
            part = slice(asked.history_starts[number], asked.history_ends[number])
            assert not set(log.items[part].tolist()) & set(ranked.tolist())


def test_no_list_holds_an_item_twice() -> None:
    for lists in baselines(shop(), NEXT_BASKET, at(8)).values():
        for ranked in lists:
            some = ranked[ranked != NOTHING]
            assert len(np.unique(some)) == len(some)


def test_a_missing_past_leaves_counts_without_a_list() -> None:
    log = shop()
    found = baselines(log, PREQUENTIAL, 0, tuning=Budget(seconds=30.0, trials=3))
    # Without anything learned, an item of the history itself is all that has a score.
    newcomer = log.user_ids.index("newcomer")
    asked = questions(PREQUENTIAL, log, 0, at(100))
    (number,) = np.flatnonzero(log.users[asked.ends - 1] == newcomer)
    assert (found["counts"][number] == NOTHING).all()


def test_answers_lie_end_to_end() -> None:
    asked = questions(NEXT_BASKET, shop(), at(8), at(100))
    targets, starts = answers_of(asked)
    for number in range(len(asked)):
        own = targets[starts[number] : starts[number + 1]]
        assert own.tolist() == asked.targets(number).tolist()
    assert starts[-1] == len(targets)
