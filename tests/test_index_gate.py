"""An index ships only if the lists stay as good, and tells what it takes and gives."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model import index_gate
from model.bundle import INDEX_FILES
from model.export import export_network
from model.features import FIRST_ITEM, PADDING, UNKNOWN, Features
from model.index_gate import INDEX_FROM, MOST_NDCG_LOST, Quality, is_wanted, make_index
from model.item_index import ITEM_VECTORS, STATE_OUTPUTS, IndexFiles, ItemIndex
from model.network import Network, NetworkConfig
from model.state_graph import StateGraphError, cut_state_graph

LENGTH, ROWS, TOP = 6, 800, 10


def users(count: int) -> Features:
    """Histories of random items; the last has none."""
    chance = np.random.default_rng(count)
    items = chance.integers(UNKNOWN, ROWS, (count, LENGTH))
    short = np.linspace(LENGTH, 0, count).astype(np.int64)
    items[np.arange(LENGTH)[None, :] < LENGTH - short[:, None]] = PADDING
    seen = items != PADDING
    return Features(
        items,
        chance.integers(1, 6, items.shape) * seen,
        chance.integers(1, 28, items.shape) * seen,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Network(NetworkConfig(ROWS, length=LENGTH, dim=32, blocks=2, heads=2))
    torch.nn.init.normal_(network.item_bias, mean=-5)
    path = tmp_path_factory.mktemp("index") / "model.onnx"
    export_network(network, path, users(20), TOP)
    return path


def judged(exact: float, index: float) -> Quality:
    """What NDCG@10 would say."""
    return lambda files: exact if files is None else index


@pytest.mark.parametrize("count", [1, 9])
def test_the_graph_of_states_scores_as_the_full_one(
    model: Path, tmp_path: Path, count: int
) -> None:
    vectors = cut_state_graph(model, tmp_path / "states.onnx")
    assert vectors.shape == (ROWS, 33)
    whole, cut = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (model, tmp_path / "states.onnx")
    )
    every = np.tile(np.arange(ROWS), (count, 1))
    inputs = {**users(count)._asdict(), "candidates": every}
    (theirs,) = whole.run(["candidate_scores"], {**inputs, "item_bias": np.zeros(ROWS, np.float32)})
    states, ours = cut.run(list(STATE_OUTPUTS), {**inputs, ITEM_VECTORS: vectors})
    assert np.allclose(ours, theirs, atol=1e-5)
    assert np.allclose(states @ vectors.T, theirs, atol=1e-5)
    assert (states[:, -1] == 1).all()


def test_the_graph_of_states_holds_no_item(model: Path, tmp_path: Path) -> None:
    cut_state_graph(model, tmp_path / "states.onnx")
    graph = onnx.load(tmp_path / "states.onnx").graph
    assert not [each.name for each in graph.initializer if ROWS in each.dims]
    assert "item_bias" not in {each.name for each in graph.input}


def test_a_graph_that_ends_otherwise_is_refused(model: Path, tmp_path: Path) -> None:
    other = onnx.load(model)
    (last,) = (node for node in other.graph.node if "candidate_scores" in node.output)
    last.op_type = "Identity"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(StateGraphError, match=r"is made by Identity and not by GatherElements"):
        cut_state_graph(tmp_path / "other.onnx", tmp_path / "states.onnx")


def test_an_index_that_costs_half_a_percent_is_admitted(model: Path, tmp_path: Path) -> None:
    report, files = make_index(
        model, tmp_path, users(70), TOP, judged(0.2, 0.2 * (1 - MOST_NDCG_LOST) + 1e-9)
    )
    assert report.admitted
    assert files == IndexFiles(*(tmp_path / name for name in INDEX_FILES))
    assert report.bytes == sum(path.stat().st_size for path in files)
    assert report.top_k == TOP
    assert set(report.milliseconds) == set(report.exact_milliseconds) == {"1", "64"}
    assert min(report.milliseconds.values()) > 0


def test_one_that_costs_more_is_refused_with_its_figures(model: Path, tmp_path: Path) -> None:
    report, files = make_index(model, tmp_path, users(70), TOP, judged(0.2, 0.1989))
    assert files is None
    assert not report.admitted
    assert report.ndcg == 0.1989
    assert report.ndcg_lost == pytest.approx(0.0055)


def test_the_recall_is_that_against_the_full_graph(model: Path, tmp_path: Path) -> None:
    some = users(70)
    report, files = make_index(model, tmp_path, some, TOP, judged(0.2, 0.2))
    assert files is not None
    index = ItemIndex.read(files, threads=1)
    whole, cut = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (model, files.states)
    )
    inputs = {**some._asdict(), "candidates": some.items}
    no_bias = np.zeros(ROWS, np.float32)
    (states,) = cut.run(["states"], {**inputs, ITEM_VECTORS: index.vectors})
    (exact,) = whole.run(["top_items"], {**inputs, "item_bias": no_bias})
    found = index.nearest(states, no_bias, TOP).rows
    pairs = zip(exact.tolist(), found.tolist(), strict=True)
    same = [len(set(one) & set(other)) for one, other in pairs]
    assert 0 < report.recall < 1
    assert report.recall == pytest.approx(np.mean(same) / TOP)
    assert (report.lists, report.probed) == (index.lists, index.probed)


def test_more_lists_are_read_where_too_few_would_cost_the_lists(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_gate, "RECALL", 0.0)
    monkeypatch.setattr(index_gate, "FIRST_PROBED", 2)
    tried: list[int] = []

    def quality(files: IndexFiles | None) -> float:
        if files is None:
            return 0.2
        tried.append(ItemIndex.read(files, threads=1).probed)
        return 0.2 if tried[-1] >= 4 else 0.1

    report, files = make_index(model, tmp_path, users(70), TOP, quality)
    assert tried == [2, 3, 4]
    assert files is not None
    assert report.probed == ItemIndex.read(files, threads=1).probed == 4


def test_an_index_is_made_from_a_size_on_or_as_said() -> None:
    assert is_wanted("auto", INDEX_FROM) and not is_wanted("auto", INDEX_FROM - 1)
    assert is_wanted("always", FIRST_ITEM) and not is_wanted("never", 10 * INDEX_FROM)
