"""What a table must have for a mapping to make events of it."""

import pytest

from model.mapping import Mapping, MappingError
from model.mapping_file import parse_mapping_file


def mapping(text: str) -> Mapping:
    return Mapping(parse_mapping_file(text.encode(), "shop.toml"), "shop.toml")


LACKING = """
leave_out = { robot = true }

[fields]
user_id = { first_of = ["customer", "visitor"] }
ts = "at"
event_id = "id"

[[rules]]
when = { action = "view" }
type = "click"
fields = { item_id = "shop.sku", dwell_ms = "stay" }

[[rules]]
has = ["basket"]
type = "purchase"
each = "lines"
fields = { item_id = ".sku", user_id = { joined = ["land", "number"] } }
"""


REACHING = 'user_id = "who"\nts = "when"\nquery = "fields[name=query].value"'


@pytest.mark.parametrize(
    ("columns", "lacks"),
    [
        ("at visitor action shop", ""),
        ("at customer action shop.sku", ""),
        ("at basket lines land number", ""),
        ("at action shop", "`customer` or `visitor` for `user_id`"),
        ("at visitor action sku", "`shop.sku` for `item_id`"),
        ("at basket lines land", "`number` for `user_id`"),
        ("visitor shop", "`action` of which its rule asks, `at` for `ts`"),
    ],
)
def test_a_table_lacks_what_no_rule_can_do_without(columns: str, lacks: str) -> None:
    assert mapping(LACKING).lacking(columns.split()) == lacks


def test_what_has_a_value_anyway_is_not_lacking() -> None:
    plain = 'type = { value = "click" }\nuser_id = "who"\nitem_id = "what"\n'
    declared = mapping(f'[fields]\n{plain}ts = {{ column = "when", otherwise = 5 }}')
    assert declared.lacking(["who", "what"]) == ""
    renaming = Mapping.renaming(["visitor=user_id"])
    assert renaming.lacking(["visitor", "ts"]) == "`type` for `type`"
    typed = mapping(f'[file]\ntyped_header = true\n[fields]\n{plain}ts = "at"')
    assert typed.lacking(["who:token", "at:float", "what:token"]) == ""
    searches = mapping(f'[[rules]]\ntype = "search"\n[rules.fields]\n{REACHING}')
    assert searches.lacking(["who", "when", "fields"]) == ""


def test_items_have_needs_of_their_own() -> None:
    told = "[[items]]\nhas = ['name']\n[items.fields]\nitem_id = 'sku'\ntitle = 'name'"
    declared = mapping(f"{LACKING}\n{told}")
    assert declared.lacking(["name", "sku"], of_items=True) == ""
    assert declared.lacking(["sku"], of_items=True) == "`name` of which its rule asks"
    assert declared.lacking(["name"], of_items=True) == "`sku` for `item_id`"


@pytest.mark.parametrize("encoding", ["nothing", "base64"])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(MappingError, match="there is no `encoding`"):
        mapping(f'[file]\nencoding = "{encoding}"')
