"""A collector of traces for tests: takes OTLP over HTTP, and decodes it by the official protocol buffers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from tests.server.fakes import DEADLINE


class Collector:
    """What it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[SpanMessage] = []
        self.services: set[str] = set()
        #: What it answers with.
        self.status = 200
        self.asked = 0
        self._news = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        sent = ExportTraceServiceRequest.FromString(await request.read())
        if self.status == 200:
            for resource in sent.resource_spans:
                self.services |= {
                    one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
                }
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        self._news.set()
        return web.Response(status=self.status)

    def named(self, name: str) -> list[SpanMessage]:
        """The spans of a name, in the order of their arrival."""
        return [span for span in self.spans if span.name == name]

    async def until(self, *names: str) -> None:
        """Wait for a span of each name."""
        for name in names:
            await self.one(name)

    async def one(self, name: str, **wanted: str | int) -> SpanMessage:
        """The first span of a name with these attributes of ours, waiting for it."""
        expected = {f"braingame.{key}": value for key, value in wanted.items()}
        async with asyncio.timeout(DEADLINE):
            while True:
                for span in self.named(name):
                    if expected.items() <= attributes(span).items():
                        return span
                self._news.clear()
                await self._news.wait()

    async def until_asked(self, times: int = 1) -> None:
        """Wait until something was sent, taken or not."""
        async with asyncio.timeout(DEADLINE):
            while self.asked < times:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """One that runs until the end of the block."""
    found, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        found.url = f"http://{host}:{port}/v1/traces"
        yield found
    finally:
        await runner.cleanup()


def attributes(span: SpanMessage) -> dict[str, str | int]:
    """Its attributes."""
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
