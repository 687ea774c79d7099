"""What the server counts, in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from server.version import VERSION

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: Seconds; a group commit takes some milliseconds, and an action is given up after 1.5 s.
_COMMIT_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        Info("braingame_build", "What runs.", registry=self._registry).info({"version": VERSION})
        self._requests = Counter(
            "braingame_requests",
            "Requests by type, and what came of them: ok, or the code of the error.",
            ["type", "outcome"],
            registry=self._registry,
        )
        self._commits = Histogram(
            "braingame_commit_seconds",
            "From an action that is decided to its durable outcome.",
            buckets=_COMMIT_BUCKETS,
            registry=self._registry,
        )
        self._connections = Gauge("braingame_connections", "Open sockets by role.", ["role"], registry=self._registry)
        self._behind = Gauge(
            "braingame_boards_behind", "1 while the boards in Redis may be behind PostgreSQL.", registry=self._registry
        )

    def watch(self, connections: Callable[[], tuple[int, int]], boards_behind: Callable[[], bool]) -> None:
        """Where to look at each scrape: open sockets of players and of spectators, and whether boards are behind."""
        self._connections.labels("player").set_function(lambda: connections()[0])
        self._connections.labels("spectator").set_function(lambda: connections()[1])
        self._behind.set_function(lambda: float(boards_behind()))

    def request(self, kind: str, outcome: str) -> None:
        """A request was answered."""
        self._requests.labels(kind, outcome).inc()

    def commit(self, seconds: float) -> None:
        """An action was committed, or could not be."""
        self._commits.observe(seconds)

    def text(self) -> bytes:
        """All of it, to be scraped."""
        return generate_latest(self._registry)
