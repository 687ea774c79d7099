"""The vocabulary of the scripts: what the server does next, and what it expects of the client.

A script is a table of these values; `conformance/run.py` carries them out. Those with `says` are expectations and
become lines of the verdict. Whatever else a client asks meanwhile is answered as usual; only session actions out of
turn fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from conformance.world import ACTIONS, World
from protocol.errors import ErrorCode

Json = dict[str, Any]
#: How long: seconds, or one of the durations in `Pace`.
Span = float | Literal["settle", "slow"]

ENTER: Final = ("auth.register", "auth.login")
COME_BACK: Final = ("auth.resume", "auth.refresh", "auth.login")
SUBSCRIBE: Final = ("leaderboard.subscribe",)
#: Any request at all.
ANYTHING: Final = ("*",)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds."""

    patience: float = 60.0
    """The longest wait for anything that a client has to do."""
    settle: float = 1.0
    """How long a client is watched for what it must not do, and given to say what it holds."""
    slow: float = 3.0
    """A slow answer; less than any client's patience."""

    def seconds(self, span: Span) -> float:
        """A duration in seconds."""
        if span == "settle":
            return self.settle
        return self.slow if span == "slow" else span


class Handling(Enum):
    """What becomes of an awaited request."""

    ANSWER = "done and answered"
    EXTRAS = "done and answered, with unknown fields everywhere in the reply"
    LOSE = "done, but never answered"
    HOLD = "done and answered later, by Release"


@dataclass(frozen=True, slots=True)
class Refuse:
    """An awaited request is not done, and answered with this error."""

    code: ErrorCode
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """The client sends a request of one of these types, on a connection that stays open meanwhile.

    `wait_ms`: not earlier than so long after the server's last word. `again`: the last awaited action once more, with
    its key and data. `since`: it offers the state that it holds. `refresh`: the token is one that was not used before.
    """

    kinds: tuple[str, ...]
    says: str
    handling: Handling | Refuse = Handling.ANSWER
    wait_ms: int = 0
    again: bool = False
    since: bool = False
    handshake: bool = False
    """A token in the handshake does it too."""

    def awaits(self, kind: str) -> bool:
        """Whether a request of this type is the awaited one."""
        return self.kinds == ANYTHING or kind in self.kinds


@dataclass(frozen=True, slots=True)
class Gather:
    """The client sends so many requests before any of them is answered; `Release` answers them."""

    count: int
    says: str


@dataclass(frozen=True, slots=True)
class Release:
    """Answer held requests in their order: so many, or all for None."""

    count: int | None = None


@dataclass(frozen=True, slots=True)
class Quiet:
    """For so long the client sends none of these; it stays connected where `stay` says so."""

    kinds: tuple[str, ...]
    says: str
    span: Span = "settle"
    stay: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """The client connects again, not earlier than `wait_ms` after the server's last word."""

    says: str
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Holds:
    """The client is asked what it holds; where it says so, it has to be right. `steady`: it needs no new subscription
    for that."""

    says: str
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """Send this to every connection of the run."""

    make: Callable[[World], Json]
    extras: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A player has a better score: a new version of the board. `lost`: its delta does not reach the client."""

    number: int
    score: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the delta of an earlier change; -1 is the newest."""

    index: int


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """The board begins anew at this version, and is pushed whole."""

    version: int


@dataclass(frozen=True, slots=True)
class Cut:
    """End every connection: with a close code, or without a word for None."""

    code: int | None = None


@dataclass(frozen=True, slots=True)
class FallSilent:
    """Neither read nor write any more on the connections there are; they stay open."""


@dataclass(frozen=True, slots=True)
class EndLogin:
    """Access tokens are refused from now on."""

    code: ErrorCode


Step = Ask | Gather | Release | Quiet | Return | Holds | Push | Change | Resend | NewEpoch | Cut | FallSilent | EndLogin


@dataclass(frozen=True, slots=True)
class Scenario:
    """One script. `task`: what the client has to do; `why`: what happens to players when it does not."""

    name: str
    task: str
    why: str
    steps: tuple[Step, ...] = field(repr=False)


def with_extras(value: Any) -> Any:
    """A message with unknown fields in each of its objects, as a later server may send it."""
    if isinstance(value, dict):
        return {name: with_extras(part) for name, part in value.items()} | {"conformanceExtra": {"later": [1, None]}}
    return [with_extras(part) for part in value] if isinstance(value, list) else value


def is_action(kind: str) -> bool:
    """Whether a request changes the session, so that it needs a key."""
    return kind in ACTIONS
