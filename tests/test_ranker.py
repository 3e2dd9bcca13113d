"""One run ranks a micro-batch, on the provider that was asked for or not at all."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import serving.ranker
from model import index_gate
from model.bundle import Bundle, BundleError, Precision, load_bundle, write_bundle
from model.events import INTERACTION_KINDS, Click
from model.features import FIRST_ITEM, Interactions
from model.ids import item_hashes
from model.variants import convert
from serving.catalog import NEVER
from serving.ranker import PROVIDERS, ProviderError, Ranker, RankerError, Scores
from tests.parts import NOW
from tests.tiny import tiny_bundle

ITEMS = [f"item {at}" for at in range(30)]
SIZE = FIRST_ITEM + len(ITEMS)
HAS_DEVICE = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and any(
    Path("/dev", node).exists() for node in ("nvidiactl", "dxg", "nvhost-ctrl")
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("ranker") / "bundle"
    tiny_bundle(path, ITEMS, top_k=20)
    return load_bundle(path)


@pytest.fixture(scope="module")
def ranker(bundle: Bundle) -> Ranker:
    return Ranker(bundle, provider="cpu", threads=1)


def history(*items: str) -> Interactions:
    """Clicks on these items, a second apart."""
    return Interactions(
        item_hashes(items),
        np.full(len(items), INTERACTION_KINDS[Click], np.uint8),
        NOW + 1000 * np.arange(len(items), dtype=np.int64),
    )


def rows(*places: int) -> NDArray[np.int64]:
    return np.array(places, dtype=np.int64)


NO_BIAS = np.zeros(SIZE, dtype=np.float32)
USERS = [history("item 3", "item 4"), history(), history(*ITEMS), history("nobody knows")]
CANDIDATES = [rows(2, 3, 4), rows(), rows(*range(2, SIZE)), rows(7)]


def close(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return bool(np.allclose(one, other, atol=1e-4))


def test_candidates_of_different_counts_are_scored_as_each_alone(ranker: Ranker) -> None:
    together = ranker.rank(USERS, CANDIDATES, NO_BIAS, None)
    assert together.candidate_scores.shape == (4, len(ITEMS))
    assert together.top_rows.shape == together.top_scores.shape == (4, 20)
    for at, (user, candidates) in enumerate(zip(USERS, CANDIDATES, strict=True)):
        alone = ranker.rank([user], [candidates], NO_BIAS, None)
        size = len(candidates)
        assert close(together.candidate_scores[at, :size], alone.candidate_scores[0, :size])
        assert close(together.top_scores[at], alone.top_scores[0])


def test_nearest_and_candidates_have_the_same_scores(ranker: Ranker) -> None:
    scores = ranker.rank([USERS[0]], [rows(*range(SIZE))], NO_BIAS, None)
    assert close(scores.candidate_scores[0, scores.top_rows[0]], scores.top_scores[0])
    assert (np.diff(scores.top_scores[0]) <= 0).all(), "best first"
    assert scores.top_rows.min() >= FIRST_ITEM, "never padding or unknown"
    best = np.sort(scores.candidate_scores[0, FIRST_ITEM:])[::-1][:20]
    assert close(scores.top_scores[0], best)


def test_the_bias_keeps_items_out_of_the_nearest(ranker: Ranker) -> None:
    bias = np.full(SIZE, NEVER, dtype=np.float32)
    bias[[5, 9]] = 0
    free = ranker.rank([USERS[0]], [rows(5, 9, 11)], NO_BIAS, None)
    kept = ranker.rank([USERS[0]], [rows(5, 9, 11)], bias, None)
    assert set(kept.top_rows[0, :2].tolist()) == {5, 9}
    assert (kept.top_scores[0, 2:] < NEVER / 2).all()
    assert close(free.candidate_scores, kept.candidate_scores), "candidates have no bias"


def test_the_history_matters(ranker: Ranker) -> None:
    one, other = (ranker.rank([user], [rows()], NO_BIAS, None) for user in USERS[:3:2])
    assert not close(one.top_scores, other.top_scores)


def test_a_failing_run_is_a_fault_of_the_ranker(ranker: Ranker) -> None:
    with pytest.raises(RankerError, match="ONNX Runtime failed on 1 users"):
        ranker.rank([USERS[0]], [rows(SIZE + 1000)], NO_BIAS, None)
    with pytest.raises(RankerError, match="ONNX Runtime failed on 1 users"):
        ranker.rank([USERS[0]], [rows(2)], NO_BIAS[:5], None)


def test_a_graph_of_another_precision_is_run_when_asked_for(
    tmp_path: Path, bundle: Bundle, ranker: Ranker
) -> None:
    small = tmp_path / "small.onnx"
    convert(bundle.model_path, small, "int8")
    write_bundle(
        tmp_path / "b", bundle.model_path, bundle.vocabulary.ids, bundle.manifest, {"int8": small}
    )
    both = load_bundle(tmp_path / "b")
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    whole, quantised = (
        Ranker(both, provider="cpu", threads=1, precision=precision) for precision in precisions
    )
    theirs = ranker.rank(USERS, CANDIDATES, NO_BIAS, None).candidate_scores
    assert np.array_equal(whole.rank(USERS, CANDIDATES, NO_BIAS, None).candidate_scores, theirs)
    ours = quantised.rank(USERS, CANDIDATES, NO_BIAS, None).candidate_scores
    assert not np.array_equal(ours, theirs)
    assert np.allclose(ours, theirs, atol=0.3)


def test_a_graph_that_is_not_in_the_bundle_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="has no fp16 graph"):
        Ranker(bundle, provider="cpu", threads=1, precision="fp16")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Whose index reads all of its lists."""
    path = tmp_path_factory.mktemp("ranker") / "indexed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_gate, "FIRST_PROBED", len(ITEMS))
        tiny_bundle(path, ITEMS, top_k=20, index=True)
    return load_bundle(path)


