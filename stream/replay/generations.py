"""A shadow generation of profiles and counts: built, taken into use, and dropped."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

from model.bundle import load_bundle
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.count_sets import count_pattern, is_of_lists
from serving.generations import GenerationError, Generations, Pointer, is_live_error
from serving.parts import Parts
from serving.ranker import Ranker
from serving.store import Store, profile_pattern
from stream.inputs import read_mappings
from stream.redis_login import log_in_to_redis
from stream.replay.past import Extent, Position
from stream.replay.stored_keys import stored_keys, unlink
from stream.settings import Settings
from stream.topic_identity import topic_identity
from stream.worker import build_counts, build_store

Told = Callable[[str], None]
"""Takes a line for the person who waits."""


class Shadow:
    """A generation that is not live, and how far it has come.

    Args:
        parts: to learn into it; they cannot rank.
        generations: where its positions are kept.
    """

    def __init__(self, parts: Parts, generations: Generations) -> None:
        self.parts = parts
        self._generations = generations

    @property
    def generation(self) -> int:
        """Its number."""
        return self.parts.store.generation

    async def know(self, settings: Settings, topic: str) -> None:
        """Tell the topic from an earlier one of its name, of which positions may be kept.

        Raises:
            BrokerError, TopicError: it cannot be looked at.
        """
        self.parts.store.topic_identities[topic] = await topic_identity(settings, topic)

    async def positions(self) -> dict[str, int]:
        """Where a build goes on, by part (``stream.replay.past.Position``).

        Those of topics that are not known, or were made anew, are left out.
        """
        topics = {identity: name for name, identity in self.parts.store.topic_identities.items()}
        found = {}
        for name, number in (await self._generations.positions(self.generation)).items():
            source, _, part = name.rpartition(":")
            if source in topics or source == "files":
                found[f"{topics.get(source, source)}:{part}"] = number
        return found

    async def expect(self, extent: Extent) -> None:
        """Note what is to be built; `is_built` and ``nextclick replay status`` hold it against the
        positions."""
        named = {self._stored(name): found for name, found in extent.items()}
        await self._generations.expect(self.generation, named)

    async def is_built(self, part: str) -> bool:
        """Whether all that was to be built of a part is in it."""
        name = self._stored(part)
        expected = (await self._generations.expected(self.generation)).get(name)
        if expected is None:
            return False
        positions = await self._generations.positions(self.generation)
        return positions.get(name, expected[0]) >= expected[1]

    async def keep(self, position: Position) -> None:
        """All before this position is merged and counted.

        Raises:
            serving.generations.GenerationError: the generation is live or dropped; stop.
        """
        await self._generations.keep(
            self.generation, {self._stored(name): number for name, number in position.items()}
        )

    def _stored(self, name: str) -> str:
        topic, _, part = name.rpartition(":")
        return f"{self.parts.store.topic_identities.get(topic, topic)}:{part}"


def learning_parts(settings: Settings) -> Parts:
    """The parts of a process that learns and makes no lists, on the first generation.

    Raises:
        model.bundle.BundleError: the bundle is missing or damaged; it says how counts decay.
        model.mapping.MappingError: a mapping of `inputs` cannot be used.
    """
    bundle = load_bundle(settings.bundle, settings.bundle_public_key)
    store, catalog = build_store(settings), Catalog(bundle.vocabulary)
    counts = build_counts(settings, store, bundle)
    return Parts(
        bundle=bundle,
        catalog=catalog,
        store=store,
        counts=counts,
        candidates=CandidateSources(
            catalog, counts, repeat_half_life_days=bundle.manifest.blend.repeat_half_life_days
        ),
        ranker=cast(Ranker, None),
        mappings=read_mappings(settings),
        list_length=settings.list_length,
        max_event_age_ms=settings.max_event_age_s * 1000,
        publish_replayed=False,
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Parts, Generations]]:
    """Parts on the first generation, connected, and what tells of all the others."""
    parts = learning_parts(settings)
    try:
        await log_in_to_redis(settings, parts.store.redis)
        await parts.store.open()
        yield parts, Generations(parts.store)
    finally:
        await parts.store.redis.aclose()


@asynccontextmanager
async def open_shadow(settings: Settings, topics: Sequence[str] = ()) -> AsyncIterator[Shadow]:
    """The generation that is being built; a new one where there is none.

    Args:
        settings: of Redis, of the bundle, and of the brokers where topics are named.
        topics: that are to be read into it.

    Raises:
        model.bundle.BundleError, BrokerError, TopicError: what is named cannot be used.
        redis.RedisError, serving.store.StoreError: Redis is away.
    """
    async with opened(settings) as (parts, generations):
        shadow = Shadow(parts.for_past(await generations.begin()), generations)
        for topic in topics:
            await shadow.know(settings, topic)
        yield shadow


class Dropped(NamedTuple):
    """What a drop has deleted, or would delete."""

    generation: int
    profiles: int
    counts: int
    """Keys of the shared counts."""


async def drop(
    settings: Settings,
    generation: int,
    *,
    dry_run: bool = False,
    told: Told = lambda line: None,
) -> Dropped:
    """Delete a generation that is not live; go on with it where that broke off.

    Args:
        settings: of Redis and the bundle.
        generation: its number.
        dry_run: only count what would be deleted.
        told: takes lines for the person who waits.

    Raises:
        GenerationError: it is live, or there is nothing of it.
    """
    async with opened(settings) as (parts, generations):
        pointer = await generations.read()
        if generation == pointer.live:
            raise is_live_error(generation)
        if not dry_run:
            # First: whoever builds it stops at the next checkpoint.
            await generations.remove(generation)
        done = await delete(parts.store, generation, dry_run=dry_run, told=told)
        if generation not in pointer.made and not (done.profiles or done.counts):
            raise unknown_generation_error(pointer, generation)
        return done


def unknown_generation_error(pointer: Pointer, generation: int) -> GenerationError:
    """What to say of a number that is none."""
    return GenerationError(
        f"there is no generation {generation}; there are these: {pointer.told()}; see `nextclick "
        "replay status`"
    )


def other_generation(pointer: Pointer, asked: int | None) -> int:
    """The one to hold against the live one: as asked for, or the shadow, or the previous one.

    Raises:
        GenerationError: there is no such one, or it is the live one itself.
    """
    if asked is not None:
        if asked not in pointer.made:
            raise unknown_generation_error(pointer, asked)
        if asked == pointer.live:
            raise GenerationError(
                f"generation {asked} is the live one, which is what others are compared with; name "
                f"another: {pointer.told()}"
            )
        return asked
    other = pointer.previous if pointer.building is None else pointer.building
    if other is None:
        raise GenerationError(
            f"generation {pointer.live} is live, and there is no other one to compare it "
            "with; build a shadow with `nextclick replay ... --into shadow`"
        )
    return other


async def delete(
    store: Store, generation: int, *, dry_run: bool = False, told: Told = lambda line: None
) -> Dropped:
    """Delete the keys of a generation, or only count them. Raises redis.RedisError."""
    deleted = [0, 0]
    patterns = profile_pattern(store.prefix, generation), count_pattern(store.prefix, generation)
    for which, pattern in enumerate(patterns):
        async for keys in stored_keys(store.redis, pattern):
            own = keys if which == 0 else [key for key in keys if not is_of_lists(key)]
            deleted[which] += len(own) if dry_run else await unlink(store.redis, own)
            told(f"{sum(deleted):,} keys {'counted' if dry_run else 'deleted'}")
    return Dropped(generation, *deleted)


def pointer_as_json(pointer: Pointer) -> dict[str, Any]:
    """For machines."""
    return pointer._asdict() | {"made": sorted(pointer.made)}
