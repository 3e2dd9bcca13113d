"""What comes in and goes out: bodies of bounded size and time, parameters, JSON."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from model.events import ContractError, check_id
from stream.api.problems import ProblemError
from stream.settings import Settings

T = TypeVar("T")

JSON = "application/json"
BODY_SHARE = 0.5
"""Of the time of a request, what its body may take."""
_encoder = msgspec.json.Encoder()


async def read_body(request: Request, settings: Settings) -> bytes:
    """The JSON body of a request, not decoded.

    Raises:
        ProblemError: it is not declared as JSON, too large, or too slow.
    """
    # A web page can send other types to any address without asking first (CORS).
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise ProblemError("not-json", f"send the header `Content-Type: {JSON}`")
    most_bytes, timeout_s = settings.api_max_body_bytes, settings.api_timeout_s * BODY_SHARE
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise _too_large(most_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most_bytes:
                    raise _too_large(most_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise ProblemError(
            "too-slow", f"send the whole body within {timeout_s:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise ProblemError("malformed", "the body ended before its length") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most_bytes: int) -> ProblemError:
    return ProblemError(
        "too-large",
        f"send at most {most_bytes} bytes at once, or raise NEXTCLICK_API_MAX_BODY_BYTES",
        # What is left of it is not read.
        {"Connection": "close"},
    )


def decode_body(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """The body as a decoder wants it. Raises ProblemError where it is not."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ProblemError("breaks-contract", str(error), reason="invalid") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError("malformed", f"the body is no JSON: {error}") from None


def path_id(request: Request, field: str) -> str:
    """An id that stands in the path, percent-encoded where it needs be, a slash too.

    Raises:
        ProblemError: it is no id.
    """
    try:
        found = unquote_to_bytes(request.path_params[field]).decode()
        check_id(field, found)
    except UnicodeDecodeError:
        raise ProblemError(
            "malformed", f"`{field}` in the path is no UTF-8; percent-encode its bytes"
        ) from None
    except ContractError as error:
        raise ProblemError("malformed", str(error), reason=error.reason) from None
    return found


def parameters(request: Request, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The parameters behind the path, each once; of one that is known only some values may be.

    Raises:
        ProblemError: one is unknown, stands there twice or has another value.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            expected = ", ".join(f"`{each}`" for each in known) or "none"
            raise ProblemError("malformed", f"unknown parameter; expected: {expected}")
        if name in found:
            raise ProblemError("malformed", f"the parameter `{name}` stands there twice")
        if known[name] and value not in known[name]:
            raise ProblemError("malformed", f"`{name}` has to be one of {', '.join(known[name])}")
        found[name] = value
    return found


def whole_number(found: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A parameter from 1 to ``most``. Raises ProblemError where it is something else."""
    text = found.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise ProblemError("malformed", f"`{name}` has to be a whole number from 1 to {most}")
    return int(text)


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON; bytes are JSON already."""
    body = value if isinstance(value, bytes) else _encoder.encode(value)
    return Response(body, status, media_type=JSON)
