"""The whole path, from records to lists, in one function: ``recommend``.

Its two halves, ``prepare`` and ``decide``, wait for different parts, so that a worker has the first
half of one micro-batch under way beside the second half of the one before (``stream.agents``).

Nothing here acknowledges anything: the caller does, once the lists are delivered. Every effect
may be repeated, so a failed micro-batch is simply run again.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.cold_items import NearestCold
from model.features import PADDING, NetworkInputs
from serving import metrics
from serving.candidates import CandidateTable
from serving.intake import DeadLetter, decode
from serving.learning import current_profiles, learn
from serving.leave_one_out import with_losses
from serving.list_request import ListRequest, RequestTable
from serving.narrowed import Narrowed
from serving.parts import Parts
from serving.profile import Profile, pack_query
from serving.ranker import Scores
from serving.recommendation import (
    AsOf,
    Recommendation,
    Recommended,
    encode_recommendation,
    recommendation_id,
)
from serving.record import Record
from serving.requests import list_requests, search_now
from serving.rerank import rerank

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a micro-batch came to: all of it must be delivered before it is acknowledged."""

    lists: list[Recommendation]
    dead_letters: list[DeadLetter]

    @cached_property
    def encoded_lists(self) -> list[bytes]:
        """The JSON bytes of each list, for the topic and for Redis."""
        return [encode_recommendation(each) for each in self.lists]


@dataclass(frozen=True)
class Prepared:
    """A micro-batch whose events are learnt, and the candidates of the lists that it asks for."""

    requests: RequestTable
    candidates: CandidateTable | None
    """None where no list is asked for."""
    dead_letters: list[DeadLetter]
    steps: dict[str, float]
    """Seconds spent in each step so far."""


async def recommend(
    parts: Parts, records: Sequence[Record], steps: dict[str, float] | None = None
) -> Outcome:
    """Run a micro-batch through the whole path.

    Args:
        parts: what to work with.
        records: of one or several partitions, in offset order within each.
        steps: where the seconds of each step are told as it ends; None: only in lists and metrics.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis could not do its part; run it again.
        serving.ranker.RankerError: the network could not.
    """
    return await decide(parts, await prepare(parts, records, steps))


async def prepare(
    parts: Parts, records: Sequence[Record], steps: dict[str, float] | None = None
) -> Prepared:
    """The first half, in which Redis is waited for: all that has to happen in the order of events.

    Args and errors are those of ``recommend``. What comes after these records may be prepared when
    this has returned, and not before: counts rely on it.
    """
    steps = {} if steps is None else steps
    metrics.BATCH_EVENTS.observe(len(records))

    with _timed(steps, "decode"):
        decoded, dead_letters = decode(records, parts.now_ms(), parts.mappings)

    with _timed(steps, "profiles"):
        async with parts.learning:
            learned = await learn(parts, decoded)

    requests = list_requests(parts, decoded, learned)
    if not requests:
        return Prepared(requests, None, dead_letters, steps)
    if parts.policy is not None:
        # What is hidden is no candidate.
        parts.policy.catch_up()
    with _timed(steps, "candidates"):
        candidates = await parts.candidates.gather(requests)
    return Prepared(requests, candidates, dead_letters, steps)


async def decide(parts: Parts, prepared: Prepared) -> Outcome:
    """The second half, in which the network is waited for. Raises serving.ranker.RankerError."""
    lists: list[Recommendation] = []
    if prepared.candidates is not None:
        lists = await _make_lists(parts, prepared.requests, prepared.candidates, prepared.steps)
    return Outcome(lists, prepared.dead_letters)


async def _make_lists(
    parts: Parts,
    requests: RequestTable,
    candidates: CandidateTable,
    steps: dict[str, float],
    narrowed: Narrowed | None = None,
    length: int | None = None,
) -> list[Recommendation]:
    """The list of each request: one run of the network, rules and reasons."""
    metrics.BATCH_LISTS.observe(len(requests))
    is_candidate = candidates.cells
    padded = np.full(is_candidate.shape, PADDING, np.int64)
    padded[is_candidate] = parts.catalog.model_rows[candidates.pool.rows]
    if narrowed is not None:
        padded = np.hstack([padded, narrowed.model_rows])
    with _timed(steps, "rank"):
        # Here, not beside the run: two threads of Python wait for each other's turns.
        features = parts.ranker.features_of(requests)
        item_bias, edition = parts.catalog.item_bias, parts.catalog.bias_edition
        scores, new = await parts.ranker.beside(
            lambda: _scored(parts, features, padded, item_bias, edition), len(padded)
        )

    best = scores.top_scores[:, :1]
    metrics.TOP_SCORES.observe(best[np.isfinite(best)])  # an index may find none

    with _timed(steps, "rerank"):
        final = _final_lists(parts, requests, candidates, scores, new, narrowed, length)
    if parts.telling.explain == "leave_one_out":
        with _timed(steps, "explain"):
            final = await with_losses(parts, requests, final)

    # Of a filter that selects nothing a list is empty, and nothing is wrong.
    if narrowed is None and (empty := sum(not items for items in final)):
        metrics.EMPTY_LISTS.inc(empty)
        logger.warning("%d empty lists: the catalogue has no item that may be recommended", empty)
    spent = {step: round(seconds * 1000, 3) for step, seconds in steps.items()}
    version = parts.bundle.manifest.version
    return [
        Recommendation(
            rec_id=recommendation_id(parts.store.name_of(request.user_id), request.as_of, version),
            user_id=request.user_id,
            event_id=request.event_id,
            ts=request.time,
            as_of=request.as_of,
            bundle=version,
            query=request.query,
            items=items,
            step_ms=spent,
        )
        for request, items in zip(requests, final, strict=True)
    ]


