"""What metrics tell of the path, and that the page of them tells all."""

import re
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from model.items import Item
from serving import candidates
from serving.gpu_memory import GpuMemory, show_gpu_memory
from serving.recommend import recommend
from stream import metrics_page
from stream.embedded_redis import EmbeddedRedis
from stream.metrics_page import told
from tests.fake_nvml import FakeNvml
from tests.parts import click, records_of
from tests.shop import ITEMS
from tests.stage import PRESENT, Stage, gauge, open_stage

GIB = 2**30


def test_the_page_tells_every_metric_of_ours() -> None:
    names = {each.name for each in told()}
    families = [each for each in REGISTRY.collect() if each.name.startswith("nextclick_")]
    found = {f"{each.name}{'_total' if each.type == 'counter' else ''}" for each in families}
    assert found <= names
    assert len(names) == len(told()) > 40
    page = (Path(metrics_page.__file__).parent.parent / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(nextclick_[a-z_]+)`", page, re.MULTILINE)) == names


async def counted(stage: Stage, *items: str) -> list[float]:
    """How much a micro-batch of clicks adds: items named, not in the catalogue, not learned."""
    names = ("named_items_total", "unknown_items_total", "unlearned_items_total")
    before = [gauge(name) or 0 for name in names]
    clicks = [click("ann", item, PRESENT + at) for at, item in enumerate(items)]
    await recommend(stage.parts, records_of(clicks))
    return [(gauge(name) or 0) - then for name, then in zip(names, before, strict=True)]


async def test_a_micro_batch_tells_its_items_and_lists_and_what_it_had_in_hand(
    redis_server: EmbeddedRedis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long this takes, what was read once is at hand.
    monkeypatch.setattr(candidates, "monotonic", lambda: 0.0)
    async with open_stage(redis_server, tmp_path / "bundle") as stage:
        learned, runs = ITEMS[0].item_id, gauge("batch_lists_count") or 0
        assert await counted(stage, learned, "never-heard-of") == [2, 1, 1]
        assert gauge("batch_lists_count") == runs + 1
        stage.parts.catalog.put(Item(item_id="new-1", title="brand new"))
        fetched = gauge("count_reads_total", set="fetched") or 0
        assert await counted(stage, "new-1") == [1, 0, 1]
        assert (gauge("count_reads_total", set="fetched") or 0) > fetched
        held = gauge("count_reads_total", set="held") or 0
        assert await counted(stage, "new-1") == [1, 0, 1]
        assert (gauge("count_reads_total", set="held") or 0) > held


def test_memory_of_each_gpu_is_told_and_one_that_does_not_answer_is_absent() -> None:
    registry = CollectorRegistry()
    GpuMemory(FakeNvml([(1 * GIB, 80 * GIB), None]), registry)

    def value(gpu: str, kind: str) -> float | None:
        return registry.get_sample_value("nextclick_gpu_memory_bytes", {"gpu": gpu, "kind": kind})

    assert (value("0", "used"), value("0", "total")) == (1 * GIB, 80 * GIB)
    assert value("1", "used") is None, "and not 0"


def test_a_driver_that_goes_away_leaves_the_other_metrics() -> None:
    registry, nvml = CollectorRegistry(), FakeNvml([(1, 2)])
    GpuMemory(nvml, registry)
    nvml.is_away = True
    (family,) = registry.collect()
    assert family.samples == []


@pytest.mark.parametrize("module", [FakeNvml([], starts=False), None])
def test_where_nothing_can_tell_it_the_metric_is_absent(
    module: FakeNvml | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "serving.gpu_memory")
    monkeypatch.setitem(sys.modules, "pynvml", module)
    registry = CollectorRegistry()
    assert show_gpu_memory(registry) is None
    assert list(registry.collect()) == []
    assert "metrics tell no GPU memory" in caplog.text
