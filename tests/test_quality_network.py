"""What the benchmark's networks know of their items, and that each protocol has its network."""

import json
from pathlib import Path

import pytest

from benchmarks.quality_data import DATASETS, Dataset, Metric, Row
from benchmarks.quality_network import CONTENT_READ, SETTINGS, content_of, network_for
from model.choice import Budget
from model.layouts import Cleaning
from model.ranks import judge
from model.sequences import Sequences
from model.splits import leave_one_out
from tests.sequence_shop import ITEMS, circle


def metric() -> Metric:
    return Metric("NDCG@10", lambda ranks: float(ranks.ndcg(10).mean()))


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


def test_a_network_of_a_protocol_learns(tmp_path: Path) -> None:
    found = circle(users=60)
    split = leave_one_out(found, validation_in_history=True, validation_in_final=False)
    data = Dataset(found, Cleaning(), [Row("all", "own", split)], [metric()], "share")
    method = network_for("recbole", tmp_path, data, Budget(600.0), seed=1)
    method.fit(split.train, split.validation)
    hit = judge(method, split.validation).hit(3).mean()
    assert hit > 2 * 3 / ITEMS


def test_every_protocol_with_settings_is_a_protocol() -> None:
    assert SETTINGS.keys() | CONTENT_READ <= DATASETS.keys()
