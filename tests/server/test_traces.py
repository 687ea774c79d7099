"""Traces as a collector gets them, and what becomes of the server when there is none."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from structlog.testing import LogCapture

from server.traces import Traces
from tests.server.clients import client_to
from tests.server.collector import attributes, collector
from tests.server.edge import edge_on
from tests.server.fakes import DEADLINE
from tests.stores import Stores

SENT = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_trace_leads_from_the_request_to_the_push(stores: Stores, database_url: str) -> None:
    async with (
        collector() as found,
        edge_on(stores, database_url, traces_url=found.url, traces_share=1) as edge,
        client_to(edge.ws) as spectator,
        client_to(edge.ws) as player,
    ):
        await spectator.do("leaderboard.subscribe", board="all-time:5")
        await player.register("traced")
        await player.do("session.start", difficulty=5)
        await player.do("session.close", score=9)
        await spectator.push("leaderboard.delta")
        push = await found.one("push", board="all-time:5")
        await found.until("session.close", "commit", "projection")
        (request,) = found.named("session.close")
        trace = [span for span in found.spans if span.trace_id == request.trace_id]
        (commit,) = [span for span in trace if span.name == "commit"]
        (projection,) = [span for span in trace if span.name == "projection"]
        assert [link.span_id for link in commit.links] == [request.span_id]
        assert commit.parent_span_id == projection.parent_span_id == request.span_id
        assert attributes(request)["braingame.outcome"] == "ok"
        assert attributes(request)["braingame.player"] == 1
        assert attributes(commit)["braingame.size"] == 1
        assert request.start_time_unix_nano <= commit.start_time_unix_nano <= commit.end_time_unix_nano
        assert push in trace
        assert push.parent_span_id == projection.span_id
        assert attributes(push)["braingame.subscribers"] == 1
        assert found.services == {"braingame"}
        assert "traced@" not in str(found.spans)


async def test_sender_of_an_http_request_decides_whether_it_is_traced(stores: Stores, database_url: str) -> None:
    async with (
        collector() as found,
        edge_on(stores, database_url, traces_url=found.url, traces_share=0) as edge,
        aiohttp.ClientSession(edge.http) as http,
    ):
        for flags in ("00", "01"):
            parent = f"00-{SENT}-00f067aa0ba902b7-{flags}"
            async with http.get("/api/leaderboard", headers={"traceparent": parent}) as answer:
                assert answer.status == 200
        for nonsense in ("", "00-abc"):
            async with http.get("/api/leaderboard", headers={"traceparent": nonsense}) as answer:
                assert answer.status == 200
        await found.until("leaderboard.get")
        (request,) = found.named("leaderboard.get")
        assert request.trace_id.hex() == SENT
        assert request.parent_span_id.hex() == "00f067aa0ba902b7"


async def test_collector_that_is_away_is_told_of_once_and_stops_nothing(stores: Stores, database_url: str) -> None:
    async with collector() as gone:
        url = gone.url
    # Nobody listens there any more.
    traced = {"traces_url": url, "traces_share": 1, "limits": False}
    async with edge_on(stores, database_url, **traced) as edge, client_to(edge.ws) as player:
        await player.register("untraced")
        async with asyncio.timeout(DEADLINE):
            while not (told := [line for line in edge.capture.entries if "traces" in line["event"]]):
                await player.do("session.start")
        assert (await player.do("session.last"))["sessionStatus"] == 0
        assert [line["log_level"] for line in told] == ["warning"]
        loop = asyncio.get_running_loop()
        stopping, begun = edge.told_to_stop(), loop.time()
        assert await player.closed() == 1001
        await stopping
        assert loop.time() - begun < DEADLINE
        assert [line["event"] for line in edge.capture.entries if "traces" in line["event"]] == ["traces are dropped"]


async def test_collector_that_refuses_and_comes_back_is_told_of_twice() -> None:
    capture = LogCapture()
    log = structlog.wrap_logger(None, processors=[structlog.processors.add_log_level, capture])
    async with collector() as found:
        found.status = 400
        traces = Traces(found.url, 1, log)
        for attempt in (1, 2):
            begin(traces)
            await found.until_asked(attempt)
        found.status = 200
        begin(traces)
        await found.until("ping")
        await traces.close()
    assert [line["event"] for line in capture.entries] == ["traces are dropped", "traces arrive again"]


def begin(traces: Traces) -> None:
    traces.begin("ping", {"request": "1"}, None).end("ok")


@pytest.mark.parametrize(("share", "expected"), [(0, range(1)), (0.5, range(400, 601)), (1, range(1000, 1001))])
async def test_share_of_the_requests_is_traced(share: float, expected: range) -> None:
    log: Any = structlog.get_logger()
    traces = Traces("http://127.0.0.1:9/v1/traces", share, log)
    assert sum(traces.wants(None) for _ in range(1000)) in expected
    await traces.close()


def test_server_without_traces_loads_nothing_that_makes_or_sends_them() -> None:
    # redis-py loads the part for metrics by itself, where it is installed, and makes no use of it.
    there = "[name for name in ('opentelemetry.exporter', 'google.protobuf', 'requests') if name in sys.modules]"
    program = f"import sys, server.main, server.worker; print({there})"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert result.stdout.strip() == "[]"
