"""Whatever comes, the path serves it or refuses it with a reason: a short run of benchmarks.fuzz.

python -m benchmarks.fuzz --inputs 1000000 --seed 7
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import REASONS, fuzz
from benchmarks.fuzz_inputs import FIELDS, ITEM_IDS, ODD_JSON, ODD_TEXTS, FuzzInputs
from model.bundle import Bundle, load_bundle
from model.events import (
    Cart,
    Click,
    ContractError,
    Favorite,
    Purchase,
    Rating,
    Reason,
    Search,
    decode_event,
    encode_event,
)
from model.items import Item
from serving.parts import Parts
from serving.profile import INTERACTIONS, QUERIES, pack_interaction, pack_query
from serving.recommend import Outcome, recommend
from serving.recommendation import Recommendation, decode_recommendation, encode_recommendation
from serving.store import Store
from stream.deadletter import (
    DEAD_LETTER_HEADERS,
    SOMETIMES_HEADERS,
    dead_letter_headers,
    stored_dead_letter,
)
from stream.embedded_redis import EmbeddedRedis
from tests.parts import HOUR_MS, NOW, FakeRecord, open_parts
from tests.tiny import tiny_bundle

ITEMS = [Item(item_id=each, title=each.replace("-", " "), category=("all",)) for each in ITEM_IDS]
KINDS = (
    "click", "search", "cart", "purchase", "favorite", "rating", "impression", "user", "identify",
    "forget",
)  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("fuzz") / "bundle"
    tiny_bundle(path, ITEM_IDS)
    return load_bundle(path)


@pytest.fixture
async def parts(redis_url: str, bundle: Bundle) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, ITEMS, bundle=bundle) as opened:
        yield opened


# The records of the long run


async def test_three_thousand_records_break_nothing(parts: Parts) -> None:
    report = await fuzz(parts, FuzzInputs(seed=1), 3_000, batch=64)
    assert report.crashes == []
    assert report.inputs == 3_000
    # Not too tame: most reasons there are, and much that is accepted and answered.
    assert set(report.refused) == REASONS - {"processing_failed"}
    assert sum(report.refused.values()) > 1_000
    assert report.figures()["accepted"] > 1_000
    assert report.lists > 300


def test_a_seed_gives_the_same_records_again() -> None:
    one, two, other = FuzzInputs(7), FuzzInputs(7), FuzzInputs(8)
    assert one.batch(500) == two.batch(500)
    assert one.batch(500) != other.batch(500)


class PoisonedStore(Store):
    """A fake store: an item that it hears of breaks it."""

    async def merge(self, updates: Any) -> Any:
        """Fails for an update of the unlucky user."""
        if any(update.user == "u3" for update in updates):
            raise ZeroDivisionError("poison")
        return await super().merge(updates)


async def test_a_crash_is_seen_and_its_culprit_found(redis_url: str, bundle: Bundle) -> None:
    async with open_parts(redis_url, ITEMS, bundle=bundle, kind=PoisonedStore) as poisoned:
        report = await fuzz(poisoned, FuzzInputs(seed=1), 500, batch=50)
    assert report.crash_count == len(report.crashes) > 3
    for crash in report.crashes:
        assert crash["error"] == "ZeroDivisionError: poison"
        assert crash["records"] == 1
        assert b"u3" in base64.b64decode(crash["value_base64"])
    assert report.figures()["accepted"] > 100, "the others are served"


# Hypothesis, which shrinks what it finds

texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=20), st.sampled_from(["u1", "i"]))
plain_values = st.one_of(
    texts, st.none(), st.booleans(), st.integers(), st.floats(), st.just(NOW), st.just(NOW - 1)
)
values = st.recursive(
    plain_values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
whole_events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(KINDS),
        "event_id": texts,
        "user_id": st.sampled_from(["u1", "u2", "茶", "\U0010ffff"]),
        "ts": st.integers(NOW - 2 * HOUR_MS, NOW),
        "item_id": st.sampled_from(ITEM_IDS) | texts,
        "query": texts,
        "rec_id": texts,
        "item_ids": st.lists(texts, max_size=3),
        "value": st.floats(allow_nan=False, allow_infinity=False),
        "quantity": st.floats(min_value=1e-300, max_value=1e300),
        "price": st.floats(min_value=0, max_value=1e300),
        "attributes": st.dictionaries(texts, texts, max_size=2),
        "anonymous_id": st.sampled_from(["u1", "u2", "a"]),
    }
)
changed_events = st.builds(
    lambda event, changes: event | changes,
    whole_events,
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=3),
)
as_bytes = st.builds(
    lambda event, ascii_only: json.dumps(event, ensure_ascii=ascii_only).encode(
        "utf-8", "surrogatepass"
    ),
    st.one_of(whole_events, changed_events),
    st.booleans(),
)
spliced = st.builds(
    lambda data, at, part: data[: at % len(data)] + part + data[at % len(data) :],
    as_bytes,
    st.integers(min_value=0),
    st.sampled_from(ODD_JSON).map(str.encode) | st.binary(max_size=4),
)
cut = st.builds(lambda data, at: data[: at % len(data)], as_bytes, st.integers(min_value=0))
wire = st.one_of(as_bytes, as_bytes, as_bytes, spliced, cut, st.binary(max_size=60))
headers = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20)), max_size=3)


@settings(max_examples=1_000, deadline=None)
@given(wire)
def test_what_is_accepted_survives_and_what_is_not_has_a_reason(data: bytes) -> None:
    try:
        event = decode_event(data, NOW)
    except ContractError as error:
        assert error.reason in REASONS
        assert str(error)
        return
    assert decode_event(encode_event(event), NOW) == event
    if isinstance(event, Search):
        assert len(pack_query(event)) == QUERIES.width
    elif isinstance(event, Click | Cart | Favorite | Rating | Purchase):
        assert len(pack_interaction(event)) == INTERACTIONS.width


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=2_000), st.sampled_from(sorted(get_args(Reason))), headers, st.booleans())
@example("", "future_time", [("nextclick-partition", b"poses as ours")], False)
def test_any_refusal_makes_a_dead_letter_that_can_be_read(
    detail: str, reason: Reason, original: list[tuple[str, bytes]], is_null: bool
) -> None:
    error = ContractError(reason, detail)
    made = dead_letter_headers(error, "events", 1, 2, is_null=is_null, original=original)

    class Stored(FakeRecord):
        timestamp = NOW

    letter = stored_dead_letter(Stored(b"", 5, b"k", partition=3, headers=made))
    assert letter is not None
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == (
        reason, "events", 1, 2,
    )  # fmt: skip
    assert letter.value == (None if is_null else b"")
    ours = DEAD_LETTER_HEADERS.keys() | SOMETIMES_HEADERS
    assert letter.headers == [each for each in original if each[0] not in ours]


@pytest.fixture(scope="module")
def path(redis_server: EmbeddedRedis, bundle: Bundle) -> Iterator["WholePath"]:
    """The whole path, kept open over the examples."""
    with asyncio.Runner() as runner:
        opened = open_parts(redis_server.url, ITEMS, bundle=bundle)
        yield WholePath(runner, runner.run(opened.__aenter__()))
        runner.run(opened.__aexit__(None, None, None))


class WholePath:
    """Serves micro-batches at ever higher offsets."""

    def __init__(self, runner: asyncio.Runner, parts: Parts) -> None:
        self._runner, self._parts, self._offset = runner, parts, 0

    def serve(
        self, records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]
    ) -> Outcome:
        """Value, key and headers of each record."""
        made = []
        for value, key, told in records:
            made.append(FakeRecord(value, self._offset, key, headers=told))
            self._offset += 1
        return self._runner.run(self._served(made))

    async def _served(self, records: list[FakeRecord]) -> Outcome:
        outcome = await recommend(self._parts, records)
        await self._parts.store.keep(outcome.lists)
        return outcome


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(wire, st.none() | st.binary(max_size=9), headers), max_size=12))
def test_any_micro_batch_is_served(
    path: WholePath, records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]
) -> None:
    outcome = path.serve(records)
    values = [value for value, _, _ in records]
    assert all(letter.record.value in values for letter in outcome.dead_letters)
    assert {letter.error.reason for letter in outcome.dead_letters} <= REASONS
    for made in outcome.lists:
        assert rounded(made) == made


def rounded(made: Recommendation) -> Recommendation:
    """A list, written and read again."""
    return decode_recommendation(encode_recommendation(made))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["forget", "identify", "click", "search"]),
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 20),
        ),
        max_size=25,
    )
)
def test_any_sequence_of_forgetting_and_identifying_is_served(
    path: WholePath, steps: list[tuple[str, str, str, int]]
) -> None:
    events = [
        {
            "type": kind,
            "event_id": f"{kind}-{step}",
            "user_id": user,
            "anonymous_id": other,
            "ts": NOW - step,
            "item_id": ITEM_IDS[step],
            "query": "tea",
        }
        for kind, user, other, step in steps
    ]
    outcome = path.serve([(json.dumps(event).encode(), None, []) for event in events])
    assert outcome.dead_letters == []
