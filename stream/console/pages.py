"""The files of the page, as they are: no build, nothing from elsewhere, no script in the markup."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from stream.api.callers import authorise
from stream.api.service import Service

FOLDER = Path(__file__).parent / "static"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content of the catalogue and of events may say what it likes: no browser runs it."""
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}


class Pages(StaticFiles):
    """Serves them to whoever may read.

    Args:
        service: whose keys hold.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(directory=FOLDER, html=True)
        self._service = service

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file of the page."""
        authorise(Request(scope), self._service, "read", "Basic")
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
