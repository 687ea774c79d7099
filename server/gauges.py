"""What is not counted but looked at: how much there is now, in this process or in all workers on a port."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from protocol.http_messages import PartName
from server.version import VERSION
from storage.postgres import PoolUse


class Buffers(NamedTuple):
    """What waits to be sent to clients: bytes in this process, and sockets whose buffer is full."""

    size: int
    full: int


class Gauges:
    """Sources are named once and asked at each look."""

    def __init__(self, registry: CollectorRegistry, *, shared: bool) -> None:
        """`shared`: of several workers, each tells its part (prometheus_client's multiprocess mode)."""
        self._looks: list[Callable[[], None]] = []
        self._thorough: list[Callable[[], None]] = []
        build = Gauge("braingame_build_info", "What runs.", ["version"], registry=registry, multiprocess_mode="livemax")
        build.labels(VERSION).set(1)
        self._connections = Gauge(
            "braingame_connections", "Open sockets by role.", ["role"], registry=registry, multiprocess_mode="livesum"
        )
        said = "Tasks of the event loop, a second ago at most."
        self._tasks = Gauge("braingame_tasks", said, registry=registry, multiprocess_mode="livesum")
        self._behind = Gauge(
            "braingame_boards_behind",
            "1 while the boards in Redis may be behind PostgreSQL.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._staleness = Gauge(
            "braingame_board_staleness_seconds",
            "How long the oldest committed change waits that subscribers here have not been sent; 0 when none waits.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._queues = Gauge(
            "braingame_queue_length",
            "What waits: commits, board entries for Redis, passwords for bcrypt, drawings to be compared.",
            ["queue"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._pool = Gauge(
            "braingame_pool_connections",
            "Connections to PostgreSQL by pool and state; limit is how many there may be.",
            ["pool", "state"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._pool_waiting = Gauge(
            "braingame_pool_waiting",
            "Uses of PostgreSQL that wait for a connection.",
            ["pool"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._buffered = Gauge(
            "braingame_send_buffer_bytes",
            "Bytes that wait in this process for clients to read.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._slow = Gauge(
            "braingame_slow_readers",
            "Sockets whose buffer is full: they are left out of the deltas.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._not_ready = Gauge(
            "braingame_not_ready",
            "1 for a part that /readyz would name: postgresql, redis, delivery.",
            ["part"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.down([])
        if shared:
            # The library has no such collector for several processes: the same names, told of each worker apart.
            self._thorough.append(_Process(registry).look)
        else:
            ProcessCollector(registry=registry)

    def watch(self, connections: Callable[[], tuple[int, int]], boards_behind: Callable[[], bool]) -> None:
        """Where to look: open sockets of players and of spectators, and whether boards are behind."""

        def look() -> None:
            players, spectators = connections()
            self._connections.labels("player").set(players)
            self._connections.labels("spectator").set(spectators)
            self._behind.set(boards_behind())

        self._looks.append(look)

    def tasks(self, count: int) -> None:
        """How many tasks the loop has."""
        self._tasks.set(count)

    def staleness(self, seconds: Callable[[], float]) -> None:
        """Where to look how long the oldest change waits."""
        self._looks.append(lambda: self._staleness.set(seconds()))

    def queue(self, name: str, length: Callable[[], int]) -> None:
        """Where to look how much waits in a queue."""
        self._looks.append(lambda: self._queues.labels(name).set(length()))

    def pool(self, name: str, use: Callable[[], PoolUse]) -> None:
        """Where to look at a pool of connections."""

        def look() -> None:
            now = use()
            for state, count in (("used", now.used), ("idle", now.open - now.used), ("limit", now.limit)):
                self._pool.labels(name, state).set(count)
            self._pool_waiting.labels(name).set(now.waiting)

        self._looks.append(look)

    def buffers(self, now: Callable[[], Buffers]) -> None:
        """Where to look at what waits for clients."""

        def look() -> None:
            size, full = now()
            self._buffered.set(size)
            self._slow.set(full)

        self._thorough.append(look)

    def down(self, parts: Collection[PartName]) -> None:
        """What does not work now."""
        for part in get_args(PartName):
            self._not_ready.labels(part).set(part in parts)

    def look(self, *, thorough: bool) -> None:
        """Ask the sources; those that go through all sockets or descriptors only where it is `thorough`."""
        for look in self._looks:
            look()
        if thorough:
            for look in self._thorough:
                look()


class _Process:
    """What prometheus_client's collector tells of a process, for one of several workers: gauges with its `pid`, and the
    sum of their processor time, those that have ended included."""

    _GAUGES: Final = {
        "process_open_fds": "Number of open file descriptors.",
        "process_max_fds": "Maximum number of open file descriptors.",
        "process_resident_memory_bytes": "Resident memory size in bytes.",
        "process_start_time_seconds": "Start time of the process since unix epoch in seconds.",
    }
    _CPU: Final = "process_cpu_seconds_total"

    def __init__(self, registry: CollectorRegistry) -> None:
        self._source = ProcessCollector(registry=None)
        self._gauges = {
            name: Gauge(name, text, registry=registry, multiprocess_mode="liveall")
            for name, text in self._GAUGES.items()
        }
        self._cpu = Counter(self._CPU, "Total user and system CPU time spent in seconds.", registry=registry)
        self._told = 0.0

    def look(self) -> None:
        """Tell what it is now."""
        for family in self._source.collect():
            for sample in family.samples:
                if sample.name in self._gauges:
                    self._gauges[sample.name].set(sample.value)
                elif sample.name == self._CPU:
                    self._cpu.inc(max(0.0, sample.value - self._told))
                    self._told = sample.value
