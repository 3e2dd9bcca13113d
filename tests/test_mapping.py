"""What a mapping may say, and what becomes of rows by it."""

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.events import Click, ContractError, Event, Search, User, decode_event, encode_event
from model.mapping import Mapping, MappingError
from model.mapping_file import parse_mapping_file, ready_names
from model.mapping_rules import MOST_ENTRIES
from tests.parts import NOW

COMMON = 'user_id = "who"\nts = "at"\n'


def mapping(text: str) -> Mapping:
    return Mapping(parse_mapping_file(text.encode(), "shop.toml"), "shop.toml")


def click_mapping(more: str = "", ts: str = '"at"') -> Mapping:
    fields = f'type = {{ value = "click" }}\nuser_id = "who"\nts = {ts}\nitem_id = "what"'
    return mapping(f"[fields]\n{fields}\n{more}")


def decoded(found: list[bytes]) -> list[Event]:
    return [decode_event(data, NOW) for data in found]


def made(declared: Mapping, **row: Any) -> Any:
    """The one event of a row."""
    (event,) = decoded(declared.events({"who": "u", "at": NOW, "what": "i"} | row))
    return event


@pytest.mark.parametrize(
    ("value", "text"),
    [("007", "007"), (7, "7"), (7.0, "7"), (Decimal("7"), "7"), (7.5, "7.5"), (True, "true"),
     ("茶", "茶"), (b"tea", "tea")],
)  # fmt: skip
def test_ids_become_texts(value: object, text: str) -> None:
    assert made(click_mapping(), what=value).item_id == text


@pytest.mark.parametrize(
    ("how", "value", "ms"),
    [
        ('"at"', 1_500_000_000_123, 1_500_000_000_123),
        ('"at"', "1500000000123", 1_500_000_000_123),
        ('"at"', "2017-07-14T02:40:00.123Z", 1_500_000_000_123),
        ('{ column = "at", time = "s" }', "1500000000", 1_500_000_000_000),
        ('{ column = "at", time = "s" }', 1_500_000_000.123, 1_500_000_000_123),
        ('{ column = "at", time = "s" }', "1.500000000123e9", 1_500_000_000_123),
        ('{ column = "at", time = "us" }', 1_500_000_000_123_999, 1_500_000_000_123),
        ('{ column = "at", time = "ns" }', "1500000000123999999", 1_500_000_000_123),
        ('{ column = "at", time = "iso" }', "2017-07-14 02:40:00.123+00:00", 1_500_000_000_123),
        ('{ column = "at", time = "iso" }', "2017-07-14T02:40:00.123", 1_500_000_000_123),
        ('{ column = "at", time = "iso", zone = "Europe/Berlin" }', "2017-07-14T04:40:00.123",
         1_500_000_000_123),
        ('{ column = "at", time = "%Y-%m-%d %H:%M:%S UTC" }', "2017-07-14 02:40:00 UTC",
         1_500_000_000_000),
        ('{ column = "at", time = "%d.%m.%Y %H:%M" }', "14.07.2017 02:40", 1_500_000_000_000),
        ('"at"', datetime(2017, 7, 14, 2, 40, tzinfo=UTC), 1_500_000_000_000),
        ('"at"', datetime(2017, 7, 14, 2, 40), 1_500_000_000_000),
        ('"at"', date(2017, 7, 14), 1_499_990_400_000),
    ],
)  # fmt: skip
def test_times_in_all_units(how: str, value: object, ms: int) -> None:
    assert made(click_mapping(ts=how), at=value).ts == ms


@pytest.mark.parametrize(
    ("how", "value"),
    [
        ('{ column = "at", time = "s" }', "yesterday"),
        ('{ column = "at", time = "s" }', float("inf")),
        ('{ column = "at", time = "iso" }', "1500000000"),
        ('{ column = "at", time = "%Y-%m-%d %H:%M:%S UTC" }', "2017-07-14 02:40:00"),
        ('{ column = "at", time = "%Y-%m-%d %H:%M:%S UTC" }', "2017-07-14T02:40:00 UTC2"),
        ('"at"', True),
        ('"at"', ["1500000000"]),
    ],
)  # fmt: skip
def test_a_time_that_is_none_names_its_column(how: str, value: object) -> None:
    with pytest.raises(ContractError, match="`at` is"):
        made(click_mapping(ts=how), at=value)


def test_values_stand_for_others_and_an_unknown_one_is_refused() -> None:
    declared = mapping(
        f'[fields]\n{COMMON}item_id = "what"\n'
        'type = { column = "did", values = { view = "click", "1" = "cart" } }'
    )
    kinds = [type(made(declared, did=did)).__name__ for did in ("view", 1, "1")]
    assert kinds == ["Click", "Cart", "Cart"]
    with pytest.raises(ContractError, match="`did` is 'share', of which the mapping says nothing"):
        made(declared, did="share")


