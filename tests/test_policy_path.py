"""Rules and diversity of the settings, on a worker's whole path."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model.bundle import Bundle, load_bundle, write_bundle
from model.items import Item
from serving.policy import Policy
from serving.recommend import recommend
from serving.rules import Rules, RulesError
from stream.complaint import complaint
from stream.settings import Settings, SettingsError
from stream.worker import build_parts
from tests.parts import click, open_parts, records_of
from tests.tiny import tiny_bundle

IDS = [f"i{number}" for number in range(30)]
ITEMS = [Item(item_id=each, title=each, brand=f"brand {at % 3}") for at, each in enumerate(IDS)]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    tiny_bundle(tmp_path / "bundle", IDS)
    return load_bundle(tmp_path / "bundle")


def policy_of(bundle: Bundle, **values: Any) -> Policy | None:
    """What a worker with these settings has."""
    settings = Settings(bundle=bundle.path, provider="cpu", warm_up_s=0, **values)
    return build_parts(settings).policy


async def test_what_is_hidden_is_no_candidate_and_what_is_placed_is_published(
    redis_url: str, bundle: Bundle
) -> None:
    declared = {
        "hide": [{"brands": ["brand 1"]}],
        "sponsored": [{"items": ["new here"], "positions": [2]}],
    }
    async with open_parts(redis_url, ITEMS, bundle=bundle) as parts:
        policy = Policy(parts.catalog, msgspec.convert(declared, Rules))
        parts.catalog.put(msgspec.structs.replace(ITEMS[0], brand="brand 1"))
        parts.catalog.put(Item(item_id="new here"))
        ruled = dataclasses.replace(parts, policy=policy)
        outcome = await recommend(ruled, records_of([click("ana", "i5")]))
    (made,) = outcome.lists
    shown = [each.item_id for each in made.items]
    hidden = {"i0", *(each.item_id for each in ITEMS if each.brand == "brand 1")}
    assert len(shown) == 10
    assert not hidden & set(shown)
    assert (shown[1], made.items[1].placed) == ("new here", "sponsored")


async def test_a_policy_that_says_nothing_changes_no_byte(redis_url: str, bundle: Bundle) -> None:
    """Same records, same instant: the lists are compared without the time that they took."""
    async with open_parts(redis_url, ITEMS, bundle=bundle) as parts:
        records = records_of([click("bo", item) for item in IDS[:6]])
        plain = await recommend(parts, records)
        ruled = dataclasses.replace(parts, policy=Policy(parts.catalog))
        again = await recommend(ruled, records)
    assert [each.items for each in again.lists] == [each.items for each in plain.lists]
    assert b"placed" not in plain.encoded_lists[0]


def test_a_worker_has_a_policy_only_where_it_is_told(bundle: Bundle, tmp_path: Path) -> None:
    assert policy_of(bundle) is None
    assert policy_of(bundle, diversity=0) is None
    varied = policy_of(bundle, diversity=0.3)
    assert varied is not None and varied.has_say
    (tmp_path / "rules.toml").write_text('[[boost]]\nbrands = ["a"]\nfactor = 2')
    ruled = policy_of(bundle, rules=tmp_path / "rules.toml")
    assert ruled is not None and ruled.has_say


def test_the_bundle_says_how_much_lists_vary_and_the_environment_overrules_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    manifest = msgspec.structs.replace(bundle.manifest, diversity=0.2)
    made = write_bundle(tmp_path / "varied", bundle.model_path, IDS, manifest)
    varied = load_bundle(tmp_path / "varied")
    assert made.version[9:] != bundle.manifest.version[9:], "it makes other lists"
    assert policy_of(varied) is not None
    assert policy_of(varied, diversity=0) is None
    with pytest.raises(SettingsError, match="diversity"):
        policy_of(varied, diversity=1.5)


def test_no_worker_starts_with_rules_at_fault(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("[[hide]]")
    with pytest.raises(RulesError) as caught:
        policy_of(bundle, rules=tmp_path / "rules.toml")
    assert complaint(caught.value) == str(caught.value)
