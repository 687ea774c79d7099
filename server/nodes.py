"""The other nodes of this deployment: what they are told, and what is done about what they tell.

One notice a tick, whatever has happened in it: which ladders have changed in Redis and whose session has changed. It
carries no state; who needs one reads it where it is kept. Ended logins do not travel this way (server/revocations.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from protocol.codec import encode
from protocol.server_messages import SessionData, SessionMessage
from server.hub import Hub
from server.log import Log
from server.sessions import Sessions
from storage.notices import Notices
from storage.postgres import StoreUnavailable

#: Seconds between two notices of a node.
TICK_SECONDS: Final = 0.05
#: Seconds after which a node that has nothing to say says so: that keeps its own connection proven.
BEAT_SECONDS: Final = 3.0


def notice_of(node: str, ladders: Collection[str], players: Collection[int], canary: int | None = None) -> str:
    """What a node tells the others: which ladders it has changed in Redis, and whose sessions in PostgreSQL; and itself
    which canary it has let fly."""
    notice: dict[str, object] = {"node": node, "ladders": sorted(ladders), "players": sorted(players)}
    return json.dumps(notice if canary is None else {**notice, "canary": canary})


class OtherNodes:
    """Two tasks, `tell` and `hear`, which their owner starts and cancels."""

    def __init__(
        self,
        notices: Notices,
        hub: Hub,
        sessions: Sessions,
        log: Log,
        *,
        changed: Callable[[Collection[str]], None],
        missed: Callable[[], None],
        canary: Callable[[int], None] = lambda _flight: None,
    ) -> None:
        """`changed` is told which ladders other nodes have changed, `missed` that some may have been, `canary` which of
        this node's own has come back."""
        self._notices = notices
        self._hub = hub
        self._sessions = sessions
        self._log = log
        self._changed = changed
        self._missed = missed
        self._canary = canary
        self._released: int | None = None
        self._node = uuid4().hex
        self._ladders: set[str] = set()
        self._players: set[int] = set()
        self._news = asyncio.Event()

    def ladders_changed(self, ladders: Collection[str]) -> None:
        """This node has changed these ladders in Redis."""
        if ladders:
            self._ladders.update(ladders)
            self._news.set()

    def session_changed(self, number: int) -> None:
        """This node has applied an action of the player."""
        self._players.add(number)
        self._news.set()

    def release(self, flight: int) -> None:
        """Let a canary fly with the next notice (server/canary.py)."""
        self._released = flight
        self._news.set()

    async def tell(self) -> None:
        """Send what there is to tell, until cancelled. What cannot be sent is dropped: the nodes look at everything
        when Redis is back."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._news.wait()
            self._news.clear()
            ladders, self._ladders = self._ladders, set()
            players, self._players = self._players, set()
            released, self._released = self._released, None
            with suppress(StoreUnavailable):
                await self._notices.publish(notice_of(self._node, ladders, players, released))
            await asyncio.sleep(TICK_SECONDS)

    async def hear(self) -> None:
        """Act on what other nodes tell, until cancelled."""
        async for text in self._notices.listen():
            if text is None:
                self._missed()
                continue
            try:
                await self._act(json.loads(text))
            except (ValueError, TypeError, KeyError):
                self._log.warning("a notice of another node could not be read", notice=text[:200])

    async def _act(self, notice: dict[str, Any]) -> None:
        if notice["node"] != self._node:
            self._changed([str(ladder) for ladder in notice["ladders"]])
            await self._push_sessions(notice["players"])
        elif "canary" in notice:
            self._canary(notice["canary"])

    async def _push_sessions(self, players: list[Any]) -> None:
        here = [number for number in players if self._hub.of_player(number)]
        if not here:
            return
        try:
            states = await self._sessions.last_of(here)
        except StoreUnavailable:
            # The sockets learn it with their next request; the state is not lost.
            return
        for number, state in states.items():
            payload = encode(SessionMessage(data=SessionData.of(state)))
            for member in self._hub.of_player(number):
                member.push(payload)
