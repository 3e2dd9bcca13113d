"""Vectors of texts on disk, by the hash of the text: what an encoder has made is not made again.

One file for each version of an encoder, in a folder that the workers of a machine share. It only
ever grows: whole records, each with a checksum, appended under a lock; what a crash has left
unfinished is cut off by the next who appends, and a record whose checksum is wrong counts as
absent. Plain numbers, no pickle.
"""

import fcntl
import os
from collections.abc import Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from serving.hash_table import HashTable

HEADER_BYTES = 64
_UNUSED_BITS = np.uint64(16)
"""The table has keys of 48 bits; the record has all 64."""


class VectorCacheError(Exception):
    """The folder cannot be written, or the file there is of something else."""


class VectorCache:
    """Float16 vectors by text. May be used by one thread at a time.

    Args:
        folder: created if it is missing.
        identity: of the encoder.
        dimensions: of its vectors.

    Raises:
        VectorCacheError: as its name says.
    """

    def __init__(self, folder: Path, identity: str, dimensions: int) -> None:
        self._record = np.dtype(
            [("key", "<u8"), ("check", "<u4"), ("vector", "<f2", (dimensions,))]
        )
        named = sha256(identity.encode()).digest()
        self._header = b"nextclick text vectors 1".ljust(HEADER_BYTES - 32) + named
        self._path = folder / f"{named.hex()[:16]}.vectors"
        self._table = HashTable()
        self._read = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                _lock(file.fileno())
                if not file.tell():
                    file.write(self._header)
        except OSError as error:
            raise VectorCacheError(
                f"{self._path} cannot be written ({error}); name another folder with "
                "NEXTCLICK_TEXT_CACHE"
            ) from None
        with self._path.open("rb") as file:
            if file.read(HEADER_BYTES) != self._header:
                raise VectorCacheError(f"{self._path} is no cache of text vectors; remove it")
        self._refresh()

    def get(self, texts: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which texts are known, bool [N], and the vectors of those, float32 [K, D]."""
        self._refresh()
        keys = _keys(texts)
        places = self._table.find(keys >> _UNUSED_BITS)
        known = places >= 0
        found = self._records()[places[known]]
        sound = [
            record["key"] == key and record["check"] == _check(record)
            for record, key in zip(found, keys[known], strict=True)
        ]
        known[known] = sound
        return known, found["vector"][sound].astype(np.float32)

    def put(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add vectors [N, D]. Raises VectorCacheError where the disk does not take them."""
        records = np.empty(len(texts), self._record)
        records["key"], records["vector"] = _keys(texts), vectors
        records["check"] = [_check(record) for record in records]
        try:
            with self._path.open("r+b") as file:
                _lock(file.fileno())
                size = file.seek(0, os.SEEK_END)
                whole = size - (size - HEADER_BYTES) % self._record.itemsize
                file.truncate(whole)
                file.seek(whole)
                file.write(records.tobytes())
        except OSError as error:
            raise VectorCacheError(f"{self._path} cannot be written ({error})") from None

    def _refresh(self) -> None:
        """Learn of what was appended since, by whichever process."""
        records = self._records()
        if len(records) > self._read:
            keys = records["key"][self._read :].astype(np.uint64) >> _UNUSED_BITS
            # Two workers may have added the same text; any of the two will do.
            keys, places = np.unique(keys, return_index=True)
            self._table.put(keys, self._read + places.astype(np.int64))
            self._read = len(records)

    def _records(self) -> "NDArray[np.void]":
        count = (self._path.stat().st_size - HEADER_BYTES) // self._record.itemsize
        if count <= 0:
            return np.empty(0, self._record)
        return np.memmap(self._path, self._record, "r", HEADER_BYTES, (count,))


def _keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    hashes = (blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(hashes), "<u8").astype(np.uint64)


def _check(record: "np.void") -> int:
    return crc32(record["vector"].tobytes(), int(record["key"]) & 0xFFFFFFFF)


def _lock(descriptor: int) -> None:
    """Until the file is closed."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
