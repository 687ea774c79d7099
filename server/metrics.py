"""What the server counts, in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/).

Several workers count in files of one folder (prometheus_client's multiprocess mode), so that whichever of them is
scraped tells of all.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from server.version import VERSION

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: The folder that several workers share. prometheus_client reads it while it is imported.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_LOOK_SECONDS: Final = 1.0
#: Seconds; a group commit takes some milliseconds, and an action is given up after 1.5 s.
_COMMIT_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Metrics:
    """The figures of one server, in a registry of its own, or of all workers on a port."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._shared = SHARED_FOLDER in os.environ
        self._looks: list[Callable[[], None]] = []
        build = Gauge("braingame_build_info", "What runs.", ["version"], registry=registry, multiprocess_mode="livemax")
        build.labels(VERSION).set(1)
        self._requests = Counter(
            "braingame_requests",
            "Requests by type, and what came of them: ok, or the code of the error.",
            ["type", "outcome"],
            registry=registry,
        )
        #: What was not yet told the library, which takes longer to count than some requests take to be answered.
        self._outcomes: Tally[tuple[str, str]] = Tally()
        self._commits = _Durations(
            Histogram(
                "braingame_commit_seconds",
                "From an action that is decided to its durable outcome.",
                buckets=_COMMIT_BUCKETS,
                registry=registry,
            ),
            _COMMIT_BUCKETS,
        )
        self._limits_hit = Counter(
            "braingame_limits_hit",
            "Refusals by the limit that somebody has come up against.",
            ["limit"],
            registry=registry,
        )
        self._connections = Gauge(
            "braingame_connections", "Open sockets by role.", ["role"], registry=registry, multiprocess_mode="livesum"
        )
        self._behind = Gauge(
            "braingame_boards_behind",
            "1 while the boards in Redis may be behind PostgreSQL.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._canary = Gauge(
            "braingame_canary_seconds",
            "How long the last proof of delivery took, through Redis to a socket.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._canary_landed = Gauge(
            "braingame_canary_landed_timestamp_seconds",
            "When delivery was proven last.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._checked_players = Counter(
            "braingame_check_players", "Players whose log was replayed by the rolling check.", registry=registry
        )
        self._checked_ladders = Counter(
            "braingame_check_ladders", "Boards that the rolling check has gone through.", registry=registry
        )
        self._differences = Counter(
            "braingame_check_differences",
            "What the rolling check found to be other than the log makes it.",
            registry=registry,
        )
        self._check_passed = Gauge(
            "braingame_check_last_pass_timestamp_seconds",
            "When the rolling check was last through with all players, in Unix time; 0 before.",
            registry=registry,
            multiprocess_mode="max",
        )

    def watch(self, connections: Callable[[], tuple[int, int]], boards_behind: Callable[[], bool]) -> None:
        """Where to look at each scrape: open sockets of players and of spectators, and whether boards are behind."""

        def look() -> None:
            players, spectators = connections()
            self._connections.labels("player").set(players)
            self._connections.labels("spectator").set(spectators)
            self._behind.set(boards_behind())

        self._looks.append(look)

    async def run(self) -> None:
        """Look each second for those who scrape another worker, until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(_LOOK_SECONDS)

    def landed(self, seconds: float) -> None:
        """A canary was delivered (server/canary.py)."""
        self._canary.set(seconds)
        self._canary_landed.set_to_current_time()

    def request(self, kind: str, outcome: str) -> None:
        """A request was answered."""
        self._outcomes[kind, outcome] += 1

    def limit_hit(self, limit: str) -> None:
        """Somebody was refused because of this limit."""
        self._limits_hit.labels(limit).inc()

    def commit(self, seconds: float) -> None:
        """An action was committed, or could not be."""
        self._commits.add(seconds)

    def checked(self, players: int, ladders: int, differences: int) -> None:
        """What one look of the rolling check has come to: how many of each."""
        self._checked_players.inc(players)
        self._checked_ladders.inc(ladders)
        self._differences.inc(differences)

    def check_passed(self, at: datetime) -> None:
        """The rolling check is through with all players."""
        self._check_passed.set(at.timestamp())

    def text(self) -> bytes:
        """All of it, to be scraped."""
        self._look()
        if not self._shared:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _look(self) -> None:
        for look in self._looks:
            look()
        outcomes, self._outcomes = self._outcomes, Tally()
        for labels, count in outcomes.items():
            self._requests.labels(*labels).inc(count)
        self._commits.tell()


class _Durations:
    """Seconds by bucket, told to a histogram now and then: it has no way to take many at once but its own parts."""

    def __init__(self, histogram: Histogram, bounds: Sequence[float]) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def tell(self) -> None:
        counts, self._counts = self._counts, [0] * len(self._counts)
        seconds, self._seconds = self._seconds, 0.0
        for bucket, count in zip(self._histogram._buckets, counts, strict=True):
            bucket.inc(count)
        self._histogram._sum.inc(seconds)


def forget_worker(pid: int, folder: str) -> None:
    """A worker has ended: what it counted stays in the sums, and what it had open does not."""
    multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
