"""The HTTP API while another generation of profiles and counts is made live, and back."""

import asyncio
import time
from collections.abc import Sequence

from model.events import Click
from serving.generations import Generations
from serving.intake import decode
from serving.learning import learn
from serving.parts import Parts
from serving.recommend import recommend_user
from stream.replay.cutover import cutover, rollback
from stream.replay.generations import open_shadow
from stream.settings import Settings
from tests.api_client import Api, open_api, prepare
from tests.parts import records_of
from tests.shop import PATIENCE_S

USER = "flipped"


async def clicked(parts: Parts, *items: str) -> None:
    """The user looks at these, one after the other."""
    now = time.time_ns() // 1_000_000
    events = [
        Click(event_id=item, user_id=USER, ts=now - 1_000 * (len(items) - at), item_id=item)
        for at, item in enumerate(items)
    ]
    decoded, refused = decode(records_of(events), now)
    assert not refused
    await learn(parts, decoded)


async def listed(api: Api) -> list[str]:
    """On demand."""
    answer = await api.post("/v1/recommendations", {"user_id": USER})
    assert answer.status_code == 200, answer.text
    return [each["item_id"] for each in answer.json()["items"]]


async def together(api: Api) -> set[str]:
    """What is seen together with the item that the user saw first in either generation."""
    answer = await api.get("/v1/items/tea-1/similar")
    assert answer.status_code == 200, answer.text
    return {each["item_id"] for each in answer.json()["items"] if "together" in each["sources"]}


async def asked_until(api: Api, wanted: tuple[list[str], set[str]]) -> list[list[str]]:
    """Ask again and again until lists and similar items are the wanted ones; all lists."""
    lists: list[list[str]] = []
    async with asyncio.timeout(PATIENCE_S):
        while not lists or (lists[-1], await together(api)) != wanted:
            lists.append(await listed(api))
    return lists


def assert_one_then_the_other(
    lists: Sequence[list[str]], before: list[str], after: list[str]
) -> None:
    """Whole lists of one generation, and from some moment on of the other."""
    flip = lists.index(after)
    assert all(each == before for each in lists[:flip])
    assert all(each == after for each in lists[flip:])


async def test_lists_and_similar_items_follow_a_cutover_and_a_rollback(
    stream_settings: Settings,
) -> None:
    await prepare(stream_settings)
    async with open_api(stream_settings) as api, open_shadow(stream_settings) as shadow:
        first = api.service.parts
        await clicked(first, "tea-1", "tea-2", "tea-3")
        await clicked(shadow.parts, "tea-1", "book-1", "book-2")
        # As it is done every few seconds, and when a generation is taken up.
        await first.candidates.refresh_popular()
        seen = (await listed(api), await together(api))
        assert seen[1] == {"tea-2", "tea-3"}
        second = first.of_generation(shadow.generation)
        await second.candidates.refresh_popular()
        other = await recommend_user(second, USER)
        there = ([each.item_id for each in other.items], {"book-1", "book-2"})
        assert there[0] != seen[0]

        asking = asyncio.create_task(asked_until(api, there))
        await cutover(stream_settings)
        assert_one_then_the_other(await asking, seen[0], there[0])
        assert api.service.parts.store.generation == shadow.generation

        asking = asyncio.create_task(asked_until(api, seen))
        await rollback(stream_settings)
        assert_one_then_the_other(await asking, there[0], seen[0])
        assert (await Generations(first.store).read()).live == first.store.generation
