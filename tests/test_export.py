"""The exported graph does what the torch network does, or is not written."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from model import export
from model.export import OUTPUTS, ExportError, check_parity, export_network
from model.features import FIRST_ITEM, PADDING, UNKNOWN, Features
from model.network import NEVER, Network, NetworkConfig
from model.newest_state import NewestState

LENGTH, ROWS, TOP = 6, 50, 10


def users(count: int, seed: int = 0) -> Features:
    """Histories of random items, some of them short."""
    chance = np.random.default_rng(seed)
    items = chance.integers(UNKNOWN, ROWS, (count, LENGTH))
    items[np.arange(LENGTH)[None, :] < chance.integers(0, LENGTH + 1, count)[:, None]] = PADDING
    seen = items != PADDING
    return Features(
        items,
        chance.integers(1, 6, items.shape) * seen,
        chance.integers(1, 28, items.shape) * seen,
    )


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    network = Network(NetworkConfig(ROWS, length=LENGTH, dim=8, blocks=2, heads=2))
    torch.nn.init.normal_(network.item_bias)
    return network


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    parity = export_network(network(), path, users(70), TOP)
    assert parity.users == 70
    assert parity.max_difference < 1e-4
    assert parity.identical_top_20 == 1.0
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(
    session: onnxruntime.InferenceSession,
    features: Features,
    bias: NDArray[np.float32] | None = None,
    candidates: NDArray[np.int64] | None = None,
) -> dict[str, NDArray[np.generic]]:
    inputs = {
        **features._asdict(),
        "item_bias": np.zeros(ROWS, np.float32) if bias is None else bias,
        "candidates": (
            np.zeros((len(features.items), 1), np.int64) if candidates is None else candidates
        ),
    }
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), inputs), strict=True))


@pytest.mark.parametrize("count", [1, 3, 64])
@pytest.mark.parametrize("width", [1, 7])
def test_users_and_candidates_may_be_any_number(
    session: onnxruntime.InferenceSession, count: int, width: int
) -> None:
    candidates = np.full((count, width), FIRST_ITEM, np.int64)
    found = run(session, users(count), candidates=candidates)
    assert found["top_items"].shape == found["top_scores"].shape == (count, TOP)
    assert found["candidate_scores"].shape == (count, width)
    assert found["top_items"].dtype == np.int64


def test_a_user_gets_the_same_alone_and_in_a_batch(session: onnxruntime.InferenceSession) -> None:
    together = run(session, users(9))
    for number in range(9):
        alone = run(session, Features(*(each[number : number + 1] for each in users(9))))
        assert np.array_equal(alone["top_items"][0], together["top_items"][number])
        assert np.allclose(alone["top_scores"][0], together["top_scores"][number], atol=1e-5)


def test_padding_that_all_have_may_be_left_out(session: onnxruntime.InferenceSession) -> None:
    some = users(64)
    short = (some.items != PADDING).sum(axis=1) <= 4
    whole, cut = (
        run(session, Features(*(each[short, -length:] for each in some))) for length in (LENGTH, 4)
    )
    assert 3 < short.sum() < 64
    assert np.array_equal(cut["top_items"], whole["top_items"])
    assert np.allclose(cut["top_scores"], whole["top_scores"], atol=1e-5)


def test_parity_is_also_that_of_shorter_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads_padding(newest: NewestState, *inputs: torch.Tensor) -> torch.Tensor:
        return true_state(newest, *inputs) + inputs[0].shape[1]

    true_state = NewestState.forward
    monkeypatch.setattr(NewestState, "forward", reads_padding)
    monkeypatch.setattr(Network, "encode", lambda network, *inputs, **_: encoded(network, *inputs))

    def encoded(network: Network, *inputs: torch.Tensor) -> torch.Tensor:
        return reads_padding(NewestState(network.folded()), *inputs)[:, None]

    with pytest.raises(ExportError, match="differ by"):
        export_network(network(), tmp_path / "model.onnx", users(20), TOP)


def test_the_best_are_ordered_distinct_real_items(session: onnxruntime.InferenceSession) -> None:
    found = run(session, users(64))
    assert found["top_items"].min() >= FIRST_ITEM
    assert (np.diff(found["top_scores"].astype(np.float64), axis=1) <= 0).all()
    assert all(len(set(row)) == TOP for row in found["top_items"].tolist())


def test_candidates_get_the_scores_that_the_best_have(
    session: onnxruntime.InferenceSession,
) -> None:
    best = run(session, users(5))
    again = run(session, users(5), candidates=best["top_items"].astype(np.int64))
    assert np.allclose(again["candidate_scores"], best["top_scores"].astype(np.float64), atol=1e-5)


def test_the_bias_bars_items_and_leaves_candidates_alone(
    session: onnxruntime.InferenceSession,
) -> None:
    before = run(session, users(4))
    barred = np.unique(before["top_items"])
    bias = np.zeros(ROWS, np.float32)
    bias[barred] = NEVER
    candidates = np.tile(barred, (4, 1))
    after = run(session, users(4), bias, candidates)
    assert not np.isin(after["top_items"], barred).any()
    unbiased = run(session, users(4), candidates=candidates)
    assert np.array_equal(after["candidate_scores"], unbiased["candidate_scores"])


def test_no_more_are_asked_for_than_there_are(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_network(network(), path, users(3), top_k=1000)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert run(session, users(3))["top_items"].shape == (3, ROWS - FIRST_ITEM)


def test_a_graph_that_is_not_the_network_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_network(graph: export.RankingGraph, path: Path, some: Features) -> export.Parity:
        return check_parity(export.RankingGraph(network(seed=1).eval(), TOP).eval(), path, some)

    monkeypatch.setattr(export, "check_parity", of_another_network)
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match=r"differ by .*the bundle was not written"):
        export_network(network(), path, users(20), TOP)
    assert not path.exists()


@pytest.mark.parametrize("lost", [slice(None), -1], ids=["all", "one item"])
def test_a_graph_whose_scores_are_no_numbers_is_not_written(
    tmp_path: Path, lost: slice | int
) -> None:
    broken = network()
    with torch.no_grad():
        broken.item_bias[lost] = torch.nan
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match=r"differ by nan .*the bundle was not written"):
        export_network(broken, path, users(70), TOP)
    assert not path.exists()


def test_parity_tells_another_order_even_when_scores_are_close(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    flat = network()
    with torch.no_grad():
        flat.item_table.weight.zero_()
        flat.item_bias.copy_(torch.linspace(0, 5e-4, ROWS))
    export_network(flat, path, users(20), TOP)
    with torch.no_grad():
        flat.item_bias.copy_(flat.item_bias.flip(0))
    parity = check_parity(export.RankingGraph(flat.eval(), TOP).eval(), path, users(20))
    assert 1e-5 < parity.max_difference < export.MAX_DIFFERENCE
    assert parity.identical_top_20 == 0.0
