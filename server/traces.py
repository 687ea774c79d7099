"""Traces by OpenTelemetry, sent by OTLP over HTTP. Imported only where a setting asks for them.

Whether the collector is there makes no difference to anybody else: spans wait in a bounded queue, a thread sends them,
and what cannot be sent is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.log import Log
from server.version import VERSION
from server.watch import Facts, Span

#: Seconds for the collector to take what it is sent.
_PATIENCE_SECONDS: Final = 2.0
#: Seconds that the end of the server waits for the last spans.
_CLOSE_SECONDS: Final = 2.0
_QUEUE: Final = 4096
_BATCH: Final = 512
_PAUSE_MS: Final = 1000
_FAILURES: Final = frozenset({"internal", "unavailable", "failed"})
_PREFIX: Final = "braingame."


class Traces:
    """The spans of this process. Its owner closes it."""

    def __init__(self, url: str, share: float, log: Log) -> None:
        """`share` of the requests are traced, and those whose sender traces them."""
        self._share = share
        # It would tell of each batch and each span that is dropped; `_Told` tells once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        resource = Resource.create(
            {"service.name": "braingame", "service.version": VERSION, "service.instance.id": uuid4().hex}
        )
        exporter = _Told(OTLPSpanExporter(url, timeout=_PATIENCE_SECONDS), log)
        # Which requests are traced is decided before there is a span.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter, max_queue_size=_QUEUE, schedule_delay_millis=_PAUSE_MS, max_export_batch_size=_BATCH
            )
        )
        self._tracer = self._provider.get_tracer("braingame", VERSION)
        self._propagator = TraceContextTextMapPropagator()

    def wants(self, parent: str | None) -> bool:
        """Whether the next request is traced, which came perhaps with a W3C traceparent; then its sender decides."""
        sender = self._sender(parent)
        if sender.is_valid:
            return sender.trace_flags.sampled
        return random.random() < self._share  # noqa: S311

    def begin(self, kind: str, facts: Facts, parent: str | None) -> Span:
        """Such a request has come."""
        sender = self._sender(parent)
        context = Context()
        if sender.is_valid:
            context = trace.set_span_in_context(trace.NonRecordingSpan(sender), context)
        return _Span(self._tracer.start_span(kind, context, SpanKind.SERVER, _attributes(facts)))

    def follow(self, kind: str, after: Sequence[Span], seconds: float, outcome: str, facts: Facts) -> Span:
        """What has come of these and has just ended: a child of the first one, linked to all."""
        before = [one.span for one in after if isinstance(one, _Span)]
        end = time.time_ns()
        span = self._tracer.start_span(
            kind,
            trace.set_span_in_context(before[0], Context()),
            SpanKind.INTERNAL,
            _attributes(facts),
            links=[Link(one.get_span_context()) for one in before],
            start_time=end - int(seconds * 1e9),
        )
        made = _Span(span)
        made.end(outcome, at=end)
        return made

    def _sender(self, parent: str | None) -> trace.SpanContext:
        if parent is None:
            return trace.INVALID_SPAN_CONTEXT
        context = self._propagator.extract({"traceparent": parent}, Context())
        return trace.get_current_span(context).get_span_context()

    async def close(self) -> None:
        """Send what waits, but not for long: a collector that is away must not keep the server from stopping."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            # The loop may be closed by then, when nobody waits any more.
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=close, name="traces", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closed.wait()
        except TimeoutError:
            pass


class _Span:
    __slots__ = ("span",)

    def __init__(self, span: trace.Span) -> None:
        self.span = span

    def end(self, outcome: str, at: int | None = None) -> None:
        self.span.set_attribute(f"{_PREFIX}outcome", outcome)
        if outcome in _FAILURES:
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.end(at)


class _Told(SpanExporter):
    """Says once that the collector does not take the spans, and once that it does so again."""

    def __init__(self, exporter: SpanExporter, log: Log) -> None:
        self._exporter = exporter
        self._log = log
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # a library's thread: nobody else would hear of it
            result, reason = SpanExportResult.FAILURE, type(error).__name__
        else:
            reason = "the collector does not take them"
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            self._log.warning("traces are dropped", reason=reason)
        elif self._failing and not failing:
            self._log.info("traces arrive again")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _attributes(facts: Facts) -> dict[str, str | int | float]:
    return {f"{_PREFIX}{name}": value for name, value in facts.items()}
