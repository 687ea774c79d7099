"""The JavaScript client with a real server: its examples, a server that is restarted meanwhile, and a page."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.server_process import PATIENCE, ROOT, ServerProcess, player
from tests.web.watched import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = ROOT / "client/js/examples"


@pytest.fixture
def node() -> str:
    local = ROOT / ".venv/bin/node"
    found = str(local) if local.exists() else shutil.which("node")
    if found is None:
        pytest.skip("NOT RUN: Node is not here; make setup-dev installs it")
    return found


class Script:
    """A program in Node, spoken to by lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def running(cls, node: str, path: Path, *arguments: str) -> AsyncIterator[Script]:
        """Run it until the block is left."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            node, str(path), *arguments, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def line(self) -> str:
        """What it says next; empty when it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._process.stdout.readline()).decode().strip()

    async def says(self, expected: str) -> None:
        """Read until it says this; fail with everything else that it said."""
        said = []
        while (line := await self.line()) != expected:
            said.append(line)
            assert line or not self._process.stdout or not self._process.stdout.at_eof(), "\n".join(said)

    def tell(self, line: str) -> None:
        """Say something to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def exit_code(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()


async def test_examples_play_and_watch(node: str, settings: dict[str, str]) -> None:
    async with await ServerProcess.start(**settings) as server:
        url = f"ws://127.0.0.1:{server.port}/ws"
        async with Script.running(node, EXAMPLES / "watch.mjs", url, "daily:3") as watching:
            await watching.says("daily:3, 0 players")
            async with Script.running(node, EXAMPLES / "play.mjs", url, "Ann") as playing:
                assert [await playing.line() for _ in range(3)] == [
                    f"Ann: {points} points" for points in (120, 240, 360)
                ]
                assert await playing.exit_code() == 0
            await watching.says("1. Ann 360")


async def test_client_plays_on_over_a_restart_of_the_server(node: str, settings: dict[str, str]) -> None:
    script = ROOT / "tests/client/js/through_a_restart.mjs"
    async with await ServerProcess.start(**settings) as server:
        port = str(server.port)
        async with Script.running(node, script, port) as client:
            await client.says("playing")
            assert await server.stop() == 0
            client.tell("the server is away")
            await client.says("waiting")
            async with await ServerProcess.start(**settings, BRAINGAME_PORT=port):
                await client.says("done")
                assert await client.exit_code() == 0


async def test_page_plays_with_what_the_server_serves(browser: Browser, settings: dict[str, str]) -> None:
    async with await ServerProcess.start(**settings) as server:
        watched = await Watched.open(browser, server.origin, "/leaderboard")
        async with player(server.port, "Ben") as ben:
            await ben.play(1, 2, 3)
        session = await watched.page.evaluate(
            """async () => {
                const { connect, socketUrl } = await import("/client/braingame.js");
                const game = connect(socketUrl(location));
                await game.register({ email: "ann@example.test", username: "Ann", password: "correct horse" });
                const board = game.follow("all-time");
                const second = new Promise((resolve) => board.addEventListener("place", () => resolve(board.place)));
                await game.start();
                const session = await game.fail(5);
                const { position } = await second;
                game.disconnect();
                return [session.sessionStatus, session.sessionTotalScore, position];
            }"""
        )
        await watched.page.context.close()
    assert session == [2, 5, 2]
    assert watched.complaints == []
    assert watched.foreign == []
