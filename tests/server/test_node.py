"""A node as a whole: what it does when a part of it fails. That it serves is seen by every test of tests/whole."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest
import structlog
from structlog.testing import LogCapture

from server.figures import Figures
from server.node import serve_node
from server.settings import Settings
from server.stores import CannotStart
from tests.server.fakes import DEADLINE
from tests.stores import Stores


@pytest.fixture
def settings(stores: Stores, database_url: str) -> Settings:
    return Settings(
        port=0,
        database_url=database_url,
        redis_url=stores.redis_url,
        jwt_secret="a secret for tests that is long enough",
    )


def captured() -> tuple[Any, LogCapture]:
    capture = LogCapture()
    return structlog.wrap_logger(None, processors=[structlog.processors.add_log_level, capture]), capture


async def test_part_that_fails_ends_the_node_loudly(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fail = asyncio.Event()

    async def failing(_self: Figures) -> None:
        await fail.wait()
        raise RuntimeError("this part is broken")

    monkeypatch.setattr(Figures, "run", failing)
    log, capture = captured()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_node(settings, log, asyncio.Event(), address.set_result))
    async with asyncio.timeout(DEADLINE):
        async with aiohttp.ClientSession(await address) as http, http.get("/healthz") as answer:
            assert answer.status == 200
        fail.set()
        assert await serving is True
    (line,) = [line for line in capture.entries if line["log_level"] == "error"]
    assert line["part"] == "figures"


async def test_port_that_is_taken_is_named(settings: Settings) -> None:
    log, _ = captured()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"port {port}"):
            await serve_node(settings.model_copy(update={"port": port}), log, asyncio.Event(), print)