def test_the_first_column_that_holds_something_counts() -> None:
    declared = click_mapping('session_id = { first_of = ["a", "b.c"], otherwise = "none" }')
    assert made(declared, a="", b={"c": 5}).session_id == "5"
    assert made(declared, a="x", b={"c": 5}).session_id == "x"
    assert made(declared, a=float("nan"), b=None).session_id == "none"


def test_numbers_may_be_scaled_and_nothing_may_stand_for_nothing() -> None:
    declared = mapping(
        f'[fields]\n{COMMON}item_id = "what"\ntype = {{ value = "cart" }}\n'
        'price = { column = "cents", times = 0.01, absent = ["-1", "NULL"] }'
    )
    assert made(declared, cents="250").price == 2.5
    assert made(declared, cents="NULL").price is None
    assert made(declared, cents=-1).price is None


def test_lists_may_be_one_text() -> None:
    declared = mapping(
        f'[fields]\n{COMMON}type = {{ value = "search" }}\nquery = "what"\n'
        'item_ids = { column = "shown", split = ";" }'
    )
    assert made(declared, shown="a; b;;c").item_ids == ("a", "b", "c")
    assert made(declared, shown=["a", 2]).item_ids == ("a", "2")


def test_attributes_of_users_are_named_one_by_one() -> None:
    declared = mapping(
        f'[fields]\n{COMMON}type = {{ value = "user" }}\n'
        '"attributes.age" = "traits.age"\n"attributes.likes" = "traits.likes"'
    )
    found = made(declared, traits={"age": 7, "likes": ["tea"], "email": "a@example.org"})
    assert isinstance(found, User)
    assert found.attributes == {"age": 7, "likes": ["tea"]}


def test_the_first_rule_that_fits_makes_the_event() -> None:
    declared = mapping(
        f'[fields]\n{COMMON}item_id = "what"\n'
        '[[rules]]\nwhen = { did = ["buy", "order"] }\nhas = ["paid"]\ntype = "purchase"\n'
        '[[rules]]\nwhen = { did = "buy" }\ntype = "cart"\n'
    )
    assert type(made(declared, did="order", paid=1)).__name__ == "Purchase"
    assert type(made(declared, did="buy", paid="")).__name__ == "Cart"
    with pytest.raises(ContractError, match=r"no rule of shop\.toml fits"):
        declared.events({"did": "look"})


def test_rows_are_left_out_on_purpose() -> None:
    declared = mapping(
        f'leave_out = {{ bot = [true, "yes"] }}\n[fields]\n{COMMON}item_id = "what"\n'
        'type = { value = "click" }'
    )
    assert [declared.events({"bot": bot}) for bot in (True, "true", "yes")] == [[], [], []]
    assert made(declared, bot=False)
    others = mapping(
        f'others = "leave_out"\n[fields]\n{COMMON}item_id = "what"\n'
        '[[rules]]\nwhen = { did = "look" }\ntype = "click"'
    )
    assert others.events({"did": "log in"}) == []


ORDERS = mapping(
    f'[fields]\n{COMMON}\n[[rules]]\ntype = "purchase"\neach = "order.lines"\n'
    'fields = { item_id = ".sku", session_id = "order.id" }'
)


def test_a_list_makes_an_event_for_each_entry() -> None:
    order = {"id": 9, "lines": [{"sku": "a"}, {"sku": "b"}, {"sku": "a"}]}
    found = decoded(ORDERS.events({"who": "u", "at": NOW, "order": order}))
    assert [each.item_id for each in found] == ["a", "b", "a"]  # type: ignore[union-attr]
    assert len({each.event_id for each in found}) == 3
    assert {each.session_id for each in found} == {"9"}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (None, "expected a list of objects in `order.lines`"),
        (["a"], "expected a list of objects"),
        (
            [{"sku": "a"}, {}],
            "entry 1 of `order.lines`: nothing in `.sku`, where `item_id` comes from",
        ),
        ([{"sku": "a"}] * (MOST_ENTRIES + 1), f"has {MOST_ENTRIES + 1} entries"),
    ],
)
def test_a_list_that_cannot_be_used_makes_no_event_at_all(lines: Any, told: str) -> None:
    with pytest.raises(ContractError, match=re.escape(told)):
        ORDERS.events({"who": "u", "at": NOW, "order": {"lines": lines}})


