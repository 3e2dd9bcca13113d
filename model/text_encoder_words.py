"""Learned vectors of pieces of words, averaged: WordLlama's, English above all.

Read from the package's files, for its own loader would set up logging and look for downloads.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.text_encoder import missing, unit
from model.text_files import digest_of, open_tokenizer

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class WordsEncoder:
    """See ``model.text_encoder.TextEncoder``."""

    name = "wordllama"
    is_quick = False
    share = 0.35

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        self._vectors = _only_tensor(weights)
        self._tokenizer = open_tokenizer(tokenizer, "wordllama")
        self.identity = f"wordllama-{digest_of([weights, tokenizer])}"
        self.dimensions = self._vectors.shape[1]

    def items(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched."""
        made = np.zeros((len(texts), self.dimensions), np.float32)
        lowered = [text.lower() for text in texts]
        encoded = self._tokenizer.encode_batch(lowered, add_special_tokens=False)
        for row, each in enumerate(encoded):
            if each.ids:
                made[row] = self._vectors[each.ids].astype(np.float32).mean(axis=0)
        return unit(made)

    queries = items


def open_wordllama() -> WordsEncoder:
    """WordLlama as installed. Raises model.text_encoder.TextEncoderError where it is not."""
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise missing("wordllama", "wordllama")
    folder = Path(spec.origin).parent
    return WordsEncoder(folder / WEIGHTS, folder / TOKENIZER)


def _only_tensor(path: Path) -> NDArray[np.float16]:
    """The tensor [V, D] of a safetensors file: a length, a JSON header, and the numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    (tensor,) = (each for name, each in header.items() if name != "__metadata__")
    first, last = tensor["data_offsets"]
    kind = {"F16": "<f2", "F32": "<f4"}[tensor["dtype"]]
    numbers = np.frombuffer(data[start + first : start + last], kind)
    found: NDArray[np.float16] = numbers.reshape(tensor["shape"])
    return found
