"""A server with its own stores: nothing to install, nothing to set, nothing lost, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.server.clients import Client
from tests.server.fakes import until
from tests.server_process import PATIENCE
from tests.whole.running import Server, data_folder
from tests.whole.test_life import complaint


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as found:
        yield found / "var"


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have, and so on."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def names(pids: set[int]) -> set[str]:
    found = set()
    for pid in pids:
        with suppress(OSError):
            found.add(Path(f"/proc/{pid}/comm").read_text().strip())
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def start(folder: Path) -> Server:
    # The helper runs the server in BRAINGAME_DATA_DIR, which is not there yet; the flag is stronger.
    return await Server.start("--data-dir", str(folder), BRAINGAME_DATA_DIR=str(folder.parent))


async def test_own_stores_keep_everything_and_leave_nothing_running(folder: Path) -> None:
    async with await start(folder) as server:
        stores = descendants(server.process.pid)
        assert any("postgres" in name for name in names(stores))
        assert any("valkey" in name for name in names(stores))
        # For this user alone.
        sockets = [path for path in folder.rglob("*") if path.is_socket()]
        assert len(sockets) == 2
        assert all(path.stat().st_mode & 0o077 == 0 for path in [*sockets, folder / "jwt_secret"])
        assert listening_ports(stores) == set()
        async with server.client() as client:
            granted = await client.register("ada")
            await client.do("session.start", difficulty=3)
            for score in (1, 2, 3):
                await client.do("session.complete", score=score)
            begun = await client.do("session.start", key="the last one before")
            board = await client.do("leaderboard.get", board="daily:3")
        # One server on a folder.
        line = await complaint("--data-dir", str(folder))
        assert str(folder) in line
        assert str(server.process.pid) in line
        async with server.client(granted["token"]) as client:
            await client.do("session.last")  # the first one is not disturbed
    assert not [pid for pid in stores if is_running(pid)], "SIGTERM leaves no store behind"

    async with await start(folder) as server:
        async with server.client(granted["token"]) as client:  # the secret is kept, too
            welcome = await client.push("welcome")
            assert (welcome["user"], welcome["session"]) == (granted["user"], begun)
            assert await client.do("leaderboard.get", board="daily:3") == board
            assert (await client.do("session.start", key="the last one before"))["replayed"] is True
            await client.do("auth.login", email="ada@example.test", password="correct horse")
            await client.do("auth.refresh", refreshToken=granted["refreshToken"])
            # A store that dies comes back, and play goes on.
            for name in ("valkey", "postgres"):
                children = {pid for pid in descendants(server.process.pid) if parent(pid) == server.process.pid}
                (pid,) = [pid for pid in children if name in " ".join(names({pid}))]
                os.kill(pid, signal.SIGKILL)  # a process of the server that this test has started
                assert (await patiently(client, "session.last"))["sessionVersion"] == begun["sessionVersion"]
                await patiently(client, "leaderboard.get")
            await patiently(client, "session.close", score=600, key="sent until it is done")
            board = await patiently(client, "leaderboard.get")
            assert [entry["totalScore"] for entry in board["entries"]] == [6]  # the finished session is still the best

        stores = descendants(server.process.pid)
        await server.kill()
        await until(lambda: not any(is_running(pid) for pid in stores), "SIGKILL leaves no store behind")


def listening_ports(pids: set[int]) -> set[str]:
    inodes = set()
    for pid in pids:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith("socket:["):
                        inodes.add(target[8:-1])
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    ports.add(fields[1])
    return ports


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def patiently(client: Client, kind: str, **data: object) -> dict[str, Any]:
    """Ask again as long as the answer is that asking again may help."""
    async with asyncio.timeout(PATIENCE):
        while (reply := await client.ask(kind, **data))["type"] == "error":
            assert reply["data"]["code"] == "unavailable", reply
            assert reply["data"]["retryable"] is True
            await asyncio.sleep(reply["data"]["retryAfterMs"] / 1000)
    answer: dict[str, Any] = reply["data"]
    return answer
