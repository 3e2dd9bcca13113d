"""Every operation with what schemathesis makes of its description: no fault, and nothing but what
the description says."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as effort
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from stream.api.app import OPERATIONS
from stream.api.openapi import openapi
from stream.api.problems import STATUSES
from stream.documents import FOLDER
from stream.embedded_redis import free_port as any_free_port
from stream.settings import Settings
from tests.api_client import prepare, serving, write_keys

EXAMPLES = 25
"""Of each operation."""
CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
]
DOCUMENT = openapi(OPERATIONS)
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def served(
    stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where a whole API is served, with what a caller of all scopes sends."""
    asyncio.run(prepare(stream_settings))
    keys: Path = tmp_path_factory.mktemp("keys") / "keys"
    headers = write_keys(keys, everything="read,recommend,write,forget")["everything"]
    changes = {"api_keys": keys, "api_port": any_free_port(), "api_rate": 0}
    settings = stream_settings.model_copy(update=changes)
    log = keys.with_name("log")
    # Not in a thread of this process: its random numbers would not be Hypothesis' own.
    with serving(settings, log) as url:
        yield url, headers
    assert "Traceback" not in log.read_text()
    assert " failed: " not in log.read_text()


@schema.parametrize()
@effort(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_the_description(
    case: schemathesis.Case[Any], served: tuple[str, dict[str, str]]
) -> None:
    url, headers = served
    case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)


def test_every_operation_is_fuzzed() -> None:
    found = {each.ok().label for each in schema.get_all_operations() if isinstance(each, Ok)}
    assert found == {f"{each.method} {each.path}" for each in OPERATIONS}


def test_the_description_refers_to_nothing_that_is_not_there() -> None:
    text = json.dumps(DOCUMENT)
    for part in text.split('"$ref": "')[1:]:
        name = part.partition('"')[0].removeprefix("#/components/schemas/")
        assert name in DOCUMENT["components"]["schemas"]


def test_the_page_tells_every_operation_and_problem() -> None:
    page = (FOLDER / "api.md").read_text(encoding="utf-8")
    for each in OPERATIONS:
        assert f"`{each.method} {each.path}`" in page
    rows = {line for line in page.splitlines() if line.startswith("| `")}
    for kind, (status, _) in STATUSES.items():
        assert any(f"`{kind}`" in row and row.endswith(f"| {status} |") for row in rows)
