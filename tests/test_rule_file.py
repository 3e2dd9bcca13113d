"""A file of rules that changes while a worker runs."""

import logging
import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from model.features import Vocabulary
from model.items import Item
from serving.catalog import Catalog
from serving.policy import Policy
from serving.rules import RulesError
from stream.rule_file import RuleFile


def hiding(*items: str) -> str:
    return f"[[hide]]\nitems = {list(items)}\n"


def write(path: Path, text: str) -> None:
    """In one step, as an editor does."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"nextclick_{name}")


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog(Vocabulary([]))
    for name in "abc":
        made.put(Item(item_id=name))
    return made


def test_a_changed_file_holds_and_a_faulty_one_does_not(
    tmp_path: Path, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rules.toml"
    write(path, hiding("a"))
    file = RuleFile(path)
    policy = Policy(catalog, file.rules)
    assert catalog.allowed.tolist() == [False, True, True]
    assert not file.reload(policy), "nothing has changed"

    write(path, hiding("b") + hiding("c"))
    assert file.reload(policy)
    assert catalog.allowed.tolist() == [True, False, False]
    assert (gauge("rules"), gauge("rules_at_fault")) == (2, 0)

    write(path, "[[hide]]\nitmes = 3")
    with caplog.at_level(logging.ERROR):
        assert not file.reload(policy)
        assert not file.reload(policy)
    assert [each.levelname for each in caplog.records] == ["ERROR"], "told once"
    assert "unknown field `itmes`" in caplog.text
    assert catalog.allowed.tolist() == [True, False, False]
    assert (gauge("rules"), gauge("rules_at_fault")) == (2, 1)

    path.unlink()
    assert not file.reload(policy)
    assert catalog.allowed.tolist() == [True, False, False]

    write(path, "")
    assert file.reload(policy)
    assert catalog.allowed.all()
    assert (gauge("rules"), gauge("rules_at_fault")) == (0, 0)


def test_a_file_behind_a_link_that_is_exchanged(tmp_path: Path, catalog: Catalog) -> None:
    for name in "ab":
        (tmp_path / f"{name}.toml").write_text(hiding(name))
        os.utime(tmp_path / f"{name}.toml", (1, 1))
    link = tmp_path / "rules.toml"
    link.symlink_to(tmp_path / "a.toml")
    file = RuleFile(link)
    policy = Policy(catalog, file.rules)
    link.unlink()
    link.symlink_to(tmp_path / "b.toml")
    assert file.reload(policy)
    assert catalog.allowed.tolist() == [True, False, True]


def test_no_start_without_the_rules(tmp_path: Path) -> None:
    with pytest.raises(RulesError):
        RuleFile(tmp_path / "rules.toml")
