"""What one worker process holds: it opens the parts, keeps them fresh, and closes them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiokafka.errors import (
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
from mode import Service
from redis.exceptions import AuthenticationError, AuthorizationError

from model.bundle import Bundle, BundleError, load_bundle
from model.item_vectors import diversity_of
from model.mapping import MappingError
from model.quotas import with_changes
from model.text_encoder import TextEncoderError
from serving import metrics
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.counts import Counts
from serving.execution import ProviderError
from serving.gpu_memory import show_gpu_memory
from serving.new_item_vectors import NewItemVectors
from serving.parts import Parts
from serving.policy import Policy
from serving.ranker import RankerError
from serving.reasons import Telling
from serving.round_trip import Acknowledgement
from serving.rules import NO_RULES, RulesError
from serving.store import Store, StoreError
from serving.timed_ranker import TimedRanker
from serving.vector_cache import VectorCacheError
from serving.why import is_language
from stream.acl import Role
from stream.assignment import Assignment
from stream.catalog_feed import CatalogFeed
from stream.execution import execution_of
from stream.generation_switch import LOOK_S as LOOK_AT_GENERATION_S
from stream.generation_switch import GenerationSwitch
from stream.inputs import read_mappings
from stream.interpreter import multiply_on_one_thread, spare_what_is_loaded, switch_soon
from stream.kafka import TopicError
from stream.kafka_login import LoginError, log_in
from stream.kafka_rights import RightsError, require_rights
from stream.publisher import Publisher
from stream.readiness import Part, Readiness, part_at_fault, wait_out
from stream.redis_client import redis_client
from stream.redis_login import RedisLoginError, log_in_to_redis
from stream.repetition import tell_repetitions_once
from stream.rule_file import LOOK_S, RuleFile
from stream.self_watch import SelfWatch
from stream.settings import Settings, SettingsError
from stream.text_search import search_index
from stream.topic_identity import topic_identity
from stream.tracing import Tracing, open_tracing

logger = logging.getLogger(__name__)

ATTRIBUTION_HOURS = 24
"""By default, unless lists are kept for less."""
STARTING_ERRORS = (
    BundleError, MappingError, ProviderError, RankerError, RulesError, TextEncoderError,
    VectorCacheError,
)  # fmt: skip

REFRESH_POPULAR_S = 5.0
WATCH_KAFKA_S = 5.0
ENCODE_AGAIN_S = 5.0
CLOSE_S = 10.0
WRONG = (
    AuthenticationError, AuthorizationError, AuthenticationFailedError, SaslAuthenticationFailed,
    TopicAuthorizationFailedError, TopicError, RightsError, StoreError, LoginError,
    RedisLoginError,
)  # fmt: skip
"""What no waiting mends: a person has to change a setting, a right, a topic or a version."""

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class Worker(Service):
    """Owns the parts of one process. ``await ready()`` before the first micro-batch.

    ``role`` says what the process does, and what it needs the rights for.
    """

    def __init__(self, settings: Settings, role: Role = "worker") -> None:
        super().__init__()
        self.settings = settings
        self._role = role
        self.assignment = Assignment()
        self.publisher = Publisher(settings)
        self.readiness = Readiness()
        self._watch = SelfWatch(settings, self.readiness, self.assignment)
        self.tracing: Tracing | None = None
        """What traces this worker, once it has started; None where nothing does."""
        self._switch: GenerationSwitch | None = None
        self._feed: CatalogFeed | None = None
        self._rule_file: RuleFile | None = None
        self._opened = asyncio.Event()

    async def ready(self) -> GenerationSwitch:
        """What holds the parts, once all of them are open and the catalogue has been read."""
        await self._opened.wait()
        assert self._switch is not None
        return self._switch

    def load(self) -> Parts:
        """Those of the generation that is live; what needs no server is loaded, unless it is, and
        what is at fault there ends the start."""
        return self._loaded().parts

    def _loaded(self) -> GenerationSwitch:
        if self._switch is None:
            try:
                self._rule_file = rule_file(self.settings)
                parts = build_parts(self.settings, self._rule_file)
            except STARTING_ERRORS as error:
                # A sentence for the person at the terminal; a trace would bury it.
                raise SystemExit(f"nextclick: {error}") from None
            multiply_on_one_thread()
            self._switch = GenerationSwitch(self.settings, parts, self.readiness, self.assignment)
        return self._switch

    async def on_start(self) -> None:
        """Open everything; what cannot come right by waiting stops the start."""
        tell_repetitions_once()
        switch_soon()
        # First: whoever watches sees this worker load and wait.
        self._watch.open()
        try:
            self.tracing = open_tracing(self.settings, "nextclick-worker")
        except SettingsError as error:
            raise SystemExit(f"nextclick: {error}") from None
        switch = self._loaded()
        parts = switch.parts
        self._feed = feed = CatalogFeed(self.settings, parts.catalog, parts.new_item_vectors)
        steps: list[tuple[Part, Callable[[], Awaitable[None]]]] = [
            (Part.REDIS, lambda: log_in_to_redis(self.settings, parts.store.redis)),
            (Part.REDIS, switch.open),
            (Part.KAFKA, lambda: log_in(self.settings)),
            (Part.KAFKA, lambda: require_rights(self.settings, self._role)),
            (Part.KAFKA, self.publisher.start),
            (Part.KAFKA, feed.read_whole),
            (Part.KAFKA, self._name_topics),
            (Part.REDIS, lambda: switch.parts.candidates.refresh_popular()),
        ]
        for part, step in steps:
            if not await self._opens(part, step):
                return
        metrics.PROVIDER.labels(parts.ranker.provider).set(1)
        if self.settings.provider == "cuda":
            show_gpu_memory()
        spare_what_is_loaded()
        self.readiness.open()
        self._opened.set()
        logger.info("nextclick worker ready")

    async def _opens(self, part: Part, step: Callable[[], Awaitable[None]]) -> bool:
        """Whether the step has succeeded, however long it took; False where we are to stop."""
        waiting = wait_out(self.readiness, "start", step, part, raises=_cannot_mend_itself)
        try:
            return not (await self.wait(waiting)).stopped
        except WRONG as error:
            raise SystemExit(f"nextclick: {error}") from error

    async def _name_topics(self) -> None:
        assert self._switch is not None
        for topic in self.settings.source_topics:
            identity = await topic_identity(self.settings, topic)
            self._switch.parts.store.topic_identities[topic] = identity

    async def on_stop(self) -> None:
        """Close everything, in a bounded time."""
        self.readiness.close()
        self._watch.close()
        closing = [self.publisher.stop()]
        if self._feed is not None:
            closing.append(self._feed.stop())
        if self._switch is not None:
            closing.append(self._switch.parts.store.redis.aclose())
        if self.tracing is not None:
            closing.append(asyncio.to_thread(self.tracing.close))
        # What goes wrong now, or takes too long, does no harm: nothing of it is acknowledged.
        # aiokafka's stop() may even end with the cancellation of one of its own tasks.
        tasks = [asyncio.ensure_future(each) for each in closing]
        _, late = await asyncio.wait(tasks, timeout=CLOSE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @Service.task
    async def _follow_catalog(self) -> None:
        await self._opened.wait()
        assert self._feed is not None
        await self._feed.follow()

    @Service.task
    async def _refresh_popular(self) -> None:
        switch = await self.ready()
        while not self.should_stop:
            await self.sleep(REFRESH_POPULAR_S)
            refresh = switch.parts.candidates.refresh_popular
            await wait_out(self.readiness, "popular items", refresh, Part.REDIS)

    @Service.task
    async def _follow_generations(self) -> None:
        switch = await self.ready()
        while not self.should_stop:
            await self.sleep(LOOK_AT_GENERATION_S)
            await wait_out(self.readiness, "live generation", switch.look, Part.REDIS)

    @Service.task
    async def _follow_rules(self) -> None:
        policy, file = (await self.ready()).parts.policy, self._rule_file
        if policy is None or file is None:
            return
        while not self.should_stop:
            await self.sleep(LOOK_S)
            file.reload(policy)

    @Service.task
    async def _encode_texts(self) -> None:
        parts = (await self.ready()).parts
        meaning = parts.catalog.search_index.meaning
        if meaning is None:
            return
        while not (await self.wait(meaning.noted())).stopped:
            many = meaning.pending
            try:
                await meaning.encode_pending()
            except Exception as error:  # a graph of somebody's own may raise anything
                # What is not encoded yet is found by its words, and tried again.
                logger.error("texts cannot be encoded (%s: %s)", type(error).__name__, error)
                await self.sleep(ENCODE_AGAIN_S)
            else:
                logger.debug("%d texts encoded", many)

    @Service.task
    async def _watch_itself(self) -> None:
        await self._watch.run(await self.ready())

    @Service.task
    async def _watch_kafka(self) -> None:
        """An idle worker would not notice that the broker is away."""
        await self.ready()
        while not self.should_stop:
            await self.sleep(WATCH_KAFKA_S)
            await wait_out(self.readiness, "broker watch", self.publisher.ping, Part.KAFKA)


def _secret(settings: Settings) -> bytes:
    secret = settings.user_hash_secret
    return b"" if secret is None else secret.get_secret_value().encode()


def rule_file(settings: Settings) -> RuleFile | None:
    """The file of rules, if there is to be one. Raises serving.rules.RulesError."""
    return None if settings.rules is None else RuleFile(settings.rules)


def _policy(
    settings: Settings, bundle: Bundle, catalog: Catalog, rules: RuleFile | None
) -> Policy | None:
    """What the shop declares about its lists; None where that is nothing."""
    strength = bundle.manifest.diversity if settings.diversity is None else settings.diversity
    diversity = diversity_of(bundle, strength)
    if rules is None and diversity is None:
        return None
    return Policy(catalog, NO_RULES if rules is None else rules.rules, diversity)


def build_store(settings: Settings) -> Store:
    """Profiles and last lists of the first generation, not yet connected."""
    attribution_hours = settings.attribution_hours
    if attribution_hours is None:
        attribution_hours = min(ATTRIBUTION_HOURS, settings.list_ttl_hours)
    return Store(
        redis_client(settings),
        prefix=settings.redis_prefix,
        profile_ttl_ms=settings.profile_ttl_days * DAY_MS,
        list_ttl_ms=settings.list_ttl_hours * HOUR_MS,
        secret=_secret(settings),
        pseudonymous=settings.pseudonymise,
        acknowledgement=Acknowledgement(
            settings.redis_durability,
            settings.redis_replicas,
            timeout_ms=round(settings.redis_timeout_s * 800),
        ),
        cached_profiles=settings.cached_profiles,
        attribution_ms=attribution_hours * HOUR_MS,
    )


def build_counts(settings: Settings, store: Store, bundle: Bundle) -> Counts:
    """The shared counts of a store's generation, as a bundle wants them."""
    manifest = bundle.manifest
    return Counts(
        store,
        shards=settings.count_shards,
        half_life_days=manifest.popularity_half_life_days,
        by_country=with_changes(manifest.quotas, settings.source_quotas).in_country > 0,
    )


