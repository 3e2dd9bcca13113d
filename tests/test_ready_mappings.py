"""Each ready mapping understands rows in its log's published layout (made up here)."""

import csv
import time
from typing import Any, Literal

import msgspec
import pytest

from model.events import (
    Cart,
    Click,
    Context,
    ContractError,
    Event,
    Favorite,
    Identify,
    Purchase,
    Rating,
    Search,
    decode_event,
)
from model.items import Item, decode_item
from model.mapping import Mapping
from model.mapping_file import ready_names


def rows(name: str, text: str) -> list[dict[str, Any]]:
    """The rows of a small file, read by the mapping's own form; a header row where it has none."""
    form = Mapping.named(name).form
    lines = text.strip().splitlines()
    separator = form.separator
    if len(separator) == 1:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE
        cells = list(csv.reader(lines, delimiter=separator, quoting=quoting))
    else:
        cells = [line.split(separator) for line in lines]
    columns = list(form.columns or cells.pop(0))
    return [dict(zip(columns, each, strict=True)) for each in cells]


def events(name: str, *given: dict[str, Any]) -> list[Event]:
    mapping, now = Mapping.named(name), int(time.time() * 1000)
    return [decode_event(data, now) for row in given for data in mapping.events(row)]


def without_ids(found: list[Event]) -> list[Event]:
    """The same, where the log has no ids: each has one of its own, which is left out here."""
    assert len({each.event_id for each in found}) == len(found)
    return [msgspec.structs.replace(each, event_id="") for each in found]


def items(name: str, *given: dict[str, Any]) -> list[Item]:
    mapping = Mapping.named(name)
    return [decode_item(data) for row in given for data in mapping.items(row)]


def test_retailrocket() -> None:
    found = rows(
        "retailrocket",
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n"
        "1433221999827,111016,addtocart,318965,\n"
        "1433222276276,599528,transaction,356475,4000",
    )
    assert without_ids(events("retailrocket", *found)) == [
        Click(event_id="", user_id="257597", ts=1433221332117, item_id="355908"),
        Cart(event_id="", user_id="111016", ts=1433221999827, item_id="318965"),
        Purchase(event_id="", user_id="599528", ts=1433222276276, item_id="356475"),
    ]


def test_yoochoose() -> None:
    clicks = rows("yoochoose-clicks", "1,2014-04-07T10:51:09.277Z,214536502,0")
    assert without_ids(events("yoochoose-clicks", *clicks)) == [
        Click(event_id="", user_id="1", session_id="1", ts=1396867869277, item_id="214536502")
    ]
    buys = rows(
        "yoochoose-buys",
        "11,2014-04-03T11:04:11.417Z,214821371,1046,2\n12,2014-04-02T10:42:17.227Z,214717867,0,0",
    )
    assert without_ids(events("yoochoose-buys", *buys)) == [
        Purchase(
            event_id="", user_id="11", session_id="11", ts=1396523051417, item_id="214821371",
            price=1046, quantity=2,
        ),
        Purchase(event_id="", user_id="12", session_id="12", ts=1396435337227, item_id="214717867"),
    ]  # fmt: skip


REES46 = """
event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:01 UTC,cart,1307067,2053013558920217191,computers.notebook,lenovo,251.74,5,9333
2019-10-01 00:00:02 UTC,remove_from_cart,1307067,2053013558920217191,,lenovo,251.74,5,9333
2019-10-01 00:00:03 UTC,purchase,1307067,2053013558920217191,,lenovo,251.74,5,9333
"""


def test_rees46() -> None:
    found = rows("rees46", REES46)
    deed: dict[str, Any] = {"user_id": "5", "session_id": "9333", "item_id": "1307067"}
    assert without_ids(events("rees46", *found)) == [
        Click(
            event_id="", user_id="541312140", ts=1569888000000, session_id="72d76fde",
            item_id="44600062",
        ),
        Cart(event_id="", ts=1569888001000, price=251.74, **deed),
        Purchase(event_id="", ts=1569888003000, price=251.74, **deed),
    ]  # fmt: skip
    assert items("rees46", *found[:2]) == [
        Item(item_id="44600062", brand="shiseido", price=35.79),
        Item(item_id="1307067", category=("computers", "notebook"), brand="lenovo", price=251.74),
    ]


