"""That each protocol of the benchmark has its network."""

from pathlib import Path

from benchmarks.quality_data import DATASETS, Dataset, Metric, Row
from benchmarks.quality_network import CONTENT_READ, SETTINGS, network_for
from model.choice import Budget
from model.layouts import Cleaning
from model.ranks import judge
from model.splits import leave_one_out
from tests.sequence_shop import ITEMS, circle


def metric() -> Metric:
    return Metric("NDCG@10", lambda ranks: float(ranks.ndcg(10).mean()))


def test_a_network_of_a_protocol_learns(tmp_path: Path) -> None:
    found = circle(users=60)
    split = leave_one_out(found, validation_in_history=True, validation_in_final=False)
    data = Dataset(found, Cleaning(), [Row("all", "own", split)], [metric()], "share")
    method = network_for("recbole", tmp_path, data, Budget(600.0), seed=1)
    method.fit(split.train, split.validation)
    hit = judge(method, split.validation).hit(3).mean()
    assert hit > 2 * 3 / ITEMS


def test_every_protocol_with_settings_is_a_protocol() -> None:
    assert SETTINGS.keys() | CONTENT_READ <= DATASETS.keys()
