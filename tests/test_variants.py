"""A smaller graph ships only if its lists are as good, and tells what it costs and gives."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model.bundle import Precision, VariantReport, digest_of
from model.export import INPUTS, OUTPUTS, export_network
from model.features import FIRST_ITEM, PADDING, UNKNOWN, Features
from model.network import NEVER, Network, NetworkConfig
from model.variants import MOST_NDCG_LOST, Quality, convert, make_variants

LENGTH, ROWS, TOP = 6, 800, 10
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")


def users(count: int, seed: int = 0) -> Features:
    """Histories of random items; the first has none."""
    chance = np.random.default_rng(seed)
    items = chance.integers(UNKNOWN, ROWS, (count, LENGTH))
    short = np.linspace(LENGTH, 0, count).astype(np.int64)
    items[np.arange(LENGTH)[None, :] < short[:, None]] = PADDING
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
    path = tmp_path_factory.mktemp("variants") / "model.onnx"
    export_network(network, path, users(20), TOP)
    return path


def judged_by(figures: dict[str, float]) -> Quality:
    """What NDCG@10 would say of graphs by the names of their files."""
    return lambda path: figures[path.stem]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 0.02), ("int8", 0.3)])
def test_a_variant_takes_and_gives_what_the_full_graph_does(
    model: Path, tmp_path: Path, precision: Precision, tolerance: float
) -> None:
    path = tmp_path / "small.onnx"
    convert(model, path, precision)
    whole, small = (
        onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"])
        for each in (model, path)
    )
    for get in ("get_inputs", "get_outputs"):
        told = [
            [(each.name, each.type, each.shape) for each in getattr(session, get)()]
            for session in (whole, small)
        ]
        assert told[0] == told[1]
    barred = np.zeros(ROWS, np.float32)
    barred[100:] = NEVER
    for count in (1, 9):
        some = users(count)
        inputs = {
            **some._asdict(),
            "item_bias": barred,
            "candidates": np.tile(np.arange(FIRST_ITEM, 60), (count, 1)),
        }
        assert set(inputs) == set(INPUTS)
        ours, theirs = (session.run(list(OUTPUTS), inputs) for session in (small, whole))
        assert np.isfinite(ours[2]).all()
        assert np.allclose(ours[2], theirs[2], atol=tolerance)
        assert not np.array_equal(ours[2], theirs[2])
        assert (ours[0] >= FIRST_ITEM).all() and (ours[0] < 100).all()


@pytest.mark.parametrize(
    ("precision", "weights"),
    [("fp16", onnx.TensorProto.FLOAT16), ("int8", onnx.TensorProto.UINT8)],
)
def test_the_item_table_is_smaller(
    model: Path, tmp_path: Path, precision: Precision, weights: int
) -> None:
    path = tmp_path / "small.onnx"
    convert(model, path, precision)
    assert path.stat().st_size < 0.7 * model.stat().st_size
    tables = [each for each in onnx.load(path).graph.initializer if ROWS in each.dims]
    large = [each for each in tables if len(each.dims) == 2]
    assert len(large) == 2 and {each.data_type for each in large} == {weights}


def test_what_ranks_as_well_is_admitted_and_what_does_not_is_refused_with_its_figure(
    model: Path, tmp_path: Path
) -> None:
    quality = judged_by({"model": 0.2, "fp16": 0.2 * (1 - MOST_NDCG_LOST) + 1e-9, "int8": 0.1989})
    reports, files = make_variants(model, PRECISIONS, tmp_path, users(70), quality)
    assert list(reports) == ["fp32", "fp16", "int8"]
    assert [report.admitted for report in reports.values()] == [True, True, False]
    assert files == {"fp16": tmp_path / "fp16.onnx"}
    assert reports["int8"].ndcg == 0.1989
    assert reports["int8"].ndcg_lost == pytest.approx(0.0055)


def test_a_report_is_of_the_file(model: Path, tmp_path: Path) -> None:
    equal = judged_by(dict.fromkeys(("model", "fp16", "int8"), 0.2))
    reports, files = make_variants(model, PRECISIONS, tmp_path, users(70), equal)
    for name, path in {"fp32": model, **files}.items():
        report = reports[name]
        assert (report.bytes, report.sha256) == (path.stat().st_size, digest_of(path))
        assert set(report.milliseconds) == {"1", "64"}
        assert all(spent > 0 for spent in report.milliseconds.values())
    assert reports["fp32"].max_difference == 0.0 and reports["fp32"].identical_top_20 == 1.0
    half, bytes_only = (reports[name].max_difference for name in PRECISIONS)
    assert half is not None and bytes_only is not None
    assert 0 < half < bytes_only < 0.3


def test_a_gain_is_no_loss(model: Path, tmp_path: Path) -> None:
    reports, files = make_variants(
        model, ["int8"], tmp_path, users(5), judged_by({"model": 0.2, "int8": 0.21})
    )
    assert reports["int8"].ndcg_lost == pytest.approx(-0.05)
    assert set(files) == {"int8"}


def test_scores_that_are_no_numbers_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(whole: Path, out: Path, precision: Precision) -> None:
        graph = onnx.load(whole)
        for each in graph.graph.initializer:
            if each.name == "network.item_bias":
                nothing = np.full(ROWS, np.nan, np.float32)
                each.CopyFrom(onnx.numpy_helper.from_array(nothing, each.name))
        onnx.save(graph, out)

    monkeypatch.setattr("model.variants.convert", broken)
    reports, files = make_variants(
        model, ["fp16"], tmp_path, users(5), judged_by({"model": 0.2, "fp16": 0.2})
    )
    assert not reports["fp16"].admitted and not files
    # The report of a graph that was refused must not cost the bundle that holds it.
    written = msgspec.json.encode(reports)
    assert msgspec.json.decode(written, type=dict[Precision, VariantReport]) == reports
    assert reports["fp16"].max_difference is None


def test_a_precision_that_is_none_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be converted to fp32, only to fp16 or int8"):
        convert(model, tmp_path / "same.onnx", "fp32")
