"""Vectors of texts outlive the process, are shared, and are never wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.meaning_search import MeaningSearch
from serving.vector_cache import HEADER_BYTES, VectorCache, VectorCacheError

TEXTS = ["red mug", "智能手机", "jug"]
VECTORS = np.array([[1, 0, 0], [0, 0.5, 0.5], [0.25, 0, 1]], np.float32)


class CountingEncoder:
    """Tells what it was asked to encode."""

    name, identity, dimensions, is_quick, share = "counting", "counting-1", 3, False, 0.5

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def items(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += texts
        return np.eye(3, dtype=np.float32)[[len(text) % 3 for text in texts]]

    queries = items


def opened(folder: Path) -> VectorCache:
    return VectorCache(folder, "some encoder", 3)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_was_put_is_there_for_another_process(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.put(TEXTS[:2], VECTORS[:2])
    known, found = second.get(["jug", "智能手机", "red mug"])
    assert known.tolist() == [False, True, True]
    assert found.tolist() == [VECTORS[1].tolist(), VECTORS[0].tolist()]


def test_each_encoder_has_its_own(tmp_path: Path) -> None:
    opened(tmp_path).put(TEXTS, VECTORS)
    other = VectorCache(tmp_path, "another encoder", 3)
    assert not other.get(TEXTS)[0].any()


def test_a_damaged_vector_counts_as_absent(tmp_path: Path) -> None:
    opened(tmp_path).put(TEXTS, VECTORS)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    known, found = opened(tmp_path).get(TEXTS)
    assert known.tolist() == [True, True, False]
    assert len(found) == 2


def test_what_a_crash_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.put(TEXTS[:1], VECTORS[:1])
    path = only_file(tmp_path)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"torn")
    assert opened(tmp_path).get(TEXTS)[0].tolist() == [True, False, False]
    cache.put(TEXTS[1:], VECTORS[1:])
    assert (path.stat().st_size - HEADER_BYTES) == 3 * (whole - HEADER_BYTES)
    assert opened(tmp_path).get(TEXTS)[0].all()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    only_file(tmp_path).write_bytes(b"x" * 100)
    with pytest.raises(VectorCacheError, match="remove it"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VectorCacheError, match="NEXTCLICK_TEXT_CACHE"):
        opened(tmp_path / "file")


async def test_a_text_is_encoded_once_whatever_item_holds_it(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    for _ in range(2):
        meaning = MeaningSearch(encoder, VectorCache(tmp_path, encoder.identity, 3))
        for row, text in enumerate(TEXTS):
            meaning.add(row, text)
        await meaning.encode_pending()
        assert len(meaning.vectors) == 3
    assert sorted(encoder.encoded) == sorted(TEXTS)
    meaning.add(3, "jug")
    meaning.add(4, "new jug")
    await meaning.encode_pending()
    assert encoder.encoded[3:] == ["new jug"]


def test_a_query_is_encoded_once(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    meaning = MeaningSearch(encoder)
    found = meaning.query_vectors(["a", "bb", "a"])
    assert found.shape == (3, 3)
    meaning.query_vectors(["bb", "c"])
    assert encoder.encoded == ["a", "bb", "c"]
