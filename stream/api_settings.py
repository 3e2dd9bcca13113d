"""The settings of the HTTP API; a part of ``stream.settings``, which reads them."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class ApiSettings(BaseSettings):
    """Where the API and the console are served, and to whom."""

    api_bind: str = Field(
        "127.0.0.1",
        description="Address that the HTTP API is served on: this machine only. Another one needs "
        "`api_keys`.",
    )
    api_port: int = Field(8_080, ge=0, le=65_535, description="Its port; 0 takes a free one.")
    api_keys: Path | None = Field(
        None,
        description="File of the API keys, hashed, one a line (`nextclick api-key` makes them); it "
        "is read again when it changes. Without it, only callers on this machine are served.",
    )
    api_rate: float = Field(
        1_000,
        ge=0,
        le=1_000_000,
        description="Requests a second that one API key may make of one process, unless its line "
        "says otherwise; 0: any number.",
    )
    api_max_body_bytes: int = Field(
        1_048_576, ge=1_024, le=100_000_000, description="Largest body of a request."
    )
    api_max_requests: int = Field(
        1_024,
        ge=1,
        le=100_000,
        description="Requests in work at a time; what comes beyond that is turned away.",
    )
    api_timeout_s: float = Field(
        10, gt=0, le=300, description="A request to the API fails after that."
    )
    console: bool = Field(
        False,
        description="Serve the console too, a page to shop and to watch the stream, at /console/ "
        "(docs/console.md); it is open to whoever may use the API.",
    )
    console_workers: str = Field(
        "",
        description="Where workers serve their metrics, host:port, comma separated: the console "
        "shows what each is doing and on which provider.",
    )
    api_cert_file: Path | None = Field(
        None, description="PEM certificate, where the API is to be served by TLS."
    )
    api_cert_key_file: Path | None = Field(None, description="PEM key of that certificate.")

    @property
    def console_worker_list(self) -> list[str]:
        """The workers that the console shows, as ``host:port`` strings."""
        return [each.strip() for each in self.console_workers.split(",") if each.strip()]
