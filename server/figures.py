"""What this node did in each of the last seconds, for the operators' page: a ring of samples, and what the next one is
made of."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from server.clock import Clock

INTERVAL_SECONDS: Final = 1.0
#: Five minutes.
MAX_SAMPLES: Final = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """One second, which ended at `at`; times in milliseconds, None where there was nothing to measure.

    `actions` were committed in it, for sockets and HTTP. `board_staleness_ms` is the longest time from the commit of an
    entry to the moment when the changed board was handed to its subscribers here.
    """

    at: datetime
    players: int
    spectators: int
    actions: int
    commit_p50_ms: float | None
    commit_p99_ms: float | None
    board_staleness_ms: float | None
    boards_behind: bool


class Figures:
    """One task, `run`, which the owner starts and cancels."""

    def __init__(
        self, connections: Callable[[], tuple[int, int]], boards_behind: Callable[[], bool], clock: Clock
    ) -> None:
        """Where to look each second: open sockets of players and of spectators, and whether boards are behind."""
        self._connections = connections
        self._boards_behind = boards_behind
        self._clock = clock
        self._commits: list[float] = []
        self._staleness: float | None = None
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)

    def committed(self, seconds: float) -> None:
        """An action was committed, which took so long."""
        self._commits.append(seconds)

    def handed(self, seconds: float) -> None:
        """A changed board was handed to its subscribers, so long after the commit of the oldest change in it."""
        self._staleness = seconds if self._staleness is None else max(self._staleness, seconds)

    def samples(self) -> list[Sample]:
        """The last seconds, the newest last."""
        return list(self._samples)

    def sample(self) -> None:
        """The second is over: make its sample and begin the next one."""
        commits, self._commits = sorted(self._commits), []
        staleness, self._staleness = self._staleness, None
        players, spectators = self._connections()
        self._samples.append(
            Sample(
                at=self._clock(),
                players=players,
                spectators=spectators,
                actions=len(commits),
                commit_p50_ms=_milliseconds(quantile(commits, 0.5)),
                commit_p99_ms=_milliseconds(quantile(commits, 0.99)),
                board_staleness_ms=_milliseconds(staleness),
                boards_behind=self._boards_behind(),
            )
        )

    async def run(self) -> None:
        """Make a sample each second, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # By the loop's clock, so that small delays do not add up; after a long one the missed seconds are one.
            due = max(due + INTERVAL_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())
            self.sample()


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that this share of the values does not exceed (nearest rank); None of no values."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
