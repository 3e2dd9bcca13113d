"""Lists that somebody asks for, made by the path of the stream: ``serving.recommend``.

Nothing is learnt from the question, and nothing is published or kept.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from model.events import MAX_QUERY_CHARACTERS, Context, Id, check_id
from serving.narrowed import Shelf, Wanted
from serving.parts import Parts
from serving.recommend import recommend_requests, requests_now
from serving.recommendation import Recommended
from serving.rules import Selector

MOST_ITEMS = 1_000
"""Of a list, and to choose from: pages of a shop's own search."""

Count = Annotated[int, Meta(ge=1, le=MOST_ITEMS)]


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    user_id: Id
    query: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_QUERY_CHARACTERS,
                description="Make the list that this search would get now.",
            ),
        ]
        | None
    ) = None
    items: (
        Annotated[
            tuple[Id, ...],
            Meta(
                max_length=MOST_ITEMS,
                description="Rank these items and no others, such as the hits of the shop's own "
                "search; those that the user has dealt with stay. What is not in the catalogue, "
                "not available or hidden by a rule is left out and named in `left_out`.",
            ),
        ]
        | None
    ) = None
    only: (
        Annotated[
            Selector,
            Meta(description="Only items that this selects, as in a rule (docs/rules.md)."),
        ]
        | None
    ) = None
    count: (
        Annotated[
            Count,
            Meta(
                description="Items on the list, at most: as many as `items` has, else "
                "NEXTCLICK_LIST_LENGTH."
            ),
        ]
        | None
    ) = None
    context: Context | None = None
    current_item: (
        Annotated[str, Meta(description="What the user looks at: it is on no list of its own.")]
        | None
    ) = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The list of this moment."""

    user_id: str
    ts: Annotated[int, Meta(description="When it was made, epoch milliseconds.")]
    bundle: Annotated[str, Meta(description="Version of the model bundle that ranked it.")]
    query: str | None = None
    items: tuple[Recommended, ...]
    left_out: Annotated[
        tuple[str, ...], Meta(description="Of the `items` asked for, those that are not listed.")
    ] = ()
    step_ms: Annotated[
        dict[str, float], Meta(description="Milliseconds the micro-batch spent in each step.")
    ]


def check_question(question: Question) -> None:
    """Raise model.events.ContractError where an id is too long."""
    check_id("user_id", question.user_id)
    for item in question.items or ():
        check_id("items", item)


def fits_with(question: Question) -> int:
    """Questions with the same number can be answered in one micro-batch.

    A shorter list is not always the head of a longer one: what exploration reserves stands at the
    end. Of named items it is.
    """
    if question.items is not None:
        return -1
    return 0 if question.count is None else question.count


def places(parts: Parts, question: Question) -> int:
    """How many items the list may have."""
    if question.count is not None:
        return question.count
    return parts.list_length if question.items is None else max(len(question.items), 1)


async def answer(parts: Parts, shelf: Shelf, questions: Sequence[Question]) -> list[Answer]:
    """The lists of a micro-batch of questions that fit each other: one run of the network.

    Args:
        parts: what to work with.
        shelf: of the parts' catalogue.
        questions: checked, of which ``fits_with`` says the same.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis could not do its part.
        serving.ranker.RankerError: the network could not.
    """
    steps: dict[str, float] = {}
    requests = [
        request._replace(context=question.context, current_item=question.current_item)
        for request, question in zip(
            await requests_now(parts, [(each.user_id, each.query) for each in questions], steps),
            questions,
            strict=True,
        )
    ]
    if parts.policy is not None:
        # What rules hide is offered to nobody.
        parts.policy.catch_up()
    narrowed = shelf.narrow(
        [Wanted(each.items, each.only) for each in questions],
        np.array([each.time for each in requests], np.int64),
        parts.candidates,
    )
    counts = [places(parts, each) for each in questions]
    made = await recommend_requests(
        parts, requests, steps, narrowed=narrowed, length=max(counts, default=None)
    )
    answers: list[Answer] = []
    for each, question, count in zip(made, questions, counts, strict=True):
        items = each.items[:count]
        listed = {item.item_id for item in items} if question.items else set()
        answers.append(
            Answer(
                user_id=each.user_id,
                ts=each.ts,
                bundle=each.bundle,
                query=each.query,
                items=items,
                left_out=tuple(
                    item for item in dict.fromkeys(question.items or ()) if item not in listed
                ),
                step_ms=each.step_ms,
            )
        )
    return answers
