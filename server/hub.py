"""Who is connected: every socket, by player and by login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol, TypeVar
from uuid import UUID

from protocol.errors import CloseCode
from server.auth import Login

Key = TypeVar("Key", int, UUID)


class Member(Protocol):
    """What the hub has to know of a socket."""

    @property
    def login(self) -> Login | None:
        """Whose socket it is; None for a spectator's."""

    def push(self, payload: bytes) -> None:
        """Send a message that nobody asked for."""

    def close(self, code: CloseCode, reason: str) -> None:
        """End the connection."""

    def drain(self) -> None:
        """The server stops: answer what was asked, then end the connection."""

    def abort(self) -> None:
        """Drop the connection at once."""


class Hub:
    """The sockets of this process."""

    def __init__(self) -> None:
        self._members: set[Member] = set()
        self._by_number: dict[int, set[Member]] = {}
        self._by_sid: dict[UUID, set[Member]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members))

    def __len__(self) -> int:
        return len(self._members)

    def count(self) -> tuple[int, int]:
        """Sockets of players, and of spectators."""
        players = sum(map(len, self._by_number.values()))
        return players, len(self._members) - players

    def add(self, member: Member) -> None:
        """A socket has opened, with or without a login."""
        self._members.add(member)
        self._empty.clear()
        self._index(member, member.login)

    def remove(self, member: Member) -> None:
        """A socket has closed."""
        self._members.discard(member)
        self._unindex(member, member.login)
        if not self._members:
            self._empty.set()

    def changed_login(self, member: Member, before: Login | None) -> None:
        """The socket belongs to somebody else now."""
        self._unindex(member, before)
        self._index(member, member.login)

    def drain(self) -> None:
        """The server stops: every socket is told, and so is every one that opens from now on."""
        self.draining = True
        for member in self:
            member.drain()

    async def wait_until_empty(self) -> None:
        """Returns when the last socket has gone."""
        await self._empty.wait()

    def of_player(self, number: int) -> tuple[Member, ...]:
        """The sockets of a player."""
        return tuple(self._by_number.get(number, ()))

    def sockets_of(self, number: int) -> int:
        """How many sockets a player has."""
        return len(self._by_number.get(number, ()))

    def of_login(self, sid: UUID) -> tuple[Member, ...]:
        """The sockets that were opened with one login."""
        return tuple(self._by_sid.get(sid, ()))

    def end_login(self, sid: UUID, reason: str) -> None:
        """The login has ended: its sockets are closed."""
        for member in self.of_login(sid):
            member.close(CloseCode.UNAUTHENTICATED, reason)

    def _index(self, member: Member, login: Login | None) -> None:
        if login is not None:
            self._by_number.setdefault(login.player.number, set()).add(member)
            self._by_sid.setdefault(login.sid, set()).add(member)

    def _unindex(self, member: Member, login: Login | None) -> None:
        if login is not None:
            _discard(self._by_number, login.player.number, member)
            _discard(self._by_sid, login.sid, member)


def _discard(index: dict[Key, set[Member]], key: Key, member: Member) -> None:
    members = index.get(key)
    if members is not None:
        members.discard(member)
        if not members:
            del index[key]