def test_taobao() -> None:
    found = rows(
        "taobao",
        "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,cart,1511561733\n"
        "2,4973305,2520377,fav,1511544071\n2,4973305,2520377,buy,1511544072",
    )
    assert without_ids(events("taobao", *found)) == [
        Click(event_id="", user_id="1", ts=1511544070000, item_id="2268318"),
        Cart(event_id="", user_id="1", ts=1511561733000, item_id="2333346"),
        Favorite(event_id="", user_id="2", ts=1511544071000, item_id="4973305"),
        Purchase(event_id="", user_id="2", ts=1511544072000, item_id="4973305"),
    ]
    assert items("taobao", found[0]) == [Item(item_id="2268318", category=("2520377",))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("movielens", "userId,movieId,rating,timestamp\n1,296,4.5,1147880044"),
        ("movielens-dat", "1::296::4.5::1147880044"),
        ("movielens-100k", "1\t296\t4.5\t1147880044"),
        ("recbole", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
         "1\t296\t4.5\t1147880044.0"),
    ],
)  # fmt: skip
def test_ratings(name: str, text: str) -> None:
    assert without_ids(events(name, *rows(name, text))) == [
        Rating(event_id="", user_id="1", ts=1147880044000, item_id="296", value=4.5)
    ]


def test_an_interaction_of_recbole_without_a_rating_is_a_click() -> None:
    found = rows("recbole", "user_id:token\titem_id:token\ttimestamp:float\n1\t296\t1147880044.25")
    assert without_ids(events("recbole", *found)) == [
        Click(event_id="", user_id="1", ts=1147880044250, item_id="296")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("movielens", 'movieId,title,genres\n2,"Sea, The (1995)",Adventure|Drama'),
        ("movielens-dat-movies", "2::Sea, The (1995)::Adventure|Drama"),
        ("recbole", "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
         "2\tSea, The (1995)\t1995\tAdventure Drama"),
    ],
)  # fmt: skip
def test_films(name: str, text: str) -> None:
    (row,) = rows(name, text)
    expected = Item(item_id="2", title="Sea, The (1995)", category=("Adventure", "Drama"))
    assert items(name, row) == [expected]
    without = rows("movielens", "movieId,title,genres\n3,Tea,(no genres listed)")
    assert items("movielens", *without) == [Item(item_id="3", title="Tea")]


def test_ubi_queries() -> None:
    query = {
        "timestamp": "2024-05-01T10:00:00.500Z", "query_id": "q-1", "client_id": "c-1",
        "user_query": "智能手机", "query_response_id": "r-1", "query_response_hit_ids": ["a", "b"],
        "object_id_field": "sku", "query_attributes": {}, "application": "shop",
    }  # fmt: skip
    assert events("ubi-queries", query) == [
        Search(
            event_id="q-1", user_id="c-1", ts=1714557600500, query="智能手机", item_ids=("a", "b")
        )
    ]
    assert events("ubi-queries", query | {"user_query": ""}) == []


def ubi_event(action: str, object_id: str | None = "a") -> dict[str, Any]:
    return {
        "action_name": action, "client_id": "c-1", "session_id": "s-1", "query_id": "q-1",
        "timestamp": 1714557601000, "message_type": "QUERY", "message": action,
        "event_attributes": {
            "object": {"object_id": object_id, "object_id_field": "sku"},
            "position": {"ordinal": 3},
        },
    }  # fmt: skip


def test_ubi_events() -> None:
    actions = ("item_click", "add_to_cart", "purchase", "product_hover")
    found = events("ubi-events", *map(ubi_event, actions))
    common: dict[str, Any] = {
        "event_id": "", "user_id": "c-1", "session_id": "s-1", "ts": 1714557601000, "item_id": "a",
    }  # fmt: skip
    assert without_ids(found) == [Click(**common, position=3), Cart(**common), Purchase(**common)]
    assert events("ubi-events", ubi_event("click", None)) == []


def segment(event: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "track", "event": event, "messageId": "ajs-1", "anonymousId": "visitor",
        "userId": None, "timestamp": "2012-12-02T00:30:12.984Z", "properties": properties,
        "context": {"page": {"path": "/tea"}, "device": {"type": "ios"},
                    "location": {"country": "DE"}},
    }  # fmt: skip


SEGMENT: dict[str, Any] = {
    "event_id": "ajs-1",
    "user_id": "visitor",
    "ts": 1354408212984,
    "context": Context(country="DE", device="ios", page="/tea"),
}


def test_segment() -> None:
    assert events(
        "segment",
        segment("Product Viewed", product_id="507f", sku="G-32", price=18.99),
        segment("Product Added", sku="G-32", price=18.99, quantity=2),
        segment("Product Added to Wishlist", product_id="507f"),
        segment("Products Searched", query="green tea"),
        segment("Product Reviewed", product_id="507f", review_body="good", rating="5"),
        segment("Checkout Started"),
    ) == [
        Click(**SEGMENT, item_id="507f"),
        Cart(**SEGMENT, item_id="G-32", price=18.99, quantity=2),
        Favorite(**SEGMENT, item_id="507f"),
        Search(**SEGMENT, query="green tea"),
        Rating(**SEGMENT, item_id="507f", value=5, text="good"),
    ]


