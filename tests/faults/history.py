"""What happened at the clients of a run, as they saw it. Nothing here is known from the server's inside."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

What = Literal["connecting", "opened", "sent", "got", "lost", "end"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that one client saw on one of its connections, at a time of one steady clock, in seconds.

    `data`: the message that was sent or got; for `lost` why. `number` is the player's, None for a spectator. Over HTTP
    each request is a connection of its own, and its messages have the form of the socket's. `end` is written by a
    subscriber after a quiet time: what it holds then has to be the board.
    """

    at: float
    what: What
    connection: int
    node: str
    number: int | None = None
    data: dict[str, Any] = field(default_factory=dict)


class History:
    """Everything that was seen, in order."""

    def __init__(self, seen: list[Seen] | None = None) -> None:
        self.seen: list[Seen] = seen or []
        self._connections = 0

    def __iter__(self) -> Iterator[Seen]:
        return iter(self.seen)

    def new_connection(self) -> int:
        """A number for one."""
        self._connections += 1
        return self._connections

    def add(
        self, what: What, connection: int, node: str, number: int | None = None, data: dict[str, Any] | None = None
    ) -> Seen:
        """Something was seen just now."""
        found = Seen(time.monotonic(), what, connection, node, number, data or {})
        self.seen.append(found)
        return found

    def write(self, path: Path) -> None:
        """One line of JSON each."""
        path.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in self.seen))

    @classmethod
    def read(cls, path: Path) -> History:
        """What was written."""
        return cls([Seen(**json.loads(line)) for line in path.read_text().splitlines()])
