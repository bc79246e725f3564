"""Traces as OpenTelemetry spans. Attributes name accounts, types, cases and outcomes, never anything of a person."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..model import Settled
from .traces import SILENCE, Note, Span

if TYPE_CHECKING:
    import httpx
    from opentelemetry.sdk.trace.export import SpanExporter

    from .batch import Row

PATH: Final = "/v1/traces"
PATIENCE: Final = 5.0  # a collector that does not answer must not hold up a drain for long
BAD: Final = frozenset({"dead", "uncertain", "unauthorised"})
HEADER: Final = "traceparent"
# What OpenTelemetry's own conventions have a name for.
COMMON: Final = {"method": "http.request.method", "host": "server.address", "status": "http.response.status_code"}
W3C: Final = TraceContextTextMapPropagator()


def collector(url: str) -> SpanExporter:
    """Sends to a collector by OTLP over HTTP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    made: SpanExporter = OTLPSpanExporter(url.rstrip("/").removesuffix(PATH) + PATH, timeout=PATIENCE)
    return made


class Spans:
    """``Traces`` that are recorded. ``told``: requests to vendors carry the ``traceparent``."""

    def __init__(self, exporter: SpanExporter, *, told: bool = False) -> None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "rmabridge")})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer, self._told = self._provider.get_tracer("rmabridge"), told

    def webhook(self, account: str, headers: Mapping[str, str]) -> Span:
        """A verified webhook is put on disk; the sender's ``traceparent`` is followed."""
        return self._span("ingest", headers.get(HEADER), SpanKind.SERVER, account=account)

    def routed(self, row: Row) -> Span:
        """An inbox row is folded into its case; ``result`` where it says how a delivery ended."""
        name = "result" if any(isinstance(one, Settled) for one in row.events) else "route"
        types = " ".join(dict.fromkeys(one.type for one in row.events))
        return self._span(name, row.trace, SpanKind.CONSUMER, account=row.account, type=types)

    @contextmanager
    def policies(self, event: str, trace: str | None) -> Iterator[Note]:
        """The policies are asked: one event on the span for each that proposed something."""
        said: dict[str, dict[str, None]] = {}

        def note(policy: str, proposed: object) -> None:
            kind = getattr(proposed, "type", None) or type(proposed).__name__.lower()
            said.setdefault(policy, {})[kind] = None

        with self._span("policies", trace, SpanKind.INTERNAL, type=event):
            try:
                yield note
            finally:
                for policy, types in said.items():
                    otel.get_current_span().add_event("proposed", _named(policy=policy, types=" ".join(types)))

    def delivery(self, row: Any, name: str = "deliver") -> Span:
        """A ledger row is carried out or looked up."""
        return self._span(name, row.trace, SpanKind.PRODUCER, account=row.account, type=row.type, case=row.case_id)

    def call(self, request: httpx.Request) -> Span:
        """One request to a vendor, without its path, which may name a person's order; nothing outside a span."""
        if not otel.get_current_span().get_span_context().is_valid:
            return SILENCE
        return self._call(request)

    @contextmanager
    def _call(self, request: httpx.Request) -> Iterator[Note]:
        told = {"method": request.method, "host": request.url.host}
        with self._span(request.method, self.here(), SpanKind.CLIENT, **told) as note:
            if self._told and (here := self.here()):
                request.headers[HEADER] = here
            yield note

    def here(self) -> str | None:
        """The ``traceparent`` of the span that is open now."""
        carrier: dict[str, str] = {}
        W3C.inject(carrier)
        return carrier.get(HEADER)

    def close(self) -> None:
        """Send what is not sent yet."""
        self._provider.shutdown()

    @contextmanager
    def _span(self, name: str, parent: str | None, kind: SpanKind, **told: object) -> Iterator[Note]:
        # An exception's words may quote a person's: the span says only of which type it was.
        context = W3C.extract({HEADER: parent} if parent else {}, Context())
        with self._tracer.start_as_current_span(
            name, context, kind, _named(**told), record_exception=False, set_status_on_exception=False
        ) as span:

            def note(**more: object) -> None:
                span.set_attributes(_named(**more))
                if bad := _bad(**more):
                    span.set_status(Status(StatusCode.ERROR, bad))

            try:
                yield note
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


def _bad(outcome: object = None, status: object = None, **_: object) -> str | None:
    if outcome in BAD:
        return str(outcome)
    return f"HTTP {status}" if isinstance(status, int) and status >= 400 else None


def _named(**told: object) -> dict[str, str | int]:
    found = {COMMON.get(name) or f"rmabridge.{name}": one for name, one in told.items() if one is not None}
    return {name: one if isinstance(one, int) else str(one) for name, one in found.items()}
