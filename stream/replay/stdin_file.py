"""Standard input as a file: what can be read once only is written down."""

import shutil
from pathlib import Path
from typing import BinaryIO

from stream.lines import PACKINGS, unpacked
from stream.rows import BOM

PARQUET, GZIP, ZSTD = b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
COPY_BYTES = 1024 * 1024


def spooled(stream: BinaryIO, folder: Path) -> Path:
    """What comes from a stream, as a file whose suffix says what it is.

    By its first bytes: Parquet; packed with gzip or zstd; JSON lines where the first of all is
    that of an object, else CSV.
    """
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(stream, file, COPY_BYTES)
    with path.open("rb") as file:
        start = file.read(4)
        if start == PARQUET:
            return path.rename(path.with_suffix(".parquet"))
        suffix = ".gz" if start[:2] == GZIP else ".zst" if start == ZSTD else ""
        file.seek(0)
        try:
            with unpacked(file, PACKINGS.get(suffix, "")) as inside:
                is_json = inside.read(COPY_BYTES).removeprefix(BOM).lstrip()[:1] == b"{"
        except OSError:
            is_json = True  # a damaged file, which its reader will report
    return path.rename(path.with_suffix((".jsonl" if is_json else ".csv") + suffix))
