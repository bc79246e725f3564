"""Traces from a webhook to its deliveries, for OpenTelemetry; off unless ``[bridge] traces`` names a collector.

The trace travels as W3C ``traceparent`` text with the rows: webhook → inbox → ledger → result, also over a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import ConfigError

if TYPE_CHECKING:
    import httpx

    from ..config import Bridge
    from .batch import Row

Note = Callable[..., None]
Span = AbstractContextManager[Note]
INSTALL: Final = "[bridge] traces: OpenTelemetry is not installed; pip install 'rmabridge[otel]', or remove the setting"


class Traces(Protocol):
    """What is told of: each is a span while its block runs, and yields a function that notes more on it."""

    def webhook(self, account: str, headers: Mapping[str, str]) -> Span:
        """A verified webhook is put on disk; the sender's ``traceparent`` is followed."""

    def routed(self, row: Row) -> Span:
        """An inbox row is folded into its case."""

    def policies(self, event: str, trace: str | None) -> Span:
        """The policies are asked; what is noted is a policy's name and the type of what it proposed."""

    def delivery(self, row: Any, name: str = "deliver") -> Span:
        """A ledger row is carried out or looked up."""

    def call(self, request: httpx.Request) -> Span:
        """One request to a vendor; told of only inside another span."""

    def here(self) -> str | None:
        """The ``traceparent`` of the span that is open now."""

    def close(self) -> None:
        """Send what is not sent yet; this may take seconds."""


def _nothing(*_: str, **__: object) -> None:
    pass


SILENCE: Final[Span] = nullcontext(_nothing)


class Silent:
    """Traces of nothing: one shared block, and OpenTelemetry is never imported."""

    def webhook(self, account: str, headers: Mapping[str, str]) -> Span:
        """Nothing."""
        return SILENCE

    def routed(self, row: Row) -> Span:
        """Nothing."""
        return SILENCE

    def policies(self, event: str, trace: str | None) -> Span:
        """Nothing."""
        return SILENCE

    def delivery(self, row: Any, name: str = "deliver") -> Span:
        """Nothing."""
        return SILENCE

    def call(self, request: httpx.Request) -> Span:
        """Nothing."""
        return SILENCE

    def here(self) -> str | None:
        """No trace."""
        return None

    def close(self) -> None:
        """Nothing to send."""


OFF: Final[Traces] = Silent()


def traces_of(settings: Bridge) -> Traces:
    """As the settings say; raises ``ConfigError`` where traces are asked for and OpenTelemetry is missing."""
    if not settings.traces:
        return OFF
    try:
        from .spans import Spans, collector

        return Spans(collector(settings.traces), told=settings.trace_calls)
    except ImportError as error:
        raise ConfigError(INSTALL) from error
