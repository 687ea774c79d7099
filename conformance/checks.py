"""What is right of a request, whatever a script awaits, and what the script awaits of it: pure, so that each check is
easily tried with a request that does not pass."""

from __future__ import annotations

from typing import Final

from conformance.steps import Ask
from conformance.world import SessionAction, World
from protocol.client_messages import AuthRefresh, ClientMessage, LeaderboardSubscribe

#: Seconds that a client may be early: its timers count in whole ticks.
TOLERANCE: Final = 0.02


class Memory:
    """What the client has done so far, as far as later requests are measured by it."""

    def __init__(self) -> None:
        self.last_action: SessionAction | None = None
        self.keys: set[str] = set()
        #: The board that the script is about: the first that was subscribed to.
        self.board: str | None = None

    def keep(self, message: ClientMessage) -> None:
        """An awaited request was taken."""
        if isinstance(message, SessionAction):
            self.last_action = message
            self.keys.add(str(message.data.key))
        elif isinstance(message, LeaderboardSubscribe) and self.board is None:
            self.board = message.data.board

    def is_elsewhere(self, message: ClientMessage) -> bool:
        """Whether it is about a board that the script is not about."""
        return isinstance(message, LeaderboardSubscribe) and self.board not in (None, message.data.board)


def never_right(message: ClientMessage, world: World, memory: Memory) -> str | None:
    """What is wrong with it, whenever it comes."""
    if isinstance(message, AuthRefresh) and world.account.is_spent(message.data.refresh_token):
        return "auth.refresh with a refresh token that was used before"
    if isinstance(message, LeaderboardSubscribe) and not memory.is_elsewhere(message):
        since = message.data.since
        if since is not None and not world.board.may_hold(since):
            right = " ".join(map(str, world.board.held[-1])) if world.board.held else "nothing"
            return f"leaderboard.subscribe with since {since.epoch} {since.version}, though it should hold {right}"
    return None


def as_awaited(step: Ask, message: ClientMessage, seconds: float, world: World, memory: Memory) -> str | None:
    """What is wrong with the awaited request; it came so many seconds after the server's last word."""
    if seconds < step.wait_ms / 1000 - TOLERANCE:
        return f"{message.type} after {seconds * 1000:.0f} ms, before {step.wait_ms} ms were over"
    if isinstance(message, LeaderboardSubscribe) and step.since and not world.board.is_held(message.data.since):
        return "leaderboard.subscribe without since" if message.data.since is None else "an older state as since"
    return _problem_of_action(step, message, memory) if isinstance(message, SessionAction) else None


def _problem_of_action(step: Ask, message: SessionAction, memory: Memory) -> str | None:
    key = message.data.key
    if key is None:
        return f"{message.type} without a key"
    if not step.again:
        return f"{message.type} with the key of an earlier action" if key in memory.keys else None
    last = memory.last_action
    if last is None or key != last.data.key:
        return f"{message.type} with another key"
    if message.data != last.data:
        return f"{message.type} with the same key, but other data"
    return None
