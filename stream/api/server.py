"""The API in a process: uvicorn, until a signal ends it."""

import logging
import socket
import sys

import uvicorn

from stream.api.app import build_api
from stream.api.service import Service
from stream.cli_output import MENDABLE
from stream.settings import Settings
from stream.worker_process import stop_without_owner

GRACE_S = 20
"""For requests in work when a signal comes: longer than ``api_timeout_s`` by default."""


def run_api(settings: Settings, *, follow_owner: bool = False) -> None:
    """Load what needs no server, and serve until SIGTERM or Ctrl-C; requests in work are ended.

    Raises:
        stream.api.keys.KeysError: the file of keys is at fault.
        SystemExit: bundle, provider or rules are, the address is taken, or a server refuses us.
    """
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    if follow_owner:
        stop_without_owner()
    service = Service(settings)
    service.load()
    ApiServer(service).run()
    if service.refusal is not None:
        sys.stderr.write(f"{service.refusal}\n")
        sys.exit(MENDABLE)


class ApiServer(uvicorn.Server):
    """Serves until a signal; answers that would go on for ever end then.

    Args:
        service: loaded.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(configuration(service.settings, service))
        self._endless = service.endless
        service.give_up = self._give_up

    def _give_up(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is in work come to its end."""
        for end in self._endless:
            end()
        await super().shutdown(sockets)


def configuration(settings: Settings, service: Service) -> uvicorn.Config:
    """How uvicorn serves the API."""
    return uvicorn.Config(
        build_api(service),
        host=settings.api_bind,
        port=settings.api_port,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        # A path names a user.
        access_log=False,
        server_header=False,
        # Whoever says so in a header is not believed.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=settings.api_cert_file,
        ssl_keyfile=None if settings.api_cert_key_file is None else str(settings.api_cert_key_file),
    )