def build_parts(settings: Settings, rules: RuleFile | None = None) -> Parts:
    """The parts of the path, not yet connected, on the first generation of profiles and counts.

    ``rules`` is the settings' file, read already. ``serving.generations`` tells which generation is
    live, and ``Parts.of_generation`` gives the parts for it.

    Raises:
        serving.rules.RulesError: the file of rules cannot be used.
        model.mapping.MappingError: a mapping of `inputs` cannot be used.
        model.bundle.BundleError: the bundle is missing, damaged or made for other code, or has no
            graph of the precision asked for.
        serving.execution.ProviderError: the execution provider asked for is not in use.
        model.text_encoder.TextEncoderError: the text encoder asked for cannot be had.
        serving.vector_cache.VectorCacheError: its cache cannot be used.
    """
    bundle = load_bundle(settings.bundle, settings.bundle_public_key)
    ranker = TimedRanker(bundle, execution_of(settings), timeout_s=settings.model_timeout_s)
    catalog = Catalog(bundle.vocabulary, search_index(settings.text_encoder, settings.text_cache))
    store = build_store(settings)
    manifest = bundle.manifest
    quotas = with_changes(manifest.quotas, settings.source_quotas)
    counts = build_counts(settings, store, bundle)
    if rules is None:
        rules = rule_file(settings)
    return Parts(
        bundle=bundle,
        catalog=catalog,
        store=store,
        counts=counts,
        candidates=CandidateSources(
            catalog,
            counts,
            repeat_half_life_days=manifest.blend.repeat_half_life_days,
            quotas=quotas,
            fresh=manifest.fresh,
            bundle=manifest.version if store.attribution_ms else None,
        ),
        ranker=ranker,
        new_item_vectors=(
            NewItemVectors(bundle.tower_path, catalog, ranker.index) if bundle.tower_path else None
        ),
        mappings=read_mappings(settings),
        list_length=settings.list_length,
        max_event_age_ms=settings.max_event_age_s * 1000,
        publish_replayed=settings.publish_replayed,
        policy=_policy(settings, bundle, catalog, rules),
        telling=_telling(settings),
    )


def _telling(settings: Settings) -> Telling:
    named = dict.fromkeys(settings.reason_languages.split(","))
    return Telling(tuple(each for each in named if is_language(each)), settings.explain)


def _cannot_mend_itself(error: Exception) -> bool:
    if isinstance(error, StoreError) and error.__cause__ is not None:
        # Redis has refused our functions: it may be too old for them, or a replica, or full.
        return part_at_fault(error.__cause__) is None
    return isinstance(error, WRONG)
