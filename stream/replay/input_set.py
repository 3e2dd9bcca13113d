"""Which files are read: told by what stands in them, whatever their names and order."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from model.mapping import Mapping
from stream.file_set import digest_of
from stream.replay.bad_records import told_name
from stream.rows import format_of

FORMAT = 2
"""Of what is kept of a set: another version reads it anew."""


class Input(NamedTuple):
    """A file of a set."""

    path: Path
    name: Path
    """As a person knows it."""
    digest: str
    """Of its content and format."""


class InputSet(NamedTuple):
    """Files that are read together."""

    inputs: Sequence[Input]
    digest: str
    """Of all of them, and of the mapping."""

    def named(self) -> list[tuple[str, str]]:
        """What they are called now, each with its digest."""
        return [(told_name(each.name), each.digest) for each in self.inputs]

    def names_of(self, named: Iterable[tuple[str, str]]) -> dict[str, Path]:
        """What files of the same set are called now, by what they were called."""
        of_digest: dict[str, list[Path]] = {}
        for each in self.inputs:
            of_digest.setdefault(each.digest, []).append(each.name)
        return {name: of_digest[digest].pop(0) for name, digest in named}


def format_with(path: Path, mapping: Mapping | None) -> tuple[str, str]:
    """Format and packing of a file; by a mapping, what has no known suffix is a table of text.

    Raises:
        RowsError: it is of no format known here, or missing.
    """
    return format_of(path, unknown="" if mapping is None else "csv")


def input_set(files: Iterable[tuple[Path, Path]], mapping: Mapping | None) -> InputSet:
    """Read files to tell them.

    Args:
        files: each where it is, and as a person knows it.
        mapping: what makes events of their rows.

    Raises:
        RowsError: one cannot be read.
    """
    inputs = [
        Input(path, name, digest_of(path).hex() + "/".join(format_with(path, mapping)))
        for path, name in files
    ]
    digest = blake2b(digest_size=8)
    digest.update(f"{FORMAT} {'' if mapping is None else mapping.digest}".encode())
    for each in sorted(each.digest for each in inputs):
        digest.update(each.encode())
    return InputSet(inputs, digest.hexdigest())
