"""The settings of traces; a part of ``stream.settings``, which reads them."""

from typing import Literal, TypeAlias

from pydantic import Field
from pydantic_settings import BaseSettings

Traces: TypeAlias = Literal["off", "otlp"]


class TraceSettings(BaseSettings):
    """Where spans go, and of how much."""

    traces: Traces = Field(
        "off",
        description="`otlp` sends OpenTelemetry spans (docs/tracing.md; the extra `otel`), and "
        "records carry W3C `traceparent` headers.",
    )
    traces_url: str = Field(
        "http://127.0.0.1:4318/v1/traces",
        pattern=r"^https?://",
        description="Where an OTLP collector takes spans by HTTP.",
    )
    traces_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the traces that begin here that are recorded; one that came with a "
        "record or request goes on as whoever began it decided.",
    )
