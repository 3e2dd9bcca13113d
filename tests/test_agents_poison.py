"""Nothing stops the stream: a model in trouble is waited for, a poisonous event goes alone."""

import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import stream.agents
from model.events import Event
from model.features import FIRST_ITEM
from serving.parts import Parts
from serving.ranker import RankerError
from serving.recommend import Outcome, recommend
from serving.record import Record
from serving.timed_ranker import TimedRanker
from stream.deadletter import OFFSET, REASON, read_dead_letter
from stream.embedded_redis import EmbeddedRedis
from stream.readiness import Part
from tests.faulty_session import spoil
from tests.parts import click, records_of, search
from tests.shop import ITEMS
from tests.stage import GUARD_S, PRESENT, Stage, assert_waits_and_goes_on, clicks, open_stage
from tests.tiny import tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Of a network that reads queries where a test asks for that."""
    path = tmp_path_factory.mktemp("agents") / "bundle"
    queries = getattr(request, "param", False)
    tiny_bundle(path, [item.item_id for item in ITEMS], queries=queries)
    return path


@pytest.fixture
async def stage(
    redis_server: EmbeddedRedis, redis_url: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setattr("stream.readiness.LONGEST_WAIT_S", 0.2)
    async with open_stage(redis_server, bundle) as stage:
        yield stage


async def test_a_session_that_raises_is_waited_for_and_no_event_is_blamed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(inputs: dict[str, Any]) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    mend = spoil(stage.parts.ranker, fail)
    await assert_waits_and_goes_on(stage, Part.MODEL, lambda: None, mend, caplog)


async def test_a_run_that_hangs_is_given_up_and_waited_for(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    ranker = stage.parts.ranker
    assert isinstance(ranker, TimedRanker)
    ranker._timeout_s = 0.3
    going_on = threading.Event()
    runs: list[int] = []

    def hang(inputs: dict[str, Any]) -> None:
        runs.append(1)
        assert going_on.wait(GUARD_S)

    mend = spoil(stage.parts.ranker, hang)

    def end() -> None:
        mend()
        going_on.set()

    try:
        await assert_waits_and_goes_on(stage, Part.MODEL, lambda: None, end, caplog)
    finally:
        going_on.set()
    assert len(runs) == 1, "runs pile up behind one that hangs"


async def test_only_the_input_that_the_model_refuses_becomes_a_dead_letter(stage: Stage) -> None:
    row = FIRST_ITEM + [item.item_id for item in ITEMS].index("book-24")

    def refuse(inputs: dict[str, Any]) -> None:
        if (inputs["items"][:, -1] == row).any():
            raise RuntimeError("Non-zero status code returned")

    users = [f"user-{number}" for number in range(7)]
    records = clicks(*users) + records_of([click("eve", "book-24", PRESENT)], first=7)
    spoil(stage.parts.ranker, refuse)
    await stage.serve(records)
    [letter] = await stage.dead_letters()
    assert letter.value == records[7].value
    assert [each.user_id for each in await stage.lists()] == users


def poisoned(stage: Stage, monkeypatch: pytest.MonkeyPatch, *words: bytes) -> list[int]:
    """Have the path fail on records with these words; returns the sizes of its runs."""
    sizes: list[int] = []

    async def fail_on_poison(
        parts: Parts, records: Sequence[Record], steps: dict[str, float] | None
    ) -> Outcome:
        sizes.append(len(records))
        outcome = await recommend(parts, records, steps)  # Redis has all of it before the fault
        for record in records:
            if any(word in (record.value or b"") for word in words):
                raise KeyError("a fault that nobody has thought of")
        return outcome

    monkeypatch.setattr(stream.agents, "recommend", fail_on_poison)
    return sizes


async def test_a_poisonous_event_is_found_by_halving_and_goes_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    for number in range(64):
        user = f"user-{number % 5}"
        events.append(
            search(user, f"tea {number}", PRESENT + number)
            if number % 3 == 0
            else click(user, f"tea-{number % 25}", PRESENT + number)
        )
    events[41] = search("user-1", "poison", PRESENT + 41)
    records = records_of(events)
    sizes = poisoned(stage, monkeypatch, b"poison")
    await stage.serve(records)

    [letter] = await stage.dead_letters()
    headers = read_dead_letter(letter.headers)
    assert (headers[REASON], headers[OFFSET]) == ("processing_failed", "41")
    assert (letter.value, letter.key) == (records[41].value, b"user-1")
    assert len(sizes) < 20, "found one by one instead of by halves"
    assert stage.readiness.endings >= len(sizes), "a worker that seeks is seen to move"

    lists = await stage.lists()
    assert len({each.rec_id for each in lists}) == len(lists), "something was published twice"
    assert {each.query for each in lists if each.query} == {
        f"tea {number}" for number in range(64) if number % 3 == 0
    } - {"tea 41"}
    for user in {event.user_id for event in events}:
        offsets = [each.as_of.offset for each in lists if each.user_id == user]
        assert offsets == sorted(offsets), "older lists follow newer ones"
        last = await stage.parts.store.last_list(user)
        assert last is not None
        assert last.as_of.offset == offsets[-1]
    assert stage.readiness.is_ready


@pytest.mark.parametrize("bundle", [False, True], ids=["items", "queries"], indirect=True)
async def test_poison_after_poison_leaves_the_stream_ready(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(stage, monkeypatch, b"poison")
    records = records_of([search(f"user-{n}", "poison", PRESENT) for n in range(5)])
    await stage.serve(records)
    await stage.serve(clicks("ann", first=5))
    assert [letter.value for letter in await stage.dead_letters()] == [r.value for r in records]
    assert [each.user_id for each in await stage.lists()] == ["ann"]
    assert stage.readiness.is_ready


async def test_a_path_that_fails_for_everyone_buries_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = type(stage.parts.candidates).gather

    def begin() -> None:
        def fail(*arguments: object) -> object:
            raise AttributeError("a fault of this release")

        monkeypatch.setattr(type(stage.parts.candidates), "gather", fail)

    def end() -> None:
        monkeypatch.setattr(type(stage.parts.candidates), "gather", whole)

    await assert_waits_and_goes_on(stage, Part.PATH, begin, end, caplog)


async def test_a_ranker_in_time_gives_what_the_plain_one_gives(stage: Stage) -> None:
    await stage.serve(clicks("ann"))
    assert isinstance(stage.parts.ranker, TimedRanker)
    with pytest.raises(RankerError, match="ONNX Runtime failed"):
        spoil(stage.parts.ranker, lambda inputs: inputs.clear())
        await stream.agents._probe(stage.parts)
