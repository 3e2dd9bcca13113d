"""What the benchmark knows of the items of public data, with and without torch."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import quality_methods
from benchmarks.quality_content import content_of
from benchmarks.quality_data import DATASETS
from benchmarks.quality_methods import LeftOut, contenders
from model.sequences import Sequences
from tests.test_quality import online_retail


def items(*ids: str) -> Sequences:
    return Sequences.from_lists([[0]], ids)


def test_beauty_joins_texts_and_attributes_by_their_ids(tmp_path: Path) -> None:
    (tmp_path / "s3rec_id_to_asin.json").write_text(json.dumps({"7": "B7", "9": "B9"}))
    (tmp_path / "s3rec_item2attributes.json").write_text(json.dumps({"9": [3], "7": [3]}))
    (tmp_path / "item_short_text.txt").write_text("B9 rose soap\nB7 nail file\nB8 other\n")
    (tmp_path / "item_keywords_gram.txt").write_text("B9 |▁petal\n")
    content = content_of("beauty", tmp_path, items("9", "7"))
    assert content is not None
    nine, seven = (
        set(content.tokens[part].tolist())
        for part in (slice(*content.starts[:2]), slice(*content.starts[1:3]))
    )
    # rose, soap, petal and the brand; nail, file and the brand.
    assert (len(nine), len(seven), len(nine & seven)) == (4, 3, 1)


def test_films_have_titles_and_genres_and_a_shop_its_descriptions(tmp_path: Path) -> None:
    (tmp_path / "item_titles.tsv").write_text("1\t11\tSnow (1987)\tDrama\n")
    films = content_of("ml1m", tmp_path, items("1", "2"))
    assert films is not None
    assert films.starts.tolist() == [0, 3, 3]
    shop = content_of("online_retail", tmp_path, items("RED MUG", "BLUE MUG"))
    assert shop is not None
    assert shop.starts.tolist() == [0, 2, 4]


@pytest.mark.parametrize("name", ["beauty", "ml1m", "diginetica", "recbole"])
def test_a_folder_that_says_nothing_gives_no_content(name: str, tmp_path: Path) -> None:
    assert content_of(name, tmp_path, items("1")) is None


def test_content_takes_part_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        quality_methods, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    online_retail(tmp_path)
    each = contenders("online_retail", DATASETS["online_retail"](tmp_path), tmp_path)
    left_out = {one.name: isinstance(one, LeftOut) for one in each}
    assert not left_out["content"]
    assert not left_out["content_then_counts"]
    assert left_out["network"]
