"""The whole path, from records to lists, in one function: ``recommend``.

Nothing here acknowledges anything: the caller does, once the lists are delivered. Every effect
may be repeated, so a failed micro-batch is simply run again.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from serving import metrics
from serving.candidates import Candidates, ListRequest
from serving.intake import DeadLetter, Record, decode
from serving.learning import current_profile, learn
from serving.parts import Parts
from serving.ranker import Scores
from serving.recommendation import AsOf, Recommendation, Recommended, recommendation_id
from serving.requests import list_requests
from serving.rerank import rerank
from serving.waves import in_waves

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a micro-batch came to: all of it must be delivered before it is acknowledged."""

    lists: list[Recommendation]
    dead_letters: list[DeadLetter]


async def recommend(parts: Parts, records: Sequence[Record]) -> Outcome:
    """Run a micro-batch through the whole path.

    Args:
        parts: what to work with.
        records: of one or several partitions, in offset order within each.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis could not do its part; run it again.
    """
    steps: dict[str, float] = {}
    metrics.BATCH_EVENTS.observe(len(records))

    with _timed(steps, "decode"):
        decoded, dead_letters = decode(records, parts.now_ms())

    with _timed(steps, "profiles"):
        learned = await learn(parts, in_waves(decoded, parts.store.source))

    requests = list_requests(parts, decoded, learned)
    lists = await make_lists(parts, requests, steps) if requests else []
    return Outcome(lists, dead_letters)


async def make_lists(
    parts: Parts, requests: list[ListRequest], steps: dict[str, float]
) -> list[Recommendation]:
    """The list of each request: candidates, one run of the network, rules and reasons."""
    with _timed(steps, "candidates"):
        candidates = await parts.candidates.gather(requests)

    with _timed(steps, "rank"):
        scores = await asyncio.to_thread(
            parts.ranker.rank,
            [request.history for request in requests],
            [parts.catalog.model_rows[found.rows] for found in candidates],
            parts.catalog.item_bias,
        )

    with _timed(steps, "rerank"):
        final = [
            _final_list(parts, request, candidates[at], scores, at)
            for at, request in enumerate(requests)
        ]

    if empty := sum(not items for items in final):
        metrics.EMPTY_LISTS.inc(empty)
        logger.warning("%d empty lists: the catalogue has no item that may be recommended", empty)
    spent = {step: round(seconds * 1000, 3) for step, seconds in steps.items()}
    return [
        _recommendation(parts, request, items, spent)
        for request, items in zip(requests, final, strict=True)
    ]


async def recommend_user(parts: Parts, user_id: str) -> Recommendation:
    """The list of one user at this moment, from the stored profile; nothing is published."""
    profile = await current_profile(parts, user_id)
    request = ListRequest(
        user_id=user_id,
        event_id="",
        time=parts.now_ms(),
        as_of=AsOf("", 0, -1),
        history=profile.history(),
        purchases=profile.bought(),
    )
    return (await make_lists(parts, [request], {}))[0]


def _final_list(
    parts: Parts, request: ListRequest, candidates: Candidates, scores: Scores, at: int
) -> tuple[Recommended, ...]:
    nearest = parts.catalog.rows_of_model(scores.top_rows[at])
    return rerank(
        request,
        candidates,
        scores.candidate_scores[at, : len(candidates.rows)],
        nearest,
        scores.top_scores[at],
        parts.candidates.popularity(nearest, request.time),
        catalog=parts.catalog,
        weights=parts.bundle.manifest.blend,
        repeats_allowed=parts.bundle.manifest.repeats_allowed,
        length=parts.list_length,
    )


def _recommendation(
    parts: Parts,
    request: ListRequest,
    items: tuple[Recommended, ...],
    step_ms: dict[str, float],
) -> Recommendation:
    version = parts.bundle.manifest.version
    return Recommendation(
        rec_id=recommendation_id(request.user_id, request.as_of, version),
        user_id=request.user_id,
        event_id=request.event_id,
        ts=request.time,
        as_of=request.as_of,
        bundle=version,
        query=request.query,
        items=items,
        step_ms=step_ms,
    )


@contextmanager
def _timed(steps: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    steps[step] = time.perf_counter() - start
    metrics.STEP_SECONDS.labels(step).observe(steps[step])
