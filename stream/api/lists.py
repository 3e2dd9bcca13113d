"""Lists on demand."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from model.events import ContractError
from serving.on_demand import Answer, Question, check_question
from stream.api.bodies import decode_body, json_response, parameters, read_body
from stream.api.operation import Operation
from stream.api.problems import ProblemError
from stream.api.service import Service

_decoder = msgspec.json.Decoder(Question)


async def recommend(request: Request, service: Service) -> Response:
    """One question, answered together with those that others ask meanwhile."""
    parameters(request, {})
    question = decode_body(_decoder, await read_body(request, service.settings))
    try:
        check_question(question)
    except ContractError as error:
        raise ProblemError("breaks-contract", str(error), reason=error.reason) from None
    answer: Answer = await service.batcher.ask(question)
    return json_response(answer)


OPERATIONS = (
    Operation(
        "recommend",
        "POST",
        "/v1/recommendations",
        "recommend",
        "A list on demand",
        "The list that the user would get now, from live state; nothing is published, kept or "
        "learnt. With `items` it ranks those, so that a shop can order the hits of its own search.",
        recommend,
        {200: ("The list.", Answer)},
        ("breaks-contract", "unavailable"),
        body=Question,
    ),
)
