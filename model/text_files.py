"""Files of text encoders: tokenizers, and what tells one version of them from another."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from model.text_encoder import TextEncoderError, missing

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def open_tokenizer(path: Path, choice: str) -> "Tokenizer":
    """The tokenizer of a ``tokenizer.json``.

    Raises:
        model.text_encoder.TextEncoderError: the package is not installed, or the file is missing or
            damaged.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise missing("tokenizers", choice) from None
    if not path.is_file():
        raise TextEncoderError(f"{path} is missing; the text encoder needs its tokenizer")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises no class of its own
        raise TextEncoderError(f"{path} is no tokenizer ({error}); get it anew") from None


def digest_of(paths: Iterable[Path]) -> str:
    """A short hash of files' contents."""
    found = sha256()
    for path in paths:
        found.update(sha256(path.read_bytes()).digest())
    return found.hexdigest()[:24]
