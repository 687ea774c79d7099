"""Two nodes on one channel: what one does, the other acts on, in few notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest
from structlog.testing import LogCapture

from game.session import Start
from protocol.server_messages import SessionMessage
from server.auth import Login
from server.hub import Hub
from server.log import Log
from server.nodes import OtherNodes
from server.sessions import Sessions
from storage.accounts import Player
from storage.commits import Commits
from storage.notices import Notices
from storage.postgres import Postgres
from storage.sessions import SessionStore
from tests.server.conftest import NewPlayer
from tests.server.fakes import MORNING, FakeClock, FakeSocket, Running, until
from tests.stores import Stores


@dataclass
class Node:
    nodes: OtherNodes
    hub: Hub
    sessions: Sessions
    notices: Notices
    heard: list[str] = field(default_factory=list)
    missed: int = 0

    async def act(self, player: Player) -> None:
        await self.sessions.act(player.number, Start(uuid4(), 3, 0), None)
        self.nodes.session_changed(player.number)

    def socket_of(self, player: Player) -> FakeSocket:
        socket = FakeSocket(Login(player, uuid4(), MORNING + timedelta(hours=1)))
        self.hub.add(socket)
        return socket


async def two_nodes(
    stores: Stores, postgres: Postgres, clock: FakeClock, log: Log, stack: AsyncExitStack
) -> list[Node]:
    deployment = uuid4().hex
    found = []
    for _ in range(2):
        notices = Notices.connect(stores.redis_url, deployment)
        stack.push_async_callback(notices.close)
        commits = Commits(postgres)
        sessions = Sessions(SessionStore(postgres), commits, clock, lambda _: None)
        hub = Hub()

        node = Node(None, hub, sessions, notices)  # type: ignore[arg-type]
        heard = node.heard

        def missed(node: Node = node) -> None:
            node.missed += 1

        def take(ladders: Collection[str], heard: list[str] = heard) -> None:
            heard.extend(ladders)

        node.nodes = OtherNodes(notices, hub, sessions, log, changed=take, missed=missed)
        await stack.enter_async_context(Running(commits.run(), node.nodes.tell(), node.nodes.hear()))
        found.append(node)
    await until(lambda: all(node.missed for node in found), "both listen")
    return found


@pytest.fixture
async def nodes(stores: Stores, postgres: Postgres, clock: FakeClock, log: Log) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        yield await two_nodes(stores, postgres, clock, log, stack)


async def test_other_node_hears_which_ladders_have_changed(nodes: list[Node]) -> None:
    here, there = nodes
    here.nodes.ladders_changed(["all-time", "daily@2026-11-23"])
    await until(lambda: there.heard == ["all-time", "daily@2026-11-23"], "the news")
    assert here.heard == []  # what it has done itself is none


async def test_many_changes_travel_in_few_notices(nodes: list[Node]) -> None:
    here, there = nodes
    for _ in range(200):
        here.nodes.ladders_changed(["all-time"])
        here.nodes.ladders_changed(["weekly@2026-11-23"])
        await asyncio.sleep(0)
    await until(lambda: "weekly@2026-11-23" in there.heard, "the news")
    assert len(there.heard) < 20


async def test_players_other_sockets_on_another_node_get_the_session(nodes: list[Node], new_player: NewPlayer) -> None:
    here, there = nodes
    ann, bob = await new_player(), await new_player()
    of_ann, of_bob, spectator = there.socket_of(ann), there.socket_of(bob), FakeSocket()
    there.hub.add(spectator)
    await here.act(ann)
    await until(lambda: bool(of_ann.pushed), "a push")
    (push,) = of_ann.pushed
    assert isinstance(push, SessionMessage)
    assert push.data.session_version == 1
    assert of_bob.pushed == spectator.pushed == []


async def test_notice_that_cannot_be_read_does_no_harm(nodes: list[Node], capture: LogCapture) -> None:
    here, there = nodes
    for text in ("nonsense", "[]", "{}", json.dumps({"node": "x", "ladders": None, "players": []}), "7"):
        await here.notices.publish(text)
    here.nodes.ladders_changed(["all-time"])
    await until(lambda: there.heard == ["all-time"], "the news behind it")
    assert {line["event"] for line in capture.entries} == {"a notice of another node could not be read"}
