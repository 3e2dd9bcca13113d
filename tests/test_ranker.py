"""One call ranks a micro-batch."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model import index_gate
from model.bundle import Bundle, BundleError, Precision, load_bundle, write_bundle
from model.events import INTERACTION_KINDS, Click
from model.features import FIRST_ITEM, PADDING, Interactions, featurize
from model.ids import item_hashes
from model.variants import convert
from serving.buckets import Bucket
from serving.catalog import NEVER
from serving.execution import Execution
from serving.ranker import Ranker, RankerError
from serving.ranking_session import RankingSession
from tests.parts import NOW
from tests.tiny import tiny_bundle

ITEMS = [f"item {at}" for at in range(30)]
SIZE = FIRST_ITEM + len(ITEMS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("ranker") / "bundle"
    tiny_bundle(path, ITEMS, top_k=20)
    return load_bundle(path)


@pytest.fixture(scope="module")
def ranker(bundle: Bundle) -> Ranker:
    return Ranker(bundle, Execution("cpu"))


def history(*items: str) -> Interactions:
    """Clicks on these items, a second apart."""
    return Interactions(
        item_hashes(items),
        np.full(len(items), INTERACTION_KINDS[Click], np.uint8),
        NOW + 1000 * np.arange(len(items), dtype=np.int64),
    )


def rows(*places: int) -> NDArray[np.int64]:
    """Of one user."""
    return np.array([places], dtype=np.int64)


def padded(*candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of several users."""
    found = np.full((len(candidates), max(each.size for each in candidates)), PADDING)
    for user, each in enumerate(candidates):
        found[user, : each.size] = each
    return found


NO_BIAS = np.zeros(SIZE, dtype=np.float32)
USERS = [history("item 3", "item 4"), history(), history(*ITEMS), history("nobody knows")]
EACH = [rows(2, 3, 4), rows(), rows(*range(2, SIZE)), rows(7)]
CANDIDATES = padded(*EACH)


def close(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return bool(np.allclose(one, other, atol=1e-4))


def test_candidates_of_different_counts_are_scored_as_each_alone(ranker: Ranker) -> None:
    together = ranker.rank(USERS, CANDIDATES, NO_BIAS, None)
    assert together.candidate_scores.shape == (4, len(ITEMS))
    assert together.top_rows.shape == together.top_scores.shape == (4, 20)
    for at, (user, candidates) in enumerate(zip(USERS, EACH, strict=True)):
        alone = ranker.rank([user], candidates, NO_BIAS, None)
        size = candidates.size
        assert close(together.candidate_scores[at, :size], alone.candidate_scores[0, :size])
        assert close(together.top_scores[at], alone.top_scores[0])


def test_nearest_and_candidates_have_the_same_scores(ranker: Ranker) -> None:
    scores = ranker.rank([USERS[0]], rows(*range(SIZE)), NO_BIAS, None)
    assert close(scores.candidate_scores[0, scores.top_rows[0]], scores.top_scores[0])
    assert (np.diff(scores.top_scores[0]) <= 0).all(), "best first"
    assert scores.top_rows.min() >= FIRST_ITEM, "never padding or unknown"
    best = np.sort(scores.candidate_scores[0, FIRST_ITEM:])[::-1][:20]
    assert close(scores.top_scores[0], best)


def test_the_bias_keeps_items_out_of_the_nearest(ranker: Ranker) -> None:
    bias = np.full(SIZE, NEVER, dtype=np.float32)
    bias[[5, 9]] = 0
    free = ranker.rank([USERS[0]], rows(5, 9, 11), NO_BIAS, None)
    kept = ranker.rank([USERS[0]], rows(5, 9, 11), bias, None)
    assert set(kept.top_rows[0, :2].tolist()) == {5, 9}
    assert (kept.top_scores[0, 2:] < NEVER / 2).all()
    assert close(free.candidate_scores, kept.candidate_scores), "candidates have no bias"


def test_the_history_matters(ranker: Ranker) -> None:
    one, other = (ranker.rank([user], rows(), NO_BIAS, None) for user in USERS[:3:2])
    assert not close(one.top_scores, other.top_scores)


def test_a_failing_run_is_a_fault_of_the_ranker(ranker: Ranker) -> None:
    with pytest.raises(RankerError, match="ONNX Runtime failed on 1 users"):
        ranker.rank([USERS[0]], rows(SIZE + 1000), NO_BIAS, None)
    with pytest.raises(RankerError, match="ONNX Runtime failed on 1 users"):
        ranker.rank([USERS[0]], rows(2), NO_BIAS[:5], None)


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
        Ranker(both, Execution("cpu", precision=precision)) for precision in precisions
    )
    theirs = ranker.rank(USERS, CANDIDATES, NO_BIAS, None).candidate_scores
    assert np.array_equal(whole.rank(USERS, CANDIDATES, NO_BIAS, None).candidate_scores, theirs)
    ours = quantised.rank(USERS, CANDIDATES, NO_BIAS, None).candidate_scores
    assert not np.array_equal(ours, theirs)
    assert np.allclose(ours, theirs, atol=0.3)


def test_a_graph_that_is_not_in_the_bundle_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="has no fp16 graph"):
        Ranker(bundle, Execution("cpu", precision="fp16"))


def test_ready_arrays_are_scored_as_the_histories_are(bundle: Bundle, ranker: Ranker) -> None:
    features = featurize(USERS, bundle.vocabulary, bundle.manifest.history_length)
    candidates = np.tile(rows(2, 3, 4), (len(USERS), 1))
    ours = ranker.score(features, candidates, NO_BIAS)
    theirs = ranker.rank(USERS, candidates, NO_BIAS, None)
    assert np.array_equal(ours.candidate_scores, theirs.candidate_scores)
    assert np.array_equal(ours.top_rows, theirs.top_rows)


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
    searching = Ranker(indexed, Execution("cpu"))
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
    exact = Ranker(indexed, Execution("cpu", nearest="exact"))
    assert exact.index is None and ranker.index is None
    assert "nearest items: all 30 are scored" in caplog.text
    theirs = ranker.rank(USERS, CANDIDATES, NO_BIAS, None)
    assert np.array_equal(exact.rank(USERS, CANDIDATES, NO_BIAS, None).top_rows, theirs.top_rows)


def test_an_index_that_is_asked_for_and_not_there_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="has no index of the items: none was made"):
        Ranker(bundle, Execution("cpu", nearest="index"))


def test_an_index_does_not_go_with_a_gpu(indexed: Bundle) -> None:
    with pytest.raises(ValueError, match="an index goes with cpu and fp32, not with cuda and fp32"):
        Ranker(indexed, Execution("cuda", nearest="index"))


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
        Ranker(load_bundle(tmp_path / "b"), Execution("cpu"))


def test_warming_up_has_an_end(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    Ranker(bundle, Execution("cpu"))
    assert "warm-up ends" not in caplog.text
    hurried = Ranker(bundle, Execution("cpu", warm_up_s=0))
    assert "with 1 of 7 shapes" in caplog.text
    assert "NEXTCLICK_WARM_UP_S" in caplog.text
    assert len(hurried.rank(USERS, CANDIDATES, NO_BIAS, None).top_rows) == len(USERS)


def test_a_first_run_that_fails_is_a_fault_of_the_ranker(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(session: RankingSession, bucket: Bucket) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(RankingSession, "warm", fail)
    with pytest.raises(RankerError, match=r"failed on Bucket\(users=64.*CUDA out of memory"):
        Ranker(bundle, Execution("cpu"))
