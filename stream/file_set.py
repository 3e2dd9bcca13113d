"""Which files are meant: by name, by folder, by pattern."""

import glob
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from stream.lines import PACKINGS
from stream.rows import FORMATS, RowsError

STDIN = Path("-")
READ_BYTES = 1024 * 1024


def files_of(paths: Sequence[Path], *, any_format: bool = False) -> list[Path]:
    """The files that are meant, each once, in the order of the names given.

    Args:
        paths: files; folders, of which all files of a known format count, also those of folders
            inside, and none whose name begins with a dot or an underscore; patterns with ``*``,
            ``?``, ``[...]`` and ``**`` (any folders), matched here where the shell has not; or
            ``-`` for standard input.
        any_format: take files of other suffixes out of folders, too.

    Whether a file that is named is there is not looked at.

    Raises:
        RowsError: a folder or pattern holds none.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for each in _meant(path, any_format):
            found.setdefault(each if each == STDIN else each.resolve(), each)
    return list(found.values())


def digest_of(path: Path) -> bytes:
    """16 bytes that tell a file's content."""
    digest = blake2b(digest_size=16)
    try:
        with path.open("rb") as stream:
            while data := stream.read(READ_BYTES):
                digest.update(data)
    except OSError as error:
        raise RowsError(f"{path} cannot be read ({error.strerror or error}); correct it") from None
    return digest.digest()


def _meant(path: Path, any_format: bool) -> list[Path]:
    if path.is_dir():
        inside = sorted(
            each
            for each in path.rglob("*")
            if each.is_file()
            and (any_format or _is_known(each))
            and not any(part[0] in "._" for part in each.relative_to(path).parts)
        )
        if not inside:
            raise RowsError(
                f"{path} holds no file of events; name one with {', '.join(FORMATS)}, all but the "
                f"last also with {' or '.join(PACKINGS)} behind it"
            )
        return inside
    if path == STDIN or path.is_file() or not glob.has_magic(str(path)):
        return [path]
    root = Path(path.anchor)
    matched = [
        each
        for each in sorted(root.glob(str(path.relative_to(root))))
        if each.name[0] != "." or path.name[0] == "."
    ]
    if not matched:
        raise RowsError(f"nothing matches {path}; correct the pattern")
    return [each for one in matched for each in _meant(one, any_format)]


def _is_known(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKINGS:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in FORMATS
