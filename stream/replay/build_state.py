"""Who builds a generation, and in which step of which epoch: beside its counts in Redis.

One builder at a time: it holds a lease and prolongs it, and every step is noted together with a
look at the lease, so that a builder that was held up and lost it cannot go on.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal, TypeAlias
from uuid import uuid4

import msgspec
from redis.exceptions import RedisError

from serving.counts import Counts
from serving.store import Store

LEASE_MS = 10_000
"""What the next builder waits at most after this one was killed."""
LOOK_S = 0.25
Step: TypeAlias = Literal["counting", "writing", "done"]


class BuildError(RuntimeError):
    """The build cannot go on; the message says what to do."""


class BuildState(msgspec.Struct, frozen=True):
    """The newest epoch: what it is of, and how far it has come."""

    epoch: int = 0
    step: Step = "done"
    begin: Mapping[str, int] = {}
    """Position of the source before it."""
    end: Mapping[str, int] = {}
    """And behind it."""
    last: tuple[tuple[str, int, int], ...] = ()
    """Topic, partition and the last offset of each partition that it has records of."""
    parts: int = 1
    """In which its sums are added to the counts."""


class Builder:
    """The one that may write now.

    Args:
        store: of the generation that is built.
        counts: of the same; beside them, so that it goes with them, stands where the build is.
    """

    def __init__(self, store: Store, counts: Counts) -> None:
        self._store = store
        self._token = uuid4().bytes
        self._key = counts.sets.shard_keys(0)[0]

    async def begin(self) -> BuildState:
        """Take the lease, where need be when another one's has run out.

        Raises:
            BuildError: another builder is at work.
        """
        clock = asyncio.get_running_loop().time
        deadline, is_last = clock() + LEASE_MS / 1000 + 1, False
        while (state := await self._call("take")) is None:
            if is_last:
                raise BuildError(
                    "another build writes into this generation of profiles; let it end or stop "
                    "it, then run the command again"
                )
            await asyncio.sleep(LOOK_S)
            # Once more, however long that took: the lease may have run out meanwhile.
            is_last = clock() > deadline
        return state

    async def note(self, state: BuildState) -> None:
        """Write down where the build is.

        Raises:
            BuildError: the lease is another's by now, or was in between.
        """
        if await self._call("hold", msgspec.json.encode(state)) is None:
            raise BuildError(
                "this build was held up for so long that another one has taken over; let that one "
                "end, then run the command again"
            )

    async def _call(self, how: Literal["take", "hold"], *state: bytes) -> BuildState | None:
        ((is_held, held),) = await self._store.run(
            [("build", 1, self._key, self._token, LEASE_MS, how, *state)]
        )
        if not is_held:
            return None
        return msgspec.json.decode(held, type=BuildState) if held else BuildState()

    async def leave(self) -> None:
        """Give the lease back."""
        await self._store.run([("leave", 1, self._key, self._token)])

    async def prolong(self, is_over: asyncio.Event) -> None:
        """Keep the lease until that is set; ends where it is another's."""
        while not is_over.is_set() and await self._call("hold") is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), LEASE_MS / 4000)


@asynccontextmanager
async def the_builder(store: Store, counts: Counts) -> AsyncIterator[tuple[Builder, BuildState]]:
    """The lease, held as long as the context. Raises BuildError where it cannot be had."""
    builder, is_over = Builder(store, counts), asyncio.Event()
    try:
        state = await builder.begin()
        holding = asyncio.create_task(builder.prolong(is_over))
        try:
            yield builder, state
        finally:
            is_over.set()
            await asyncio.gather(holding, return_exceptions=True)
    finally:
        with suppress(RedisError):  # it runs out by itself
            await builder.leave()
