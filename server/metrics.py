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

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from protocol.client_messages import CLIENT_TYPES
from protocol.errors import CloseCode
from server.gauges import Gauges

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: The folder that several workers share. prometheus_client reads it while it is imported.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
#: The type of what has none that is known.
NO_TYPE: Final = "none"
_LOOK_SECONDS: Final = 1.0
#: Every so many looks those are taken, too, that go through all sockets.
_THOROUGH: Final = 5
#: Seconds; a group commit takes some milliseconds, and an action is given up after 1.5 s.
_COMMIT_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
#: What is to be below 0.25 s, and becomes long when a store is away.
_DELIVERY_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)
#: bcrypt takes a quarter of a second, and may have to wait for its turn.
_HTTP_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: How sockets end beside the codes of the contract: gone without a word, without a code, by a broken frame.
_CLOSES: Final = frozenset({*CloseCode, 1002, 1005, 1006})
#: Limits that are there from the start, at 0: a rate of what appears for the first time would miss it.
_LIMITS: Final = (
    "socket_messages",
    "player_messages",
    "address_sockets",
    "account_sockets",
    "login_address",
    "login_account",
    "register_address",
    "doorway_connections",
    "subscriptions",
    "message_fragments",
    "message_seconds",
)


class Metrics:
    """The figures of one server, in a registry of its own, or of all workers on a port."""

    def __init__(self) -> None:
        # When something was counted first is no figure of ours, and would be half of all lines.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._shared = SHARED_FOLDER in os.environ
        self.gauges = Gauges(registry, shared=self._shared)
        self._requests = Counter(
            "braingame_requests",
            "Requests by type, and what came of them: ok, or the code of the error.",
            ["type", "outcome"],
            registry=registry,
        )
        for kind in sorted(CLIENT_TYPES):
            for outcome in ("ok", "unavailable", "internal"):
                self._requests.labels(kind, outcome)
        #: What was not yet told the library, which takes longer to count than some requests take to be answered.
        self._outcomes: Tally[tuple[str, str]] = Tally()
        self._http = Counter(
            "braingame_http_requests",
            "HTTP requests by method, route and class of the status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._http_seconds = Histogram(
            "braingame_http_seconds",
            "From an HTTP request to its answer, by route.",
            ["route"],
            buckets=_HTTP_BUCKETS,
            registry=registry,
        )
        self._closes = Counter(
            "braingame_closes", "Sockets that have ended, by close code (RFC 6455).", ["code"], registry=registry
        )
        for code in sorted(_CLOSES):
            self._closes.labels(int(code))
        self._limits_hit = Counter(
            "braingame_limits_hit", "What was refused because there was too much of it.", ["limit"], registry=registry
        )
        for limit in _LIMITS:
            self._limits_hit.labels(limit)
        self._durations: list[_Durations] = []
        self._commits = self._seconds(
            "braingame_commit_seconds", "From an action that is decided to its durable outcome.", _COMMIT_BUCKETS
        )
        self._projections = self._seconds(
            "braingame_projection_seconds", "How long it took to put what was committed on the boards.", _COMMIT_BUCKETS
        )
        self._ticks = self._seconds(
            "braingame_tick_seconds", "How long it took to read changed boards and send what is new.", _COMMIT_BUCKETS
        )
        self._deliveries = self._seconds(
            "braingame_delivery_seconds",
            "From the commit of the oldest change in a delta to its subscribers' buffers, on the node of the commit.",
            _DELIVERY_BUCKETS,
        )
        self._lags = self._seconds(
            "braingame_loop_lag_seconds", "How late the event loop was, looked at once a second.", _LAG_BUCKETS
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
        self.gauges.watch(connections, boards_behind)

    async def run(self) -> None:
        """Look each second for those who scrape another worker, until cancelled; and see how late that is."""
        loop = asyncio.get_running_loop()
        looks = 0
        while True:
            self.gauges.tasks(len(asyncio.all_tasks()))
            self._look(thorough=self._shared and looks % _THOROUGH == 0)
            looks += 1
            due = loop.time() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            self._lags.add(max(0.0, loop.time() - due))

    def landed(self, seconds: float) -> None:
        """A canary was delivered (server/canary.py)."""
        self._canary.set(seconds)
        self._canary_landed.set_to_current_time()

    def request(self, kind: str, outcome: str) -> None:
        """A request was answered."""
        self._outcomes[kind, outcome] += 1

    def http(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered. `route` is the pattern of its path, never the path."""
        self._http.labels(method, route, f"{status // 100}xx").inc()
        self._http_seconds.labels(route).observe(seconds)

    def limit_hit(self, limit: str) -> None:
        """Something was refused because there was too much of it."""
        self._limits_hit.labels(limit).inc()

    def closed(self, code: int) -> None:
        """A socket has ended. Codes that clients make up are counted as one."""
        self._closes.labels(int(code) if code in _CLOSES else "other").inc()

    def commit(self, seconds: float) -> None:
        """An action was committed, or could not be."""
        self._commits.add(seconds)

    def projected(self, seconds: float) -> None:
        """What was committed is on the boards, or could not be put there."""
        self._projections.add(seconds)

    def ticked(self, seconds: float) -> None:
        """Changed boards were read, and what is new was sent."""
        self._ticks.add(seconds)

    def delivered(self, seconds: float) -> None:
        """A changed board was handed to its subscribers, so long after the commit of the oldest change in it."""
        self._deliveries.add(seconds)

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
        self._look(thorough=True)
        if not self._shared:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _look(self, *, thorough: bool) -> None:
        self.gauges.look(thorough=thorough)
        outcomes, self._outcomes = self._outcomes, Tally()
        for labels, count in outcomes.items():
            self._requests.labels(*labels).inc(count)
        for durations in self._durations:
            durations.tell()

    def _seconds(self, name: str, text: str, bounds: Sequence[float]) -> _Durations:
        durations = _Durations(Histogram(name, text, buckets=bounds, registry=self._registry), bounds)
        self._durations.append(durations)
        return durations


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