async def recommend_user(parts: Parts, user_id: str, query: str | None = None) -> Recommendation:
    """The list of one user at this moment, from the stored profile; nothing is published.

    With a query it is the list that a search of this moment would get.

    Raises:
        model.events.ContractError: no user can have this id, or no search this query.
        redis.RedisError, serving.store.StoreError: Redis could not do its part.
        serving.ranker.RankerError: the network could not.
    """
    steps: dict[str, float] = {}
    return await recommend_request(parts, await request_now(parts, user_id, query, steps), steps)


async def request_now(
    parts: Parts, user_id: str, query: str | None, steps: dict[str, float]
) -> ListRequest:
    """What ``recommend_user`` makes a list for; its time goes into ``steps``. Raises as it does."""
    (request,) = await requests_now(parts, [(user_id, query)], steps)
    return request


async def requests_now(
    parts: Parts, asked: Sequence[tuple[str, str | None]], steps: dict[str, float]
) -> list[ListRequest]:
    """The same of several users, each with the query of a search or None; one trip to Redis."""
    now = parts.now_ms()
    with _timed(steps, "profiles"):
        profiles = await current_profiles(parts, [user for user, _ in asked])
    requests: list[ListRequest] = []
    for (user, query), profile in zip(asked, profiles, strict=True):
        request = ListRequest(user, "", now, AsOf("", 0, -1), profile)
        if query is not None:
            searched = profile.merge(Profile(queries=pack_query(search_now(user, query, now))))
            request = request._replace(profile=searched, query=query, searched_until=now)
        requests.append(request)
    return requests


async def recommend_request(
    parts: Parts, request: ListRequest, steps: dict[str, float]
) -> Recommendation:
    """The list of one request, which took ``steps`` so far; nothing is published.

    Raises as ``recommend_user`` does, contract aside.
    """
    return (await recommend_requests(parts, [request], steps))[0]


async def recommend_requests(
    parts: Parts,
    requests: Sequence[ListRequest],
    steps: dict[str, float],
    *,
    narrowed: Narrowed | None = None,
    length: int | None = None,
) -> list[Recommendation]:
    """The same of several requests: one run of the network.

    Args:
        parts: what to work with.
        requests: of one or several users.
        steps: seconds spent so far.
        narrowed: what each list may hold; None: anything.
        length: of a list, at most; None: that of the settings.
    """
    asked = RequestTable(requests)
    if parts.policy is not None:
        # The catalogue may have been read after the rules: what they hide is hidden from sources.
        parts.policy.catch_up()
    with _timed(steps, "candidates"):
        candidates = await parts.candidates.gather(asked)
    return await _make_lists(parts, asked, candidates, steps, narrowed, length)


def _scored(
    parts: Parts,
    features: NetworkInputs,
    padded: NDArray[np.int64],
    item_bias: NDArray[np.float32],
    bias_edition: int,
) -> tuple[Scores, NearestCold | None]:
    """What the network says, and the nearest of the items that it has not learned."""
    scores = parts.ranker.score(features, padded, item_bias, bias_edition)
    vectors = parts.new_item_vectors
    return scores, None if vectors is None else vectors.nearest(scores)


def _final_lists(
    parts: Parts,
    requests: RequestTable,
    candidates: CandidateTable,
    scores: Scores,
    new: NearestCold | None,
    narrowed: Narrowed | None,
    length: int | None,
) -> list[tuple[Recommended, ...]]:
    own = None
    if narrowed is not None:
        # What was asked beside the candidates stands behind them.
        width = candidates.cells.shape[1]
        own = scores.candidate_scores[:, width:]
        scores = replace(scores, candidate_scores=scores.candidate_scores[:, :width])
    most = parts.candidates.quotas.nearest
    nearest = parts.catalog.rows_of_model(scores.top_rows[:, :most])
    nearest_scores = scores.top_scores[:, :most]
    if parts.new_item_vectors is None or new is None:
        candidate_scores = scores.candidate_scores[candidates.cells]
    else:
        candidate_scores = parts.new_item_vectors.scores(candidates, scores)
        nearest = np.hstack([nearest, new.rows[:, :most]])
        nearest_scores = np.hstack([nearest_scores, new.scores[:, :most]])
    if narrowed is not None and own is not None:
        if parts.new_item_vectors is not None:
            own = parts.new_item_vectors.scores_of(narrowed.offered, own, scores)
        nearest, nearest_scores = narrowed.joined(nearest, nearest_scores, own)
    return rerank(
        requests,
        candidates,
        candidate_scores,
        nearest,
        nearest_scores,
        parts.candidates.nearest_popularity(candidates, nearest),
        catalog=parts.catalog,
        weights=parts.bundle.manifest.blend,
        repeats_allowed=parts.bundle.manifest.repeats_allowed,
        length=parts.list_length if length is None else length,
        policy=parts.policy,
        telling=parts.telling,
        narrowed=narrowed,
    )


@contextmanager
def _timed(steps: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    steps[step] = time.perf_counter() - start
    metrics.STEP_SECONDS.labels(step).observe(steps[step])
