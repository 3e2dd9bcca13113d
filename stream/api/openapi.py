"""The description of the API, OpenAPI 3.1, made of its operations and of the contracts' types."""

from collections.abc import Sequence
from typing import Any

import msgspec

from stream.api.operation import Operation
from stream.api.problems import MEDIA_TYPE, STATUSES, ProblemDetails

REFERENCE = "#/components/schemas/{name}"
TEXT = "text/plain"
KEY = "key"


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document."""
    types = [each.body for each in operations if each.body is not None]
    types += [kind for each in operations for _, kind in each.answers.values() if kind is not None]
    types.append(ProblemDetails)
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    of_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each, of_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nextclick",
            "version": "1.0.0",
            "description": "Lists, similar items and events over HTTP; docs/api.md tells more.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                KEY: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key that `nextclick api-key` has made; none is needed where "
                    "NEXTCLICK_API_KEYS names no file, and then only this machine is served.",
                }
            },
        },
    }


def _described(operation: Operation, of_type: dict[int, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, (sentence, kind) in operation.answers.items():
        content = (
            {TEXT: {"schema": {"type": "string"}}}
            if kind is None
            else {"application/json": {"schema": of_type[id(kind)]}}
        )
        responses[str(status)] = {"description": sentence, "content": content}
    problem = {"schema": of_type[id(ProblemDetails)]}
    for name in operation.every_problem:
        status, title = STATUSES[name]
        found = responses.setdefault(str(status), {"description": f"{title}.", "content": {}})
        if f"{title}." not in found["description"]:
            found["description"] += f" Or: {title[0].lower()}{title[1:]}."
        found["content"][MEDIA_TYPE] = problem
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.about
        + (f" Needs the scope `{operation.scope}`." if operation.scope else ""),
        "security": [] if operation.scope is None else [{KEY: []}],
        "responses": dict(sorted(responses.items())),
    }
    if operation.parameters:
        described["parameters"] = [dict(each) for each in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": of_type[id(operation.body)]}},
        }
    return described