def test_an_id_of_the_log_is_kept() -> None:
    declared = click_mapping('event_id = { joined = ["order", "line"] }')
    assert made(declared, order="o-1", line=2).event_id == "o-1:2"
    assert len(made(declared, order="o-1").event_id) == 32


def test_a_made_id_is_that_of_the_content() -> None:
    """However the row is written, and not of what it leaves empty."""
    declared = click_mapping()
    row = {"who": "u", "at": NOW, "what": "7", "price": 2.0}
    same = [
        dict(reversed(row.items())),
        row | {"what": 7, "price": "2", "at": str(NOW), "brand": "", "size": None},
    ]
    assert {made(declared, **each).event_id for each in [row, *same]} == {
        made(declared, **row).event_id
    }
    assert made(declared, **row | {"price": 3}).event_id != made(declared, **row).event_id


def test_renaming_knows_rows_of_our_own_contract() -> None:
    declared = Mapping.renaming(["visitor=user_id", "did=type", "land=context.country"])
    assert declared.plain is not None
    assert declared.plain["user_id"] == "visitor" and declared.plain["item_id"] == "item_id"
    row = {"visitor": 5, "did": "click", "ts": NOW, "item_id": "a", "event_id": "e", "land": "DE"}
    (event,) = decoded(declared.events(row))
    assert isinstance(event, Click)
    assert (event.user_id, event.event_id, event.context.country) == ("5", "e", "DE")  # type: ignore[union-attr]
    (event,) = decoded(declared.events(row | {"did": "search", "query": "tea"}))
    assert isinstance(event, Search)
    with pytest.raises(ContractError, match="'share' is no type of event"):
        declared.events(row | {"did": "share"})


def test_what_does_more_than_rename_is_not_plain() -> None:
    assert Mapping.named("taobao").plain is None
    assert ORDERS.plain is None
    assert mapping(f'[fields]\n{COMMON}type = "did"\nitem_id = "what"').plain == {
        "user_id": "who", "ts": "at", "type": "did", "item_id": "what",
    }  # fmt: skip


def test_the_digest_tells_what_makes_other_events() -> None:
    text = f'[fields]\n{COMMON}type = "did"\nitem_id = "what"'
    again = f'[fields]\nitem_id = "what"\ntype = "did"\n{COMMON}'
    assert mapping(text).digest == mapping(again).digest
    assert mapping(text).digest != mapping(text.replace("what", "sku")).digest


def test_records_that_are_no_objects_are_refused() -> None:
    reasons = []
    for value in (None, b"\xff", b"[]", b"7", b"{", b'{"a":' * 100_000):
        with pytest.raises(ContractError) as caught:
            ORDERS.events_of_record(value)
        reasons.append(caught.value.reason)
    assert reasons == [
        "null_value",
        "malformed_json",
        "invalid",
        "invalid",
        *["malformed_json"] * 2,
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fields", ["not valid TOML"]),
        ("", ["neither `fields` nor `rules`"]),
        ("[field]\na = 1", ["unknown field `field`", "docs/mapping.md"]),
        (f"[fields]\n{COMMON}", ["rule 1", "no `type`"]),
        (f'[fields]\n{COMMON}type = {{ value = "look" }}', ["'look' is no type", "click"]),
        (f'[fields]\n{COMMON}type = {{ value = "click" }}', ["a `click` has no `item_id`"]),
        (f'[fields]\n{COMMON}type = "t"\nitem = "what"', ["no field `item`", "item_id"]),
        (f'[fields]\n{COMMON}type = "t"\nitem_id = {{ colum = "a" }}', ["unknown field `colum`"]),
        (f'[fields]\n{COMMON}type = "t"\nitem_id = {{}}', ["`item_id`", "needs one of `column`"]),
        (f'[fields]\n{COMMON}type = "t"\nitem_id = {{ column = "a", value = "b" }}',
         ["needs one of"]),
        (f'[fields]\n{COMMON}type = "t"\nitem_id = {{ column = "a", time = "s" }}',
         ["`item_id` is no time"]),
        (f'[fields]\n{COMMON}type = "t"\nitem_id = {{ column = "a", split = "s" }}', ["no list"]),
        (f'[fields]\n{COMMON}type = "t"\nitem_id = {{ column = "a", times = 2 }}', ["no number"]),
        (f'[fields]\n{COMMON}type = "t"\nitem_id = ".a"', ["of an entry", "add it"]),
        ('[fields]\nuser_id = "u"\nts = { column = "t", time = "h" }\ntype = "t"',
         ["`ts`", "no time 'h'", "write s, ms"]),
        ('[fields]\nuser_id = "u"\nts = { column = "t", zone = "Atlantis" }\ntype = "t"',
         ["no time zone 'Atlantis'"]),
        ('others = "drop"\n[fields]\na = "b"', ["'drop'", "others"]),
        ('[[items]]\ntype = "click"', ["items 1", "an item has no `type`"]),
        ('[[items]]\n[items.fields]\ntitle = "a"', ["items 1", "no `item_id`"]),
    ],
)  # fmt: skip
def test_a_mapping_at_fault_says_where_and_what_to_do(text: str, told: list[str]) -> None:
    with pytest.raises(MappingError) as caught:
        mapping(text)
    assert str(caught.value).startswith("shop.toml")
    for each in told:
        assert each in str(caught.value)


