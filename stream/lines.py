"""Lines of a file, unpacked and in UTF-8, in blocks that are worth the call."""

import codecs
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple, cast

PACKINGS = {".gz": "gzip", ".zst": "zstd"}
MAX_LINE_BYTES = 4 * 1024 * 1024
"""Far over any record of the contract; a file without line ends must not fill the memory."""
READ_BYTES = 128 * 1024
_TOO_LONG = f"a line of more than {MAX_LINE_BYTES} bytes"


class DamageError(ValueError):
    """A file ends before its end; ``line`` is the first that cannot be read, from 1."""

    def __init__(self, line: int, why: object) -> None:
        super().__init__(str(why))
        self.line = line


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
    return cast(BinaryIO, io.BufferedReader(_Unpacked(stream, packing), READ_BYTES))


class _Unpacked(io.RawIOBase):
    """Gives all that stands before a damage, which a failed read of Arrow's takes along."""

    def __init__(self, stream: BinaryIO, packing: str) -> None:
        self._stream, self._packing = stream, packing
        self._inside = self._opened()
        self._at = 0
        self._error: OSError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:
            raise self._error
        try:
            data = self._inside.read(len(buffer))
        except OSError as error:
            self._error = error
            data = self._rest()
            if not data:
                raise
        self._at += len(data)
        buffer[: len(data)] = data
        return len(data)

    def _opened(self) -> Any:
        from pyarrow import CompressedInputStream, PythonFile

        # Unlike the packages gzip and zstandard, it tells for both when a file has been cut off.
        return CompressedInputStream(PythonFile(self._stream, "r"), self._packing)

    def _rest(self) -> bytes:
        """What the read that failed would have given, from the beginning and byte by byte."""
        self._stream.seek(0)
        again, skip, found = self._opened(), self._at, bytearray()
        with suppress(OSError):
            while skip:
                skip -= len(again.read(min(skip, READ_BYTES)))
            while byte := again.read(1):
                found += byte
        return bytes(found)


def recoded(stream: BinaryIO, encoding: str) -> BinaryIO:
    """A text in UTF-8. Bytes that its own encoding does not have stay, and are none in UTF-8."""
    if codecs.lookup(encoding).name == "utf-8":
        return stream
    return cast(BinaryIO, io.BufferedReader(_Recoded(stream, encoding), READ_BYTES))


class _Recoded(io.RawIOBase):
    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = cast(io.BufferedReader, stream)
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._held = b""
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises OSError as the file below does, and where it is not of this encoding."""
        while not self._held and not self._is_over:
            data = self._stream.read1(READ_BYTES)
            self._is_over = not data
            try:
                text = self._decoder.decode(data, self._is_over)
                self._held = text.encode("utf-8", "surrogateescape")
            except UnicodeError:
                raise OSError(f"what follows is not {self._encoding}") from None
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size


def line_blocks(stream: BinaryIO) -> Iterator[LineBlock]:
    """All lines; one that is too long is a fault.

    Raises:
        DamageError: the file is damaged from a line on; those before it have been handed on.
    """
    reader = cast(io.BufferedReader, stream)
    first, rest, is_skipping = 1, b"", False
    while True:
        try:
            # One read of the file below: what came before a damage is handed on.
            data = reader.read1(READ_BYTES)
        except OSError as error:
            raise DamageError(first, error) from None
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
