"""Who may come in: addresses with enough connections may not, and nobody while too many stand in the doorway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from server.addresses import Addresses
from server.limits import DOORWAY_CONNECTIONS, SOCKETS_PER_ADDRESS, Crowd

#: Connections of one address over its limit that are told so at the same time; further ones are dropped without a word.
_TOLD_AT_ONCE: Final = 50


class Admission:
    """What all doors of a process share."""

    def __init__(
        self,
        addresses: Addresses | None = None,
        *,
        sockets_per_address: int | None = SOCKETS_PER_ADDRESS,
        doorway: int = DOORWAY_CONNECTIONS,
        limit_hit: Callable[[str], None] = lambda _limit: None,
    ) -> None:
        """`sockets_per_address` None: as many as they like. `limit_hit` is told the name of each limit that has refused
        somebody."""
        self.addresses = addresses or Addresses()
        self.limit_hit = limit_hit
        self._inside = None if sockets_per_address is None else Crowd(sockets_per_address)
        self._told = Crowd(_TOLD_AT_ONCE)
        self._doorway = doorway
        self._in_doorway = 0

    def visitor(self, peername: Any) -> Visitor | None:
        """For a new connection; None when it has to be dropped at once."""
        if self._in_doorway >= self._doorway:
            self.limit_hit("doorway_connections")
            return None
        visitor = Visitor(self, peername)
        if visitor.crowded and not self._tell(visitor):
            return None
        self._in_doorway += 1
        return visitor

    def _tell(self, visitor: Visitor) -> bool:
        assert visitor.address is not None  # noqa: S101
        return self._told.enter(visitor.address)


class Visitor:
    """One connection, from when it is made to when it is lost."""

    def __init__(self, admission: Admission, peername: Any) -> None:
        self._admission = admission
        self._peername = peername
        self._in_doorway = True
        #: Where it is counted, if it is.
        self._counted: str | None = None
        self.address = admission.addresses.of_peer(peername)
        #: Whether its address has enough connections without it.
        self.crowded = not self._enter()

    def requests(self, forwarded_for: Sequence[str], forwarded: Sequence[str]) -> None:
        """It asks for a socket, with these values of X-Forwarded-For and Forwarded: behind a proxy it is known only now
        who it is."""
        if self._counted is None and not self.crowded:
            self.address = self._admission.addresses.of_request(self._peername, forwarded_for, forwarded)
            self.crowded = not self._enter()

    def comes_in(self) -> None:
        """Its first request is complete."""
        if self._in_doorway:
            self._in_doorway = False
            self._admission._in_doorway -= 1

    def leaves(self) -> None:
        """The connection is lost."""
        self.comes_in()
        if self._counted is not None:
            assert self._admission._inside is not None  # noqa: S101
            self._admission._inside.leave(self._counted)
            self._counted = None
        elif self.crowded and self.address is not None:
            self._admission._told.leave(self.address)

    def _enter(self) -> bool:
        inside = self._admission._inside
        if self.address is None or inside is None:
            return True
        if inside.enter(self.address):
            self._counted = self.address
            return True
        self._admission.limit_hit("address_sockets")
        return False
