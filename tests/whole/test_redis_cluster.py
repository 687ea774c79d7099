"""Two servers on a real Redis Cluster, or on a primary that a sentinel watches, while slots move and primaries die:
players play on, and in the end every board on every node is what PostgreSQL holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg

from game.session import Action
from storage.ladders import Ladders
from storage.postgres import Postgres
from tests.server.clients import Client
from tests.server_process import PATIENCE
from tests.storage.redis_servers import Server as Valkey
from tests.storage.redis_servers import cluster, wait_for, watched
from tests.storage.waiting import until
from tests.stores import Stores
from tests.whole.board import Follower
from tests.whole.running import Server, database_of

#: Their ladders are on the first node of three, by the algorithm of the specification.
STAYS, MOVES = 0, 4


@dataclass
class Scene:
    """Two nodes of one deployment, players and spectators on both."""

    database_url: str
    nodes: list[Server]
    players: dict[str, Client]
    followers: list[Follower] = field(default_factory=list)
    #: Scores that were acknowledged, by username and difficulty.
    acknowledged: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def count(self) -> int:
        return sum(len(scores) for scores in self.acknowledged.values())

    async def finish(self, name: str, difficulty: int, score: int) -> None:
        player = self.players[name]
        await player.do("session.start", difficulty=difficulty)
        await player.do("session.close", score=score)
        self.acknowledged.setdefault((name, difficulty), []).append(score)

    async def play(self, name: str) -> None:
        """One better result after the other, on both boards by turns."""
        score = 0
        while True:
            score += 1
            for difficulty in (STAYS, MOVES):
                await self.finish(name, difficulty, score)
            # Fast enough to have something under way at any moment.
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Everybody plays until the end of the block, and nobody is ever refused anything."""
        tasks = [asyncio.create_task(self.play(name)) for name in self.players]
        try:
            yield
            assert not any(task.done() for task in tasks), "somebody cannot play"
        finally:
            await _end(*tasks)

    async def more(self, actions: int) -> None:
        """Wait until so many more are acknowledged."""
        enough = self.count() + actions

        async def played() -> bool:
            return self.count() >= enough

        await until(played, f"{actions} more results", within=PATIENCE)

    async def mark(self, name: str, node: Server, *followers: Follower) -> None:
        """A new player's result on this node is seen by the followers, who ask for nothing."""
        async with node.client() as client:
            await client.register(name)
            difficulties = {int(follower.board.rpartition(":")[2]) for follower in followers}
            self.players[name] = client
            for difficulty in sorted(difficulties):
                await self.finish(name, difficulty, 1_000_000)
            await asyncio.gather(*(follower.until(name) for follower in followers))
            del self.players[name]

    async def check(self) -> None:
        """Followers, requests and PostgreSQL agree, and what was acknowledged is there."""
        for index, node in enumerate(self.nodes):
            await self.mark(f"told{index}", node, *self.followers)
        database = await asyncpg.connect(self.database_url)
        for (name, difficulty), scores in self.acknowledged.items():
            logged = await database.fetch(
                "SELECT event.total_score FROM session_events event JOIN players USING (number) "
                "WHERE username = $1 AND difficulty = $2 AND action = $3 ORDER BY event.total_score",
                name,
                difficulty,
                Action.CLOSE,
            )
            # The last one may have been cut off before its answer came.
            assert [row["total_score"] for row in logged][: len(scores)] == scores
            assert len(logged) <= len(scores) + 1
        await database.close()
        postgres = await Postgres.connect(self.database_url, connections=1)
        for follower in self.followers:
            await follower.check()
            expected = await Ladders(postgres).ranked(follower.board, 100)
            assert [(entry["number"], entry["totalScore"]) for entry in follower.entries] == [
                (entry.number, entry.total_score) for entry in expected
            ]
            assert len(expected) == sum(f"all-time:{played}" == follower.board for _, played in self.acknowledged)
        await postgres.close()


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def scene(stores: Stores, redis_url: str) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        settings = await stack.enter_async_context(database_of(stores))
        variables = {**settings, "REDIS_URL": redis_url, "BRAINGAME_LIMITS": "off"}
        nodes = await asyncio.gather(Server.start(**variables), Server.start(**variables))
        for node in nodes:
            await stack.enter_async_context(node)
        players = {}
        for index in range(4):
            name = f"plays{index}"
            players[name] = await stack.enter_async_context(nodes[index % 2].client())
            await players[name].register(name)
        found = Scene(settings["DATABASE_URL"], list(nodes), players)
        for node in nodes:
            for difficulty in (STAYS, MOVES):
                client = await stack.enter_async_context(node.client())
                found.followers.append(Follower(client, f"all-time:{difficulty}", 100))
                await found.followers[-1].subscribe()
        yield found


def _cursor(server: Valkey, difficulty: int) -> int:
    (meta,) = server.ask("KEYS", f"braingame:*:{{all-time:{difficulty}}}:meta")
    return int(server.ask("HGET", meta, "cursor"))


def _lose_the_last_changes(primary: Valkey, replica: Valkey) -> None:
    """The replica takes over behind its primary: there it lacks what players have seen, and a sweep of the nodes."""
    replica.freeze()
    # What is sent to it from now on would wait for it in its socket.
    assert primary.ask("CLIENT", "KILL", "TYPE", "REPLICA") == 1
    for _ in range(3):
        # Of two nodes one has moved it twice then, so it knows that it did the first time.
        before = _cursor(primary, STAYS)
        wait_for(lambda: _cursor(primary, STAYS) > before, "a sweep that the replica does not see")  # noqa: B023
    primary.kill()
    replica.thaw()


async def test_boards_follow_a_slot_that_moves_and_a_replica_that_takes_over(stores: Stores) -> None:
    with cluster(replicas=1) as servers:
        first, _, third = servers.primaries
        (replica,) = servers.replicas
        async with scene(stores, servers.url) as game:
            assert servers.owner(f"{{all-time:{STAYS}}}") is servers.owner(f"{{all-time:{MOVES}}}") is first
            epochs = {follower: follower.epoch for follower in game.followers}
            async with game.playing():
                await game.more(50)
                await asyncio.to_thread(servers.move, f"{{all-time:{MOVES}}}", third)
                await game.more(50)
                await game.mark("moved", game.nodes[0], *game.followers)
                # Nothing was lost: it is the same board.
                assert {follower: follower.epoch for follower in game.followers} == epochs
                await asyncio.to_thread(_lose_the_last_changes, first, replica)
                await game.more(50)
                await asyncio.to_thread(wait_for, lambda: replica.role() == "master", "a replica that takes over")
                await game.more(50)
            await game.check()
            for follower in game.followers:
                # What the replica did not have was taken back, so its versions must not be given out again.
                assert (follower.epoch == epochs[follower]) is (follower.board == f"all-time:{MOVES}")


async def test_boards_follow_a_primary_that_sentinel_replaces(stores: Stores) -> None:
    with watched() as servers:
        primary, replica = servers.primary(), servers.replica()
        async with scene(stores, servers.url) as game:
            epochs = {follower: follower.epoch for follower in game.followers}
            async with game.playing():
                await game.more(50)
                await asyncio.to_thread(_lose_the_last_changes, primary, replica)
                await game.more(50)
                await asyncio.to_thread(wait_for, lambda: replica.role() == "master", "a replica that takes over")
                await game.more(50)
            await game.check()
            assert all(follower.epoch != epochs[follower] for follower in game.followers)
