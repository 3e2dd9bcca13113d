"""Folders of graded queries: read generously, refused with file and line, judged exactly."""

import json
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.search_queries import made_queries
from model.search_quality import NDCG, RECALL, Judgements, judge_search
from model.words import tokens
from serving.search import SearchIndex
from stream.cli import app
from stream.search_evaluation import assess_search
from stream.search_folder import SearchFolderError, read_search_folder

FILES = {
    "queries.csv": "query_id,query\nq1,red mug\nq2,jug\n",
    "items.csv": "item_id,title,brand,category\n1,red mug,Acme,kitchen/mugs\n2,jug,,\n"
    "3,milk jug,,\n",
    "judgements.csv": "query_id,item_id,grade\nq1,1,3\nq1,2,0\nq2,2,2\nq2,3,1\n",
}


def made(folder: Path, **changed: str) -> Path:
    for name, text in FILES.items():
        (folder / name).write_text(changed.get(name.removesuffix(".csv"), text), "utf-8")
    return folder


def test_a_folder_is_read(tmp_path: Path) -> None:
    found = read_search_folder(made(tmp_path))
    assert found.queries == ["red mug", "jug"]
    assert found.items[0].category == ("kitchen", "mugs")
    assert (found.items[0].brand, found.items[1].brand) == ("Acme", None)
    assert found.judgements.starts.tolist() == [0, 2, 4]
    assert found.judgements.grades.tolist() == [3, 0, 2, 1]
    assert found.splits == []


def test_public_names_tabs_and_words_for_grades_are_read(tmp_path: Path) -> None:
    (tmp_path / "query.csv").write_text("\ufeffquery_id\tquery\tquery_class\n0\tred mug\tMugs\n")
    (tmp_path / "product.csv").write_text(
        "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\n"
        '7\t"the ""red"" mug"\tMugs\tKitchen / Mugs\tlong\n'
    )
    (tmp_path / "label.csv").write_text("id\tquery_id\tproduct_id\tlabel\n0\t0\t7\tExact\n")
    found = read_search_folder(tmp_path)
    assert found.items[0].title == 'the "red" mug'
    assert found.items[0].category == ("Kitchen", "Mugs")
    assert found.judgements.grades.tolist() == [3]


def test_a_split_is_kept(tmp_path: Path) -> None:
    queries = "query_id,query,split\nq1,red mug,valid\nq2,jug,test\n"
    assert read_search_folder(made(tmp_path, queries=queries)).splits == ["validation", "test"]


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("queries", "query_id\nq1\n", "queries.csv has the columns query_id; it needs query"),
        ("queries", "query_id,query\nq1,a\nq1,b\n", "queries.csv, line 3: query 'q1' stands"),
        ("items", "item_id,title\n1,a\n1,b\n", "items.csv, line 3: item '1' stands"),
        ("items", "item_id,title\n,a\n", "items.csv, line 2: item_id is empty"),
        ("judgements", "query_id,item_id,grade\nq9,1,1\n", "line 2: there is no query 'q9'"),
        ("judgements", "query_id,item_id,grade\nq1,9,1\n", "line 2: there is no item '9'"),
        ("judgements", "query_id,item_id,grade\nq1,1,good\n", "line 2: grade 'good' is neither"),
        ("judgements", "query_id,item_id,grade\nq1,1,-1\n", "line 2: grade '-1' is neither"),
        ("judgements", "query_id,item_id,grade\nq1,1,nan\n", "line 2: grade 'nan' is neither"),
        ("judgements", "query_id,item_id,grade\n", "holds no judgement"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, file: str, text: str, sentence: str) -> None:
    with pytest.raises(SearchFolderError, match=sentence):
        read_search_folder(made(tmp_path, **{file: text}))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (made(tmp_path) / "judgements.csv").unlink()
    with pytest.raises(SearchFolderError, match=r"holds no judgements\.csv"):
        read_search_folder(tmp_path)


def test_figures_are_those_of_the_formulas() -> None:
    judgements = Judgements(
        np.array([5, 2, 9, 1, 0]), np.array([3.0, 1.0, 0.0, 2.0, 0.0]), np.array([0, 4, 5])
    )
    assert judgements.answerable.tolist() == [True, False]
    ranking = np.array([9, 2, 7, 5, *range(100, 130), 1])
    found = judge_search([ranking], judgements, np.array([0]))
    ideal = 7 + 3 / log2(3) + 1 / log2(4)
    assert found[NDCG][0] == pytest.approx((1 / log2(3) + 7 / log2(5)) / ideal)
    assert found[RECALL][0] == pytest.approx(2 / 3)
    assert judge_search([np.empty(0, np.int64)], judgements, np.array([0]))[NDCG][0] == 0


def test_a_split_by_seed_judges_each_query_once(tmp_path: Path) -> None:
    queries = "query_id,query\n" + "".join(f"{at},mug {at}\n" for at in range(40))
    judgements = "query_id,item_id,grade\n" + "".join(f"{at},1,1\n" for at in range(40))
    found = read_search_folder(made(tmp_path, queries=queries, judgements=judgements))
    judged = assess_search(found, SearchIndex(), seed=1, progress=lambda text, share: None)
    assert sum(judged.queries.values()) == 40
    assert min(judged.queries.values()) > 5
    assert judged.contenders["bm25"]["recall@20"].mean == 1


def figures(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["evaluate", "--protocol", "search", "--json", *arguments])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_command_judges_words_meaning_and_both(tmp_path: Path) -> None:
    queries = "query_id,query,split\nq1,redd mgu,test\nq2,jug,test\n"
    found = figures("--data", str(made(tmp_path, queries=queries)), "--encoder", "static")
    assert list(found["metrics"]) == ["bm25", "corrected", "dense", "hybrid"]
    assert found["metrics"]["bm25"] == {"ndcg@10": 0.5, "recall@20": 0.5}
    assert found["metrics"]["hybrid"] == {"ndcg@10": 1, "recall@20": 1}
    assert found["ahead"]["bm25"]["recall@20"]["mean"] == 0.5
    assert (found["encoder"], found["queries"]["test"], found["items"]) == ("static", 2, 3)


def test_without_an_encoder_words_alone_are_judged(tmp_path: Path) -> None:
    queries = "query_id,query,split\nq1,red mug,test\nq2,jug,validation\n"
    found = figures(str(made(tmp_path, queries=queries)), "--encoder", "off")
    assert list(found["metrics"]) == ["bm25", "corrected"]
    assert found["queries"] == {"test": 1, "validation": 1}


def test_generated_queries_are_of_their_titles_and_come_again_with_their_seed() -> None:
    titles = ["WHITE HANGING HEART LIGHT HOLDER", "RED RETROSPOT CAKE STAND", "LIGHT HOLDER"]
    queries = made_queries(titles, 60, 1)
    assert queries == made_queries(titles, 60, 1) != made_queries(titles, 60, 2)
    for each in queries:
        words = set(tokens(each.answers[0]))
        strange = [word for word in each.text.split() if word not in words]
        assert len(strange) == each.mistyped
    assert {each.mistyped for each in queries} == {True, False}
