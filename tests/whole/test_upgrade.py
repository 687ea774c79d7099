"""An upgrade while people play: nodes of an earlier release and of this one on the same stores, as docs/operations.md
says to do it. The earlier ones are the real ones, from git's history."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server.operator import run
from storage.schema import known_revisions
from tests.releases import Release, releases
from tests.server.clients import Client
from tests.server_process import PATIENCE
from tests.stores import Stores
from tests.whole.board import Follower
from tests.whole.running import Server, database_of

NEWEST = known_revisions()[-1]
BOARD = "all-time"


@contextmanager
def at(server: type[Server], root: Path) -> Iterator[type[Server]]:
    """Servers that run from another tree."""
    yield type("Earlier", (server,), {"root": root})


@asynccontextmanager
async def empty_database(stores: Stores) -> AsyncIterator[dict[str, str]]:
    """Settings for a deployment on a database that has no table yet, so that the earlier release makes its own."""
    name = f"upgrade_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(stores.database_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield {
            "DATABASE_URL": stores.database(name),
            "REDIS_URL": stores.redis_url,
            "BRAINGAME_JWT_SECRET": "a secret for tests that is long enough",
        }
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@dataclass
class Player:
    """Somebody who plays without a pause, and what was acknowledged last."""

    client: Client
    token: str = ""
    number: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    actions: int = 0

    async def register(self, name: str) -> None:
        granted = await self.client.register(name)
        self.token, self.number = granted["token"], granted["user"]["number"]

    async def play(self, stop: asyncio.Event) -> None:
        """Games of three stages; each action has its key, and all have to be acknowledged."""
        score = 0
        while not stop.is_set():
            score += 1
            await self._do("session.start")
            for _ in range(3):
                await self._do("session.complete", score=score)
            await asyncio.sleep(0.01)  # the machine has others to serve

    async def _do(self, kind: str, **data: Any) -> None:
        self.last = await self.client.do(kind, key=secrets.token_hex(8), **data)
        self.actions += 1

    async def more(self, actions: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = self.actions + actions
        async with asyncio.timeout(PATIENCE):
            while self.actions < wanted:
                await asyncio.sleep(0.01)


async def command(*arguments: str) -> tuple[int, str]:
    """Exit code and output of an operator's command, in this process: that is sooner done than to start one."""
    output = io.StringIO()
    return await asyncio.to_thread(run, arguments, output), output.getvalue()


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.version)
async def test_players_of_both_versions_play_on_while_the_schema_and_the_nodes_are_replaced(
    stores: Stores, tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = await asyncio.to_thread(release.unpack, tmp_path)
    with at(Server, tree) as earlier:
        async with empty_database(stores) as settings, AsyncExitStack() as stack:
            limits = {"BRAINGAME_LIMITS": "off"}
            old = await stack.enter_async_context(await earlier.start(**settings, **limits))
            before = Player(await stack.enter_async_context(old.client()))
            await before.register("before")
            stop = asyncio.Event()
            playing = [asyncio.create_task(before.play(stop))]
            await before.more(8)

            # The new version carries the schema forward beneath the old node.
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
            _, sql = await command("migrate", "--dry-run")
            assert ("ALTER TABLE" in sql) is (release.schema != NEWEST)
            code, output = await command("migrate")
            assert (code, output.startswith(f"the schema is {NEWEST}")) == (0, True)
            await before.more(8)

            # One more node, of the new version: what is played on either is seen on both.
            new = await stack.enter_async_context(await Server.start(**settings, **limits))
            after = Player(await stack.enter_async_context(new.client()))
            await after.register("after")
            playing.append(asyncio.create_task(after.play(stop)))
            followers = [Follower(await stack.enter_async_context(node.client()), BOARD, 10) for node in (old, new)]
            for follower in followers:
                await follower.subscribe()
            await asyncio.gather(before.more(8), after.more(8))
            for follower in followers:
                await follower.until("before")
                await follower.until("after")

            # A player with a socket to each; the actions are one line.
            both = [await stack.enter_async_context(node.client(before.token)) for node in (old, new)]
            stop.set()
            await asyncio.gather(*playing)
            versions = []
            for turn in range(6):
                begun = await both[turn % 2].do("session.start", key=f"turn number {turn}")
                versions.append(begun["sessionVersion"])
                before.last = await both[(turn + 1) % 2].do("session.close", score=turn)
            assert versions == list(range(versions[0], versions[0] + 12, 2))
            replayed = await both[1].do("session.start", key="turn number 4")  # which the old node has done
            assert replayed["replayed"]
            await both[1].do("session.start")
            await both[1].do("stage.deal")
            before.last = await both[0].do("session.complete", score=1)

            for follower in followers:
                await follower.check()
            assert followers[0].entries == followers[1].entries
            assert [entry["username"] for entry in followers[0].entries] == ranking(followers[0].entries)

            # An old node that is started again on what it does not know. From 0.4.0 on it is let, as below.
            if release.schema != NEWEST and tuple(map(int, release.version.split("."))) < (0, 4):
                again = await earlier.spawn(**settings)
                assert await again.exit_code() == 2
                (line,) = again.log.splitlines()
                assert f"schema {NEWEST}, newer than" in line

            # The old node goes. Its players are told, and find with their token on the new one what they had.
            old.process.send_signal(signal.SIGTERM)
            await before.client.push("server.draining")
            assert await before.client.closed() == 1001
            assert await old.exit_code() == 0
            async with new.client(before.token) as client:
                found = (await client.push("welcome"))["session"]
                assert found == before.last

            # Nothing was lost, on no side; what a version that is too old for this leaves behind, `rebuild` mends.
            code, output = await command("audit", "--json")
            left = json.loads(output)
            if release.schema < "0003":
                # It knows nothing of stages that are dealt.
                assert (code, [one["mendable"] for one in left["shown"]]) == (1, [True])
                assert "dealt" in left["shown"][0]["what"]
                code, output = await command("rebuild")
                assert (code, "mended: " in output) == (0, True)
                left = json.loads((await command("audit", "--json"))[1])
                # It may have logged what its rolling check has found meanwhile, as it should.
                await new.kill()
            assert (left["differences"], left["players"], left["redis"]) == (0, 2, "looked at")
            assert left["events"] == before.actions + after.actions + 12 + 3


async def test_node_that_is_started_again_on_a_newer_schema_serves_if_that_lets_it(stores: Stores) -> None:
    """As one of this version will when the next one has migrated."""
    async with database_of(stores) as settings:
        sql = await asyncpg.connect(settings["DATABASE_URL"])
        await sql.execute("UPDATE alembic_version SET version_num = '9999'")
        refused = await Server.spawn(**settings)
        assert await refused.exit_code() == 2
        assert "9999, newer than" in refused.log
        said = f"schema 9999 may be used by code for schema {NEWEST} or later"
        await sql.execute(f"COMMENT ON TABLE alembic_version IS '{said}'")
        await sql.close()
        async with await Server.start(**settings) as server, server.client() as client:
            await client.register("between")
            await client.play(1, 2, 3)
            warnings = [json.loads(line) for line in server.log.splitlines()]
            assert [(one["level"], one["schema"]) for one in warnings] == [("warning", "9999")]


def ranking(entries: list[dict[str, Any]]) -> list[str]:
    order = sorted(entries, key=lambda e: (not e["passedAllGames"], -e["totalScore"], e["achievedAt"], e["number"]))
    return [entry["username"] for entry in order]
