"""Runs in kept memory give what a plain session gives, whatever ran before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from model.bundle import Bundle, load_bundle
from model.features import FIRST_ITEM
from serving import ranking_session
from serving.bound_run import GRAPH_ID, NOT_CAPTURED, BoundRun
from serving.buckets import Bucket
from serving.catalog import NEVER
from serving.execution import Execution
from serving.ranking_session import OUTPUTS, RankingSession
from tests.tiny import tiny_bundle

LENGTH, ITEMS, TOP = 20, 60, 15
SIZE = FIRST_ITEM + ITEMS
CPU = Execution("cpu", most_users=32)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "queries"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("session") / "bundle"
    names = [f"item {at}" for at in range(ITEMS)]
    tiny_bundle(path, names, length=LENGTH, top_k=TOP, blocks=2, queries=request.param)
    return load_bundle(path)


def opened(bundle: Bundle, device: str | None = None) -> RankingSession:
    return RankingSession(bundle.model_path, CPU, LENGTH, device=device)


@pytest.fixture(params=[None, "cpu"], ids=["host", "device"])
def session(bundle: Bundle, request: pytest.FixtureRequest) -> RankingSession:
    """Also with the memory and the steps of a device."""
    return opened(bundle, request.param)


@pytest.fixture(scope="module")
def plain(bundle: Bundle) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(bundle.model_path, providers=["CPUExecutionProvider"])


def inputs(
    plain: onnxruntime.InferenceSession, events: list[int], width: int, seed: int = 0
) -> dict[str, Any]:
    """Users with so many random events each, and candidates."""
    chance = np.random.default_rng(seed)
    shape = (len(events), LENGTH)
    held = np.arange(LENGTH) >= LENGTH - np.array(events)[:, None]
    found = {
        "items": chance.integers(1, SIZE, shape) * held,
        "kinds": chance.integers(1, 6, shape) * held,
        "gaps": chance.integers(1, 28, shape) * held,
        "item_bias": np.zeros(SIZE, np.float32),
        "candidates": chance.integers(0, SIZE, (len(events), width)),
    }
    if "queries" in {each.name for each in plain.get_inputs()}:
        found["queries"] = chance.integers(0, 9, (*shape, 1 + seed % 3))
    return found


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    assert all(one.shape == other.shape for one, other in zip(ours, theirs, strict=True))
    assert np.array_equal(ours[0], theirs[0])
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        assert np.allclose(one, other, atol=1e-5)


def batches() -> Iterator[tuple[list[int], int]]:
    """Events of the users, and candidates: sizes up and down, short and long ones mixed."""
    chance = np.random.default_rng(7)
    for users, width in [(1, 5), (40, 3), (3, 70), (1, 64), (33, 65), (16, 1), (2, 5)]:
        yield chance.integers(0, LENGTH + 1, users).tolist(), width
    yield [1] * 20 + [LENGTH] * 20, 5
    yield [LENGTH] * 150, 3
    yield [1, LENGTH] * 100, 3
    yield [LENGTH], 130


def test_runs_of_all_sizes_are_those_of_a_plain_session(
    session: RankingSession, plain: onnxruntime.InferenceSession
) -> None:
    kept = []
    for seed, (events, width) in enumerate(batches()):
        given = inputs(plain, events, width, seed)
        ours, theirs = session.run(given), plain.run(OUTPUTS, given)
        assert_same(ours, theirs)
        kept.append((ours, theirs))
    for ours, theirs in kept:
        assert_same(ours, theirs)


def test_memory_is_used_again(session: RankingSession, plain: onnxruntime.InferenceSession) -> None:
    for seed in (0, 3, 6):
        session.run(inputs(plain, [LENGTH] * 2, 5, seed))
    assert len(session._runs) == 1


def test_a_failed_run_leaves_nothing_behind(
    session: RankingSession, plain: onnxruntime.InferenceSession
) -> None:
    bad = inputs(plain, [LENGTH] * 4, 5)
    bad["candidates"][3] = SIZE + 1000
    with pytest.raises(Exception, match="Out of range value"):
        session.run(bad)
    good = inputs(plain, [LENGTH] * 3, 3)
    assert_same(session.run(good), plain.run(OUTPUTS, good))


def test_shapes_that_are_kept_have_a_bound(
    bundle: Bundle, plain: onnxruntime.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking_session, "MOST_KEPT", 3)
    session = opened(bundle)
    for users in (1, 2, 3, 4, 1):
        given = inputs(plain, [LENGTH] * users, 5)
        assert_same(session.run(given), plain.run(OUTPUTS, given))
        assert len(session._runs) <= 3


def test_a_bias_that_changed_in_place_is_seen(
    session: RankingSession, plain: onnxruntime.InferenceSession
) -> None:
    given = inputs(plain, [5, 9], 3)
    best = session.run(given, 1)[0][:, 0]
    given["item_bias"][best] = NEVER
    assert_same(session.run(given, 2), plain.run(OUTPUTS, given))
    given["item_bias"][best] = 0
    assert_same(session.run(given, None), plain.run(OUTPUTS, given))
    given["item_bias"] = given["item_bias"] + np.float32(1)
    assert_same(session.run(given, None), plain.run(OUTPUTS, given))


def test_a_device_is_sent_a_bias_once(bundle: Bundle, plain: onnxruntime.InferenceSession) -> None:
    session = opened(bundle, "cpu")
    given = inputs(plain, [5, 9], 3)
    before = session.run(given, 1)
    given["item_bias"][before[0][:, 0]] = NEVER
    assert_same(session.run(given, 1), before)
    assert_same(session.run(given, 2), plain.run(OUTPUTS, given))


def test_a_bias_of_another_size_is_refused(
    session: RankingSession, plain: onnxruntime.InferenceSession
) -> None:
    given = inputs(plain, [5], 3)
    with pytest.raises(Exception, match=r"(?i)dimension|size"):
        session.run(given | {"item_bias": given["item_bias"][:5]})
    assert_same(session.run(given), plain.run(OUTPUTS, given))


def test_a_shape_that_was_warmed_is_ready(
    session: RankingSession, plain: onnxruntime.InferenceSession
) -> None:
    for bucket in session.buckets.warmed()[:5]:
        session.warm(bucket)
    warmed = set(session._runs)
    assert session.buckets.warmed()[0] in warmed
    session.run(inputs(plain, [LENGTH] * 32, 64))
    assert set(session._runs) == warmed


def graph_id_of(run: BoundRun) -> int | None:
    return run._options and int(run._options.get_run_config_entry(GRAPH_ID))


def test_every_shape_that_is_recorded_has_a_number_of_its_own(
    bundle: Bundle, plain: onnxruntime.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is recorded is CUDA's; which number a shape has is not.
    monkeypatch.setattr(Execution, "is_captured", True)
    monkeypatch.setattr(ranking_session, "MOST_KEPT", 2)
    session = opened(bundle, "cpu")
    warmed = session.buckets.warmed()[:4]
    for bucket in warmed:
        session.warm(bucket)
    assert [graph_id_of(session._runs[bucket]) for bucket in warmed] == [1, 2, 3, 4]
    session.run(inputs(plain, [LENGTH] * 40, 5))
    (other,) = session._runs.keys() - set(warmed)
    assert other.users == 64, "more than a micro-batch holds"
    assert graph_id_of(session._runs[other]) == NOT_CAPTURED


def test_a_session_that_records_nothing_tells_no_number(
    session: RankingSession, plain: onnxruntime.InferenceSession
) -> None:
    session.run(inputs(plain, [LENGTH], 5))
    assert [graph_id_of(run) for run in session._runs.values()] == [None]


def test_a_graph_of_one_length_is_run_at_that_length(bundle: Bundle, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(bundle.model_path)
    for each in graph.graph.input:
        for size in each.type.tensor_type.shape.dim:
            if size.dim_param == "L":
                size.dim_value = LENGTH
    path = tmp_path / "fixed.onnx"
    onnx.save(graph, path)
    plain = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session = RankingSession(path, CPU, LENGTH)
    given = inputs(plain, [1, 2], 3)
    assert_same(session.run(given), plain.run(OUTPUTS, given))
    assert {bucket.length for bucket in session._runs} == {LENGTH}


def test_short_windows_can_be_switched_off(bundle: Bundle) -> None:
    off = Execution("cpu", short_windows=False)
    assert RankingSession(bundle.model_path, off, LENGTH).buckets.lengths == (LENGTH,)
    assert opened(bundle).buckets.of(1, 3, 5) == Bucket(1, 8, 64)
