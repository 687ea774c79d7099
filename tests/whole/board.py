"""A subscriber's board, kept as docs/protocol.md tells a client to keep it; it knows nothing of the server's code."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.server.clients import Client
from tests.server_process import PATIENCE

Entry = dict[str, Any]


class Follower:
    """A socket that follows one board."""

    def __init__(self, client: Client, board: str, limit: int) -> None:
        self.client = client
        self.board = board
        self.limit = limit
        self.entries: list[Entry] = []
        self.epoch = ""
        self.version = self.total = 0
        self.deltas = self.fulls = 0

    async def subscribe(self) -> None:
        self.take(await self.client.do("leaderboard.subscribe", board=self.board, limit=self.limit))

    def take(self, data: dict[str, Any]) -> None:
        """A full state: replace ours."""
        assert data["board"] == self.board
        assert [entry["position"] for entry in data["entries"]] == list(range(1, len(data["entries"]) + 1))
        self.entries = data["entries"]
        self.epoch, self.version, self.total = data["epoch"], data["version"], data["total"]

    def apply(self, delta: dict[str, Any]) -> None:
        """Drop the removals, put the upserts in by number, sort, keep the first `limit`."""
        assert (delta["board"], delta["epoch"], delta["from"]) == (self.board, self.epoch, self.version)
        gone = {*delta["removals"], *(entry["number"] for entry in delta["upserts"])}
        entries = [entry for entry in self.entries if entry["number"] not in gone] + delta["upserts"]
        entries.sort(key=lambda e: (not e["passedAllGames"], -e["totalScore"], e["achievedAt"], e["number"]))
        self.entries = [{**entry, "position": index} for index, entry in enumerate(entries[: self.limit], start=1)]
        self.version, self.total = delta["version"], delta["total"]

    def push(self, message: dict[str, Any]) -> None:
        """Do with a push what has to be done with it."""
        if message["type"] == "leaderboard" and message["data"]["board"] == self.board:
            self.fulls += 1
            self.take(message["data"])
        elif message["type"] == "leaderboard.delta" and message["data"]["board"] == self.board:
            self.deltas += 1
            self.apply(message["data"])

    def catch_up(self) -> None:
        """Apply what has come in while replies were waited for."""
        pushes, self.client.pushes = self.client.pushes, []
        for message in pushes:
            self.push(message)

    async def until(self, username: str, *, shown: bool = True) -> None:
        """Wait, without asking for anything, until this name is among the entries, or is not."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.catch_up()
                if any(entry["username"] == username for entry in self.entries) is shown:
                    return
                self.push(await self.client.receive())

    async def check(self) -> None:
        """Hold exactly what leaderboard.get gives, as soon as both speak of the same version."""
        async with asyncio.timeout(PATIENCE):
            while True:
                now = await self.client.do("leaderboard.get", board=self.board, limit=self.limit)
                self.catch_up()
                if (now["epoch"], now["version"]) == (self.epoch, self.version):
                    break
                if now["version"] > self.version or now["epoch"] != self.epoch:
                    self.push(await self.client.receive())
        assert (self.entries, self.total) == (now["entries"], now["total"])
