"""The item vectors of a bundle, read without the packages that made its graph."""

from pathlib import Path

import numpy as np
import pytest

from model.bundle import BundleError, load_bundle, write_bundle
from model.item_vectors import diversity_of, read_item_vectors
from model.state_graph import cut_state_graph
from tests.tiny import tiny_bundle

IDS = [f"i{number}" for number in range(40)]


def test_they_are_those_that_the_graph_scores_with(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", IDS)
    bundle = load_bundle(tmp_path / "bundle")
    expected = cut_state_graph(bundle.model_path, tmp_path / "states.onnx")[:, :-1]
    found = read_item_vectors(bundle)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert (found == expected).all()


def test_a_bundle_with_an_index_shares_its_own(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", IDS, index=True)
    bundle = load_bundle(tmp_path / "bundle")
    rows = np.arange(len(bundle.vocabulary))
    shared = diversity_of(bundle, 0.5)
    assert shared is not None
    assert (shared.vectors[:, : shared.width] == read_item_vectors(bundle)).all()
    lengths = np.linalg.norm(shared.unit_vectors(rows), axis=1)
    assert lengths[:2].tolist() == [0, 0], "padding and the unknown item are like nothing"
    assert np.allclose(lengths[2:], 1)


def test_strength_0_reads_nothing(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", IDS)
    bundle = load_bundle(tmp_path / "bundle")
    bundle.model_path.unlink()
    assert diversity_of(bundle, 0) is None


@pytest.mark.parametrize("content", [b"no graph at all", b"", b"\x3a\x03\x0a\x01\x00"])
def test_another_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    manifest = tiny_bundle(tmp_path / "whole", IDS)
    (tmp_path / "other.onnx").write_bytes(content)
    write_bundle(tmp_path / "bundle", tmp_path / "other.onnx", IDS, manifest)
    with pytest.raises(BundleError, match="NEXTCLICK_DIVERSITY=0"):
        diversity_of(load_bundle(tmp_path / "bundle"), 0.3)
