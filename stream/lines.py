"""Lines of a file, unpacked, in blocks that are worth the call."""

import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast

PACKINGS = {".gz": "gzip", ".zst": "zstd"}
MAX_LINE_BYTES = 4 * 1024 * 1024
"""Far over any record of the contract; a file without line ends must not fill the memory."""
READ_BYTES = 128 * 1024
_TOO_LONG = f"a line of more than {MAX_LINE_BYTES} bytes"


class Line(NamedTuple):
    """A line without its end, or what is wrong with it. ``number`` counts from 1."""

    number: int
    data: bytes
    fault: str = ""


class LineBlock(NamedTuple):
    """Lines that follow each other, without their ends."""

    first: int
    """Number of the first line, from 1."""
    lines: Sequence[bytes]
    fault: str = ""
    """What is wrong with the line behind them; "" where nothing is."""


def unpacked(stream: BinaryIO, packing: str) -> BinaryIO:
    """What a file holds; ``packing`` is a value of `PACKINGS`, or ""."""
    if not packing:
        return stream
    from pyarrow import CompressedInputStream, PythonFile

    # Unlike the packages gzip and zstandard, it tells for both when a file has been cut off.
    inside = CompressedInputStream(PythonFile(stream, "r"), packing)
    return cast(BinaryIO, io.BufferedReader(inside, READ_BYTES))


def line_blocks(stream: BinaryIO) -> Iterator[LineBlock]:
    """All lines; one that is too long is a fault, and a damaged file ends with one."""
    reader = cast(io.BufferedReader, stream)
    first, rest, is_skipping = 1, b"", False
    while True:
        try:
            # One read of the file below: what came before a damage is handed on.
            data = reader.read1(READ_BYTES)
        except OSError as error:
            yield LineBlock(first, [], f"the file is damaged from here on ({error})")
            return
        if not data:
            break
        if is_skipping:
            end = data.find(b"\n")
            if end < 0:
                continue
            data, is_skipping = data[end + 1 :], False
            yield LineBlock(first, [], _TOO_LONG)
            first += 1
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        if lines:
            yield LineBlock(first, lines)
            first += len(lines)
        if len(rest) >= MAX_LINE_BYTES:
            rest, is_skipping = b"", True
    if is_skipping:
        yield LineBlock(first, [], _TOO_LONG)
    elif rest:
        yield LineBlock(first, [rest])


def lines(blocks: Iterator[LineBlock]) -> Iterator[Line]:
    """The same, one by one."""
    for block in blocks:
        for number, data in enumerate(block.lines, block.first):
            yield Line(number, data)
        if block.fault:
            yield Line(block.first + len(block.lines), b"", block.fault)