def test_an_order_of_segment_is_a_purchase_for_each_product() -> None:
    order = segment(
        "Order Completed",
        order_id="50314b8e",
        products=[
            {"product_id": "1", "sku": "a", "name": "Tea", "price": 19, "quantity": 1},
            {"sku": "b", "name": "Cup", "price": "3.5", "quantity": 2, "category": "Kitchen"},
        ],
    )
    assert events("segment", order | {"userId": "ana"}) == [
        Purchase(**SEGMENT | {"event_id": "ajs-1:0", "user_id": "ana"}, item_id="1", price=19),
        Purchase(
            **SEGMENT | {"event_id": "ajs-1:1", "user_id": "ana"},
            item_id="b",
            price=3.5,
            quantity=2,
        ),
    ]
    assert items("segment", order) == [
        Item(item_id="1", title="Tea", price=19),
        Item(item_id="b", title="Cup", price=3.5, category=("Kitchen",)),
    ]


def test_segment_tells_who_an_anonymous_visitor_was() -> None:
    call = segment("") | {"type": "identify", "userId": "ana", "traits": {"email": "a@example.org"}}
    assert events("segment", call) == [
        Identify(**SEGMENT | {"user_id": "ana"}, anonymous_id="visitor")
    ]
    assert events("segment", call | {"anonymousId": None}) == []


def test_what_no_ready_mapping_knows_is_told() -> None:
    (row,) = rows("retailrocket", "timestamp,visitorid,event,itemid\n1433221332117,1,share,2")
    with pytest.raises(ContractError, match="`event` is 'share', of which the mapping says"):
        events("retailrocket", row)


@pytest.mark.parametrize("name", ready_names())
def test_each_says_what_it_is_for(name: str) -> None:
    mapping = Mapping.named(name)
    assert mapping.title
    assert mapping.makes_events or mapping.makes_items


def test_gorse() -> None:
    moment, ms = "2021-10-24T06:42:20Z", 1_635_057_740_000
    found = events(
        "gorse",
        {"FeedbackType": "star", "UserId": "王芳", "ItemId": "绿茶", "Timestamp": moment},
        {"feedback_type": "read", "user_id": "u", "item_id": "i", "time_stamp": moment},
    )
    assert without_ids(found) == [
        Favorite(event_id="", user_id="王芳", item_id="绿茶", ts=ms),
        Click(event_id="", user_id="u", item_id="i", ts=ms),
    ]
    with pytest.raises(ContractError, match="'shared', of which the mapping says nothing"):
        events("gorse", {"FeedbackType": "shared", "UserId": "u", "ItemId": "i", "Timestamp": ms})
    told = {"Categories": ["tea"], "Timestamp": moment, "Comment": "Green tea"}
    hidden, shown = items(
        "gorse", {"ItemId": "1", "IsHidden": True, **told}, {"item_id": "2", "is_hidden": "0"}
    )
    assert shown == Item(item_id="2")
    assert hidden == Item(
        item_id="1", title="Green tea", category=("tea",), available=False, created=ms
    )


def test_metarank() -> None:
    shared = {"timestamp": "1599391467000", "session": "s"}
    ranked = {"items": [{"id": "i3", "relevancy": 2.0}, {"id": "i1"}], "event": "ranking"}
    query, price = {"name": "query", "value": "猫"}, {"name": "price", "value": 3.5}
    bought = {"event": "interaction", "type": "purchase", "item": "i1", "ranking": "r"}
    found = events(
        "metarank",
        {"id": "r", "user": "u", **shared, **ranked, "fields": [{"name": "x", "value": 1}, query]},
        {"id": "no search", **shared, **ranked, "fields": []},
        {"id": "b", **shared, **bought, "fields": [price]},
        {"id": "of a user", **shared, "event": "user", "user": "u", "fields": []},
    )
    ts = 1_599_391_467_000
    assert found == [
        Search(event_id="r", user_id="u", query="猫", item_ids=("i3", "i1"), ts=ts, session_id="s"),
        Purchase(event_id="b", user_id="s", item_id="i1", price=3.5, ts=ts, session_id="s"),
    ]
    fields = [{"name": "title", "value": "红茶"}, {"name": "tags", "value": ["black", "loose"]}]
    assert items("metarank", {"event": "item", "item": "i1", **shared, "fields": fields}) == [
        Item(item_id="i1", title="红茶", tags=("black", "loose"))
    ]
