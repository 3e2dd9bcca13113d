"""The whole verdict, on a log in which only a live profile can know what comes next."""

import msgspec
import numpy as np
import pytest

from model.assessment import CUTOFFS, NETWORK, SERVED, Assessment, NothingToJudge, Request, assess
from model.blend import BlendWeights
from model.bundle import Bundle, load_bundle
from model.choice import Budget
from model.dataset import EventLog
from model.features import DAY_MS
from model.prequential import HOUR_MS, compare
from tests.planted import at, log_of
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
    for each in walk.prequential.frozen.values():
        assert each.live_hit > each.frozen_hit
        assert 0 < each.changed < walk.cases


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
    hour = walk.prequential.frozen["hour"]
    gained = hour.changed * (hour.live_hit - hour.frozen_hit)
    live, frozen = (
        walk.contenders[name].metrics["hit@10"].mean * walk.cases
        for name in (SERVED, "blend, profiles frozen each hour")
    )
    assert live - frozen == pytest.approx(gained)


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
    hits = np.array([1.0, 0.0, 1.0])
    none, some = np.zeros(3, bool), np.array([True, False, False])
    found = compare(
        np.array([0, 5, DAY_MS]), hits, {"hour": np.array([0.0, 0.0, 1.0]), "day": hits},
        {"hour": some, "day": none},
    )  # fmt: skip
    first, second = found.days
    assert (first.date, first.cases, first.live, first.hour, first.day) == (
        "1970-01-01", 2, 0.5, 0.0, 0.5,
    )  # fmt: skip
    assert (second.cases, second.live, second.hour) == (1, 1.0, 1.0)
    assert found.frozen["hour"] == type(found.frozen["hour"])(1, 0.0, 1.0)
    assert found.frozen["day"].changed == 0
