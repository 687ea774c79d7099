"""One worker, started as server/workers.py starts it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import aiohttp
import pytest

from server.settings import Settings
from tests.server.fakes import DEADLINE
from tests.server_process import ROOT
from tests.stores import Stores


class Worker:
    """The process, and this test as its parent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, settings: Settings) -> Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "run_server.py"),
            "worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"index": 7, "settings": settings.model_dump(mode="json")}).encode() + b"\n")
        return cls(process)

    async def first_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            line: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return line

    async def end(self) -> tuple[int | None, str]:
        """Exit code and log."""
        async with asyncio.timeout(DEADLINE):
            _, log = await self.process.communicate()
        return self.process.returncode, log.decode()


@pytest.fixture
def settings(stores: Stores, database_url: str) -> Settings:
    return Settings(
        port=0,
        database_url=database_url,
        redis_url=stores.redis_url,
        jwt_secret="a secret for tests that is long enough",
    )


@pytest.mark.parametrize("how", ["the parent is gone", "SIGTERM", "SIGINT"])
async def test_worker_serves_until_it_is_told_to_stop(settings: Settings, how: str) -> None:
    worker = await Worker.start(settings)
    address = (await worker.first_line())["address"]
    async with aiohttp.ClientSession(address) as http, http.get("/readyz") as answer:
        assert answer.status == 200
    if how == "the parent is gone":
        assert worker.process.stdin is not None
        worker.process.stdin.close()
    else:
        worker.process.send_signal(signal.Signals[how])
    code, log = await worker.end()
    assert code == 0, log
    assert all(json.loads(line)["worker"] == 7 for line in log.splitlines())


async def test_worker_that_cannot_start_tells_its_parent_why(settings: Settings) -> None:
    worker = await Worker.start(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    assert (await worker.first_line())["cannot_start"].startswith("REDIS_URL: ")
    assert (await worker.end())[0] == 1
