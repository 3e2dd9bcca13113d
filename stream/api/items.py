"""Of one item: what is like it."""

from starlette.requests import Request
from starlette.responses import Response

from serving.similar import LIKENESSES, SimilarItems
from stream.api.bodies import json_response, parameters, path_id, whole_number
from stream.api.operation import Operation
from stream.api.problems import ProblemError
from stream.api.service import Service

COUNT, MOST = 10, 100

ITEM = {
    "name": "item",
    "in": "path",
    "required": True,
    "description": "Item id: at most 256 bytes of UTF-8, percent-encoded, a slash as %2F.",
    "schema": {"type": "string", "minLength": 1},
}


async def similar(request: Request, service: Service) -> Response:
    """What users deal with together, and what the network finds alike."""
    item = path_id(request, "item")
    found = parameters(request, {"count": (), "by": LIKENESSES})
    count = whole_number(found, "count", COUNT, MOST)
    service.parts  # noqa: B018 - says what is missing
    by = tuple(each for each in LIKENESSES if found.get("by", each) == each)
    items = await service.similar.of(item, count, by)
    if items is None:
        raise ProblemError("not-found", "the catalogue has no such item; correct the id")
    return json_response(items)


OPERATIONS = (
    Operation(
        "similarItems",
        "GET",
        "/v1/items/{item}/similar",
        "read",
        "Items like an item",
        "Those that users deal with together with it, and those whose vectors are near in the "
        "network; each tells its sources. Of an item that the network has not learned there are "
        "only the former.",
        similar,
        {200: ("What is like it, the most similar first.", SimilarItems)},
        ("not-found", "unavailable"),
        parameters=(
            ITEM,
            {
                "name": "count",
                "in": "query",
                "description": "Items, at most.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": COUNT},
            },
            {
                "name": "by",
                "in": "query",
                "description": "One source only.",
                "schema": {"type": "string", "enum": list(LIKENESSES)},
            },
        ),
    ),
)