def test_an_index_gives_what_scoring_all_items_gives(
    indexed: Bundle, ranker: Ranker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    searching = Ranker(indexed, provider="cpu", threads=1)
    assert searching.index is not None
    assert "nearest items: an index of 30 items, 15 of 15 lists are read" in caplog.text
    barred = NO_BIAS.copy()
    barred[FIRST_ITEM + 3 :: 2] = NEVER
    for bias in (NO_BIAS, barred):
        theirs = ranker.rank(USERS, CANDIDATES, bias, None)
        ours = searching.rank(USERS, CANDIDATES, bias, None)
        assert close(ours.candidate_scores, theirs.candidate_scores)
        is_free = theirs.top_scores > NEVER / 2
        assert np.array_equal(is_free, ours.top_scores > NEVER / 4)
        assert np.array_equal(ours.top_rows[is_free], theirs.top_rows[is_free])
        assert close(ours.top_scores[is_free], theirs.top_scores[is_free])


def test_all_items_are_scored_where_that_is_asked_for(
    indexed: Bundle, ranker: Ranker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    exact = Ranker(indexed, provider="cpu", threads=1, nearest="exact")
    assert exact.index is None and ranker.index is None
    assert "nearest items: all 30 are scored" in caplog.text
    theirs = ranker.rank(USERS, CANDIDATES, NO_BIAS, None)
    assert np.array_equal(exact.rank(USERS, CANDIDATES, NO_BIAS, None).top_rows, theirs.top_rows)


def test_an_index_that_is_asked_for_and_not_there_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="has no index of the items: none was made"):
        Ranker(bundle, provider="cpu", threads=1, nearest="index")


def test_an_index_does_not_go_with_a_gpu(indexed: Bundle) -> None:
    with pytest.raises(ValueError, match="an index goes with cpu and fp32, not with cuda and fp32"):
        Ranker(indexed, provider="cuda", threads=1, nearest="index")


def test_an_index_that_faiss_cannot_read_is_a_fault_of_the_bundle(
    tmp_path: Path, indexed: Bundle
) -> None:
    broken = tmp_path / "lists"
    broken.write_bytes(b"no index")
    write_bundle(
        tmp_path / "b", indexed.model_path, ITEMS, indexed.manifest,
        index=indexed.index_files()._replace(lists=broken),
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"cannot be read .*NEXTCLICK_NEAREST=exact"):
        Ranker(load_bundle(tmp_path / "b"), provider="cpu", threads=1)


def test_the_provider_is_the_one_that_was_asked_for(ranker: Ranker) -> None:
    assert ranker.provider == "CPUExecutionProvider"


@pytest.mark.skipif(HAS_DEVICE, reason="there is a CUDA device here, so that cuda starts")
def test_cuda_without_a_device_fails_and_names_the_way_out(bundle: Bundle) -> None:
    with pytest.raises(ProviderError, match=r"--provider cpu.*NEXTCLICK_PROVIDER=cpu"):
        Ranker(bundle, provider="cuda", threads=1)


class StubSession:
    """ONNX Runtime as it behaves where CUDA does not come up: it goes on on the CPU."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_providers(self) -> list[str]:
        return [PROVIDERS["cpu"]]


def cuda_seems_present(
    monkeypatch: pytest.MonkeyPatch, folder: Path, session: type[StubSession]
) -> None:
    """A machine with a device node and a CUDA build, whose sessions are ours."""
    (folder / "nvidiactl").touch()
    monkeypatch.setattr(serving.ranker, "Path", lambda *parts: folder.joinpath(*parts[1:]))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


def test_a_silent_fall_back_to_the_cpu_is_an_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda_seems_present(monkeypatch, tmp_path, StubSession)
    with pytest.raises(ProviderError, match=r"fell back to CPUExecutionProvider.*--provider cpu"):
        Ranker(bundle, provider="cuda", threads=1)


class BrokenSession(StubSession):
    """CUDA libraries that do not fit."""

    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError("libcudnn is missing")


def test_cuda_that_does_not_start_is_an_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda_seems_present(monkeypatch, tmp_path, BrokenSession)
    with pytest.raises(ProviderError, match=r"libcudnn is missing.*--provider cpu"):
        Ranker(bundle, provider="cuda", threads=1)


def test_a_build_without_cuda_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDERS["cpu"]])
    with pytest.raises(ProviderError, match=r"no CUDAExecutionProvider.*--provider cpu"):
        Ranker(bundle, provider="cuda", threads=1)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_DEVICE, reason="needs a CUDA device; none is on this machine")
def test_cuda_scores_as_the_cpu_does(bundle: Bundle, ranker: Ranker) -> None:
    cuda = Ranker(bundle, provider="cuda", threads=1)
    assert cuda.provider == "CUDAExecutionProvider"
    ours: Scores = cuda.rank(USERS, CANDIDATES, NO_BIAS, None)
    theirs = ranker.rank(USERS, CANDIDATES, NO_BIAS, None)
    assert np.allclose(ours.candidate_scores, theirs.candidate_scores, atol=1e-2)
    assert np.allclose(ours.top_scores, theirs.top_scores, atol=1e-2)
