"""The API in a process: uvicorn, until a signal ends it."""

import logging
import sys

import uvicorn

from stream.api.app import build_api
from stream.api.service import Service
from stream.settings import Settings

GRACE_S = 20
"""For requests in work when a signal comes: longer than ``api_timeout_s`` by default."""


def run_api(settings: Settings) -> None:
    """Load what needs no server, and serve until SIGTERM or Ctrl-C; requests in work are ended.

    Raises:
        stream.api.keys.KeysError: the file of keys is at fault.
        SystemExit: bundle, provider or rules are, or the address is taken.
    """
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    service = Service(settings)
    service.load()
    uvicorn.Server(configuration(settings, service)).run()


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
