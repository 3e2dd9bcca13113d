"""From records to profiles: decode, merge into Redis, count what was new."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from model.events import (
    Cart,
    Click,
    ContractError,
    Event,
    EventBase,
    Favorite,
    Forget,
    Purchase,
    Rating,
    Search,
    decode_event,
)
from serving import metrics
from serving.covisits import Admission
from serving.parts import Parts
from serving.profile import pack_interaction, pack_query
from serving.store import MergedProfile, ProfileUpdate, origin


class Record(Protocol):
    """A Kafka record, as aiokafka gives it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(frozen=True)
class Decoded:
    """A record that keeps the contract."""

    record: Record
    event: Event


@dataclass
class ProfileChange:
    """What one micro-batch does to one user's profile, and afterwards what came of it."""

    update: ProfileUpdate
    interactions: list[Decoded] = field(default_factory=list)
    """In the order of ``update.interactions``."""
    item_ids: list[str] = field(default_factory=list)
    """Likewise."""
    merged: MergedProfile | None = None


@dataclass(frozen=True)
class DeadLetter:
    """A record that breaks the contract."""

    record: Record
    error: ContractError


def decode(records: Sequence[Record], now_ms: int) -> tuple[list[Decoded], list[DeadLetter]]:
    """Decode each record once; what breaks the contract is set apart and stops nothing."""
    decoded: list[Decoded] = []
    dead: list[DeadLetter] = []
    for record in records:
        try:
            event = decode_event(record.value, now_ms)
        except ContractError as error:
            metrics.DEAD_LETTERS.labels(error.reason).inc()
            dead.append(DeadLetter(record, error))
            continue
        metrics.EVENTS.labels(type(event).__name__.lower()).inc()
        if record.key is None or record.key != event.user_id.encode():
            metrics.KEY_MISMATCHES.inc()
        decoded.append(Decoded(record, event))
    return decoded, dead


def profile_changes(decoded: Sequence[Decoded]) -> dict[str, ProfileChange]:
    """By user, what the events add to the profile. Impressions and attributes add nothing."""
    changes: dict[str, ProfileChange] = {}

    def change_of(event: EventBase) -> ProfileChange:
        change = changes.get(event.user_id)
        if change is None:
            change = changes[event.user_id] = ProfileChange(ProfileUpdate(event.user_id))
        return change

    for each in decoded:
        match each.event:
            case Click() | Cart() | Favorite() | Rating() | Purchase() as event:
                change = change_of(event)
                record = each.record
                change.update.interactions.append(pack_interaction(event))
                change.update.origins.append(origin(record.topic, record.partition, record.offset))
                change.interactions.append(each)
                change.item_ids.append(event.item_id)
            case Search() as event:
                change_of(event).update.queries.append(pack_query(event))
            case Forget() as event:
                update = change_of(event).update
                update.forget_at = max(event.time, update.forget_at or 0)
            case _:
                pass
    return changes


async def learn(parts: Parts, changes: dict[str, ProfileChange], *, count: bool = True) -> None:
    """Merge the changes into the users' profiles, then add what was new to the shared counts.

    Args:
        parts: where profiles and counts live.
        changes: by user; each gets its merged profile.
        count: False leaves the shared counts alone.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis could not do its part; run it again.
    """
    pending = list(changes.values())
    merged = await parts.store.merge([change.update for change in pending])
    admissions: list[Admission] = []
    for change, profile in zip(pending, merged, strict=True):
        change.merged = profile
        admissions.append(_admission(change, profile))
        if not profile.was_known and (change.update.interactions or change.update.queries):
            metrics.NEW_USERS.inc()
        metrics.UNKNOWN_ITEMS.inc(
            sum(parts.catalog.get(item_id) is None for item_id in change.item_ids)
        )
    given = sum(len(change.interactions) for change in pending)
    metrics.KNOWN_INTERACTIONS.inc(given - sum(len(each.records) for each in admissions))
    if count:
        await parts.counts.add(admissions)


def _admission(change: ProfileChange, merged: MergedProfile) -> Admission:
    new = [
        (each.record, packed)
        for each, packed, is_new in zip(
            change.interactions, change.update.interactions, merged.is_new, strict=True
        )
        if is_new
    ]
    return Admission(
        sources=[f"{record.topic}:{record.partition}" for record, _ in new],
        offsets=[record.offset for record, _ in new],
        records=[packed for _, packed in new],
        admitted=merged.admitted,
        others=merged.profile.interactions,
    )