def test_a_mapping_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"no ready mapping 'segmnt'; name one of .*segment"):
        Mapping.named("segmnt")
    with pytest.raises(MappingError, match=r"away\.toml cannot be read \(No such file"):
        Mapping.named(str(tmp_path / "away.toml"))
    file = tmp_path / "mine.toml"
    file.write_text(f'[fields]\n{COMMON}type = "t"\nitem_id = "i"')
    assert Mapping.named(str(file)).makes_events


def test_a_renaming_that_is_none_is_told() -> None:
    for wrong in ("user_id", "=user_id", "a="):
        with pytest.raises(MappingError, match="renames nothing; write column=field"):
            Mapping.renaming([wrong])
    with pytest.raises(MappingError, match="no field `user`"):
        Mapping.renaming(["a=user"])


# Properties

COLUMNS = [
    "timestamp", "event_time", "visitorid", "event", "itemid", "event_type", "product_id",
    "user_id", "userId", "anonymousId", "session_id", "behavior_type", "item_id", "rating",
    "messageId", "type", "properties", "client_id", "user_query", "action_name",
    "event_attributes", "price", "quantity", "Timestamp", "UserID", "MovieID", "Rating",
]  # fmt: skip
WORDS = ["view", "cart", "pv", "purchase", "click", "Order Completed", "Product Viewed", "track"]
TEXTS = st.text("a7茶-.: \ud800\0", max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from(WORDS)
    | st.integers(0, 2 * 10**12) | st.sampled_from(["2019-10-01 00:00:00 UTC", "2014-04-07T10:51Z"])
)  # fmt: skip
ENTRIES = st.dictionaries(st.sampled_from(["product_id", "sku", "price"]), SCALARS, max_size=3)
VALUES = (
    SCALARS
    | st.dictionaries(
        st.sampled_from(["product_id", "products", "query", "object", "object_id"]),
        SCALARS | st.lists(ENTRIES, max_size=3),
        max_size=3,
    )
    | st.lists(SCALARS, max_size=3)
)
ROWS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=12)
MAPPINGS = [Mapping.named(name) for name in ready_names()]


def outcome(declared: Mapping, row: dict[str, Any]) -> list[bytes] | str:
    """What becomes of a row: events that are valid or break the contract, or why there are none."""
    try:
        found = declared.events(row)
    except ContractError as error:
        return f"{error.reason}: {error}"
    for data in found:
        try:
            assert encode_event(decode_event(data, NOW))
        except ContractError:
            continue
    return found


@given(st.sampled_from(MAPPINGS), ROWS)
def test_no_row_makes_anything_but_events_or_a_contract_error(
    declared: Mapping, row: dict[str, Any]
) -> None:
    assert outcome(declared, row) == outcome(declared, dict(reversed(row.items())))


@given(st.sampled_from(MAPPINGS), ROWS)
def test_a_record_makes_the_events_of_its_row(declared: Mapping, row: dict[str, Any]) -> None:
    try:
        value = msgspec.json.encode(row)
    except (UnicodeEncodeError, OverflowError):
        return
    read = json.loads(value)
    try:
        found: list[bytes] | str = declared.events_of_record(value)
    except ContractError as error:
        found = f"{error.reason}: {error}"
    assert found == outcome(declared, read)


@given(st.sampled_from(MAPPINGS), st.binary() | st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
).map(lambda value: json.dumps(value, default=str).encode()))  # fmt: skip
def test_no_bytes_make_anything_else_either(declared: Mapping, value: bytes) -> None:
    try:
        found = declared.events_of_record(value)
        declared.items_of_record(value)
    except ContractError:
        return
    assert all(type(json.loads(data)) is dict for data in found)


@given(ROWS)
def test_items_are_made_or_refused(row: dict[str, Any]) -> None:
    for declared in MAPPINGS:
        try:
            assert all(type(json.loads(data)) is dict for data in declared.items(row))
        except ContractError:
            continue
