"""What is known of items: bags of tokens, and vectors made of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.content import item_content, read_attributes, read_texts, read_titles
from model.content_tower import ContentTower
from model.features import FIRST_ITEM


def test_items_of_one_brand_share_a_token_and_its_vector() -> None:
    content = item_content(
        ["a", "b", "c"], {}, {"a": ["acme"], "b": ["acme", "soap"], "c": ["other"]}, word_rows=0,
        trigram_rows=0,
    )  # fmt: skip
    assert content.token_count == 3
    assert content.starts.tolist() == [0, 1, 3, 4]
    # Vectors of tokens are random: so wide, those of different ones are all but at right angles.
    vectors = ContentTower(content, 256)(torch.arange(FIRST_ITEM + 3))
    assert vectors.shape == (FIRST_ITEM + 3, 256)
    assert not vectors[:FIRST_ITEM].any()
    cosine = torch.nn.functional.cosine_similarity
    a, b, c = vectors[FIRST_ITEM:]
    assert cosine(a, b, dim=0) > cosine(a, c, dim=0)


def test_words_are_the_same_whatever_their_case_and_trigrams_forgive_an_ending() -> None:
    words = item_content(["a", "b"], {"a": "Green TEA", "b": "tea, green"}, trigram_rows=0)
    assert words.tokens[:2].tolist() == words.tokens[2:].tolist()
    near = item_content(["a", "b"], {"a": "shampoo", "b": "shampoos"}, word_rows=0)
    first, second = (set(near.tokens[part]) for part in (slice(0, 7), slice(7, None)))
    assert len(first & second) >= 6


def test_rare_tokens_weigh_more_and_each_bag_has_length_one() -> None:
    content = item_content(
        ["a", "b", "c"], {}, {"a": ["common", "rare"], "b": ["common"], "c": ["common"]}
    )
    bag = slice(*content.starts[:2])
    weight = dict(zip(content.tokens[bag].tolist(), content.weights[bag].tolist(), strict=True))
    common, rare = sorted(weight)
    assert weight[rare] > weight[common]
    owners = np.repeat(np.arange(3), np.diff(content.starts))
    np.testing.assert_allclose(np.bincount(owners, content.weights**2), 1.0, rtol=1e-5)


def test_an_item_of_which_nothing_is_known_has_an_empty_bag() -> None:
    content = item_content(["a", "b"], {"b": "soap"})
    assert content.known.tolist() == [False, True]
    assert not ContentTower(content, 4)(torch.tensor([FIRST_ITEM])).any()


def test_content_of_another_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="are the item ids those of the catalogue"):
        item_content(["a"], {"x": "soap"})


def test_the_files_are_read(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("A1 green tea\nA2\nA3 left out\n")
    assert read_texts(texts) == {"A1": "green tea", "A2": "", "A3": "left out"}
    assert read_texts(texts, {"A1": "1", "A2": "2"}) == {"1": "green tea", "2": ""}
    attributes = tmp_path / "attributes.json"
    attributes.write_text('{"1": [4, 7], "2": []}')
    assert read_attributes(attributes) == {"1": ["4", "7"], "2": []}
    titles = tmp_path / "titles.tsv"
    titles.write_text("1\t11\tSnow (1987)\tComedy|Drama\n2\t12\tPlain\tDrama\n")
    assert read_titles(titles) == (
        {"1": "Snow ", "2": "Plain"},
        {"1": ["Comedy", "Drama", "1980s"], "2": ["Drama"]},
    )


def test_a_line_of_titles_with_other_columns_is_refused(tmp_path: Path) -> None:
    titles = tmp_path / "titles.tsv"
    titles.write_text("1\tSnow\n")
    with pytest.raises(ValueError, match=r"line 1: 2 columns, expected 4"):
        read_titles(titles)


def test_words_are_those_of_search_whatever_they_are_written_in() -> None:
    texts = {"phone": "手机", "case": "苹果手机壳", "sock": "羊毛袜"}
    content = item_content(list(texts), texts, trigram_rows=0)
    bags = [
        set(content.tokens[start:end].tolist())
        for start, end in zip(content.starts[:-1], content.starts[1:], strict=True)
    ]
    assert len(bags[0]) == 3
    assert bags[0] <= bags[1]
    assert not bags[0] & bags[2]
