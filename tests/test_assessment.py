"""The whole verdict, on a log in which only a live profile can know what comes next."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from model.assessment import CUTOFFS, NETWORK, SERVED, Assessment, NothingToJudge, Request, assess
from model.blend import BlendWeights
from model.bundle import Bundle, load_bundle
from model.choice import Budget
from model.dataset import EventLog
from model.features import DAY_MS
from model.intervals import Interval
from model.prequential import HOUR_MS, Worth, compare
from model.quotas import SourceQuotas
from model.ranks import Ranks
from model.sequences import Cases, Sequences
from model.transitions import Transitions
from stream.evaluation_tables import notes
from tests.planted import CLICK, at, log_of, window_shopping
from tests.tiny import tiny_bundle

SHELVES, WIDTH, USERS, DAYS = 12, 4, 18, 14
NOT_TUNED = Budget(seconds=0.0)
LIVE_WORTH = BlendWeights(network=0.0, repeat=0.0, covisit=5.0, popular=0.01)
"""Nothing but what is seen together with the newest items."""


def quiet(text: str, share: float) -> None:
    """Progress that nobody watches."""


def moods() -> EventLog:
    """Every day new users come, each at some hour, and walk along a shelf that nobody foresees."""
    rng = np.random.default_rng(9)
    rows = []
    for user in range(USERS):
        for day in range(DAYS):
            shelf = int(rng.integers(SHELVES))
            begun = at(day) + int(rng.integers(1, 22)) * HOUR_MS + 45 * 60_000
            # Ten minutes apart, half of them in the next hour.
            for step in range(WIDTH):
                rows.append((f"u{day}-{user}", f"s{shelf:02}-{step}", begun + step * 10 * 60_000))
    return log_of(rows)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    tiny_bundle(path, moods().item_ids, blend=LIVE_WORTH)
    return load_bundle(path)


def test_sources_that_a_log_cannot_be_asked_for_are_named(bundle: Bundle) -> None:
    manifest = replace(bundle.manifest, quotas=SourceQuotas(fresh=5, new=1))
    asking = dataclasses.replace(bundle, manifest=manifest)
    request = Request("next-basket", at(12), tuning=NOT_TUNED)
    found = assess(asking, moods(), request, quiet)
    assert found.left_out == ["fresh", "new"]
    assert any("not asked: fresh, new;" in note for note in notes(found))
    assert not any("not asked" in note for note in notes(assess(bundle, moods(), request, quiet)))


@pytest.fixture(scope="module")
def walk(bundle: Bundle) -> Assessment:
    return assess(bundle, moods(), Request("prequential", at(8), tuning=NOT_TUNED), quiet)


def test_every_contender_has_every_figure(walk: Assessment) -> None:
    assert list(walk.contenders)[:2] == [SERVED, NETWORK]
    assert {"popular", "frequent, full history", "frequent, profile history", "counts"} < set(
        walk.contenders
    )
    names = {f"{name}@{cut}" for name in ("hit", "recall", "ndcg", "mrr") for cut in CUTOFFS}
    for figures in walk.contenders.values():
        assert set(figures.metrics) == names
        for each in figures.metrics.values():
            assert 0 <= each.low <= each.mean <= each.high <= 1
        assert set(figures.lists) == {"coverage", "gini", "novelty", "diversity", "tail_share"}
        for metric in ("hit", "recall", "ndcg", "mrr"):
            rising = [figures.metrics[f"{metric}@{cut}"].mean for cut in CUTOFFS]
            assert rising == sorted(rising)
    assert walk.cases == walk.cases_in_log == USERS * (DAYS - 8) * WIDTH
    assert (walk.users, walk.items) == (USERS * (DAYS - 8), SHELVES * WIDTH)


def test_a_live_profile_knows_what_a_frozen_one_cannot(walk: Assessment) -> None:
    assert walk.prequential is not None
    hits = {
        name: walk.contenders[name].metrics["hit@10"].mean
        for name in (
            SERVED, "blend, profiles frozen each hour", "blend, profiles frozen each day",
        )
    }  # fmt: skip
    live, hour, day = hits.values()
    assert live > hour + 0.05 > day + 0.1
    for name in list(hits)[1:]:
        assert walk.gains[name].low > 0
    for period, each in walk.prequential.frozen.items():
        assert 0 < each.changed < each.cases == walk.cases
        for metric, worth in each.where_changed.items():
            assert 0 < worth.gain.low < worth.gain.mean < worth.gain.high
            assert worth.gain.mean == pytest.approx(worth.live - worth.frozen)
            whole = each.everywhere[metric]
            name = f"blend, profiles frozen each {period}"
            assert whole.frozen == walk.contenders[name].metrics[metric].mean
            assert whole.live == walk.contenders[SERVED].metrics[metric].mean


def test_the_days_add_up_to_the_whole(walk: Assessment) -> None:
    assert walk.prequential is not None
    days = walk.prequential.days
    assert sum(day.cases for day in days) == walk.cases
    for field, name in (("live", SERVED), ("day", "blend, profiles frozen each day")):
        mean = sum(getattr(day, field) * day.cases for day in days) / walk.cases
        assert mean == pytest.approx(walk.contenders[name].metrics["hit@10"].mean)
    assert [day.date for day in days] == sorted(day.date for day in days)
    assert days[0].date == walk.first_day


def test_where_nothing_changed_the_lists_are_the_same(walk: Assessment) -> None:
    # By the hour, only cases whose profile differs can tell live from frozen.
    assert walk.prequential is not None
    for each in walk.prequential.frozen.values():
        for metric, worth in each.where_changed.items():
            gained = each.changed * worth.gain.mean
            assert each.everywhere[metric].gain.mean * each.cases == pytest.approx(gained)


def test_gains_are_differences_of_means(walk: Assessment) -> None:
    best = walk.contenders[SERVED].metrics["ndcg@10"].mean
    assert set(walk.gains) == set(walk.contenders) - {SERVED}
    for name, gain in walk.gains.items():
        own = walk.contenders[name].metrics["ndcg@10"].mean
        assert gain.mean == pytest.approx(best - own, abs=1e-9)


def test_slices_are_parts(walk: Assessment) -> None:
    found = walk.contenders[SERVED].slices
    # Of the four moments of a walk, three come after fewer than three events.
    assert found["new users"].cases == walk.cases * 3 // 4
    assert found["heavy users"].cases == walk.cases // 4
    assert 0 < found["cold items"].cases < walk.cases
    for part in found.values():
        assert set(part.metrics) == {"hit@10", "ndcg@10"}


def test_the_verdict_can_be_written_and_read(walk: Assessment) -> None:
    assert msgspec.json.decode(msgspec.json.encode(walk), type=Assessment) == walk


def test_the_same_seed_gives_the_same_verdict(bundle: Bundle) -> None:
    request = Request("session", at(8), cases=60, seed=5, tuning=NOT_TUNED)
    found = assess(bundle, moods(), request, quiet)
    assert found == assess(bundle, moods(), request, quiet)
    assert found.cases == 60 < found.cases_in_log
    assert found.prequential is None


def test_the_future_of_the_log_changes_no_day(bundle: Bundle, walk: Assessment) -> None:
    request = Request("prequential", at(8), tuning=NOT_TUNED)
    found = assess(bundle, moods().before(at(11)), request, quiet)
    assert found.last_day == "2016-07-28"
    assert found.prequential is not None
    assert walk.prequential is not None
    assert len(found.prequential.days) == 3
    assert found.prequential.days == walk.prequential.days[:3]


def test_diversity_by_category_is_asked_for(bundle: Bundle) -> None:
    log = moods()
    shelf = np.array([int(item[1:3]) for item in log.item_ids])
    request = Request("leave-one-out", at(8), tuning=NOT_TUNED, categories=shelf)
    by_shelf = assess(bundle, log, request, quiet)
    assert by_shelf.diversity_by == "category"
    one = Request(
        "leave-one-out", at(8), tuning=NOT_TUNED, categories=np.zeros(len(shelf), np.int64)
    )
    assert assess(bundle, log, one, quiet).contenders[SERVED].lists["diversity"] == 0.0
    assert by_shelf.contenders[SERVED].lists["diversity"] > 0.3


def test_no_case_is_refused(bundle: Bundle) -> None:
    with pytest.raises(NothingToJudge, match="hold no case"):
        assess(bundle, moods(), Request("session", at(DAYS + 1)), quiet)


def test_days_by_hand() -> None:
    """Three cases of one answer each."""
    starts = np.arange(4)
    live, hour = (Ranks(np.array(ranks), starts) for ranks in ([1, 11, 3], [11, 11, 1]))
    none, some = np.zeros(3, bool), np.array([True, False, True])
    found = compare(
        np.array([0, 5, DAY_MS]), live, {"hour": hour, "day": live}, {"hour": some, "day": none},
        np.array([4, 4, 4]), seed=1,
    )  # fmt: skip
    first, second = found.days
    assert (first.date, first.cases, first.live, first.hour, first.day) == (
        "1970-01-01", 2, 0.5, 0.0, 0.5,
    )  # fmt: skip
    assert (second.cases, second.live, second.hour) == (1, 1.0, 1.0)
    by_hour = found.frozen["hour"]
    assert (by_hour.cases, by_hour.changed) == (3, 2)
    # All cases are of one user, who is in every resample.
    assert by_hour.where_changed["hit@10"] == Worth(1.0, 0.5, Interval(0.5, 0.5, 0.5))
    assert by_hour.everywhere["ndcg@10"].live == pytest.approx((1 + 0.5) / 3)
    assert by_hour.where_changed["ndcg@10"].gain.mean == pytest.approx(0.25)
    by_day = found.frozen["day"]
    assert (by_day.changed, by_day.where_changed) == (0, {})
    assert by_day.everywhere["hit@10"].gain == Interval(0.0, 0.0, 0.0)


def test_the_verdict_says_how_far_the_counts_were_tuned(bundle: Bundle, walk: Assessment) -> None:
    assert (walk.counts_tuning.trials, walk.counts_tuning.finished) == (0, False)
    request = Request("session", at(8), cases=20, tuning=Budget(seconds=600.0, trials=2))
    found = assess(bundle, moods(), request, quiet)
    tuning = found.counts_tuning
    assert (tuning.trials, tuning.finished, tuning.budget_trials) == (2, False, 2)
    assert tuning.cases > 100
    assert "2 trials in 0 s, cut by the budget of 600 s and 2 trials." in told(found, 0.2)
    done = replace(found, counts_tuning=replace(tuning, trials=1_234, finished=True))
    assert "1,234 trials in 9 s, until nothing brought more." in told(done, 9.0)
    assert "The counts were not tuned" in "\n".join(notes(walk))


@pytest.mark.parametrize("task", ["click", "purchase"])
def test_counts_are_tuned_on_what_is_judged(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click and a purchase never come at one moment here, and each has items of its own."""
    log = window_shopping()
    tiny_bundle(tmp_path / "bundle", log.item_ids)
    made = load_bundle(tmp_path / "bundle")
    bundle = dataclasses.replace(made, manifest=replace(made.manifest, task=task))
    tuned: list[Cases] = []
    fit = Transitions.fit

    def recorded(counts: Transitions, train: Sequences, validation: Cases | None = None) -> None:
        assert validation is not None
        tuned.append(validation)
        fit(counts, train, validation)

    monkeypatch.setattr(Transitions, "fit", recorded)
    request = Request("next-basket", at(30), tuning=Budget(seconds=600.0, trials=1))
    assess(bundle, log, request, quiet)
    # Of the thirty days before the judged ones, the newest quarter.
    begun = int(log.before(at(30)).times.max()) + 1
    span = min(int(log.times.max()) + 1 - at(30), (begun - int(log.times.min())) // 4)
    days = (log.times >= begun - span) & (log.times < begun)
    (cases,) = tuned
    assert len(cases) == int((days & ((log.kinds == CLICK) == (task == "click"))).sum()) > 0


def told(found: Assessment, seconds: float) -> str:
    """The notes of a verdict whose tuning took so long."""
    tuning = replace(found.counts_tuning, seconds=seconds)
    return "\n".join(notes(replace(found, counts_tuning=tuning)))
