"""The machine of a measurement: stores and load on one core, the server that is measured on another.

All of it is started by the benchmark's own process, listens on loopback or on Unix sockets only, and ends with it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]
import structlog

from storage.embedded import EmbeddedStores

ROOT: Final = Path(__file__).parent.parent
#: Seconds in which a server has to say that it is ready: a million entries to bring to Redis first take a while.
PATIENCE: Final = 300.0
_READY: Final = re.compile(r"ready on (?P<url>http://[^\s]+)")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores do what. With fewer than two everything shares one, and the figures say little."""

    server: frozenset[int]
    rest: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first core for the server, the others for the stores and the load."""
        first, *others = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(others or {first}))


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """Empty stores for one measurement."""

    database: str
    redis: str
    pids: tuple[int, ...]


@asynccontextmanager
async def stores(cores: Cores) -> AsyncIterator[StoreUrls]:
    """A PostgreSQL (fsync on) and a Valkey (append-only file, each second) of their own, empty, on the other cores.

    Call it from the main thread. This process is moved there, too: it is the load generator.
    """
    os.sched_setaffinity(0, cores.rest)
    before = {child.pid for child in psutil.Process().children()}
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(prefix="bg-bench-") as folder:
        # Root's stores run as somebody else, who has to come through.
        os.chmod(folder, 0o755)  # noqa: PTH101, S103
        async with EmbeddedStores(Path(folder) / "var", log=structlog.get_logger(), postgres_connections=200) as both:
            assert both.database_url is not None  # noqa: S101
            assert both.redis_url is not None  # noqa: S101
            pids = tuple(child.pid for child in psutil.Process().children() if child.pid not in before)
            yield StoreUrls(both.database_url, both.redis_url, pids)


class Server:
    """A server process of a measurement, ours or a peer's. Its descendants count as the server."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.url = url
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """What it has used so far, user and system, with its descendants."""
        return cpu_seconds([self.pid])

    def memory(self) -> int:
        """Resident bytes of it and its descendants."""
        return sum(one.memory_info().rss for one in _family(self.pid))


@asynccontextmanager
async def server(
    command: Sequence[str], cores: frozenset[int], variables: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> AsyncIterator[Server]:
    """Start it, and wait until it writes a line with `ready on http://host:port` to standard output.

    What it writes otherwise is in the error if it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="bg-bench-log-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=cwd,
                env={name: value for name, value in os.environ.items() if not name.startswith("BRAINGAME_")}
                | dict(variables or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        drain = asyncio.create_task(_ready_url(process))
        try:
            async with asyncio.timeout(PATIENCE):
                url = await drain
            if url is None:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-4000:]}")
            rest = asyncio.create_task(_read_on(process))
            try:
                yield Server(process, url, log)
            finally:
                rest.cancel()
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), 20)
                except TimeoutError:
                    process.kill()
                    await process.wait()


@asynccontextmanager
async def brain_game(cores: Cores, urls: StoreUrls, **settings: str) -> AsyncIterator[Server]:
    """Our server as it is measured: cheap passwords, no limits on the rate of messages."""
    variables = {
        "BRAINGAME_PORT": "0",
        "BRAINGAME_BCRYPT_COST": "4",
        "BRAINGAME_LIMITS": "off",
        "BRAINGAME_JWT_SECRET": "a secret of the benchmark, long enough",
        "BRAINGAME_MIGRATE": "on",
        "DATABASE_URL": urls.database,
        "REDIS_URL": urls.redis,
    } | {name if name.isupper() else f"BRAINGAME_{name.upper()}": value for name, value in settings.items()}
    with tempfile.TemporaryDirectory(prefix="bg-bench-data-") as folder:
        command = [sys.executable, str(ROOT / "run_server.py"), "--data-dir", folder]
        async with server(command, cores.server, variables) as one:
            yield one


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes and their descendants so far."""
    total = 0.0
    for pid in pids:
        for one in _family(pid):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def description() -> dict[str, str]:
    """What the figures were measured on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "CPU": f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
    }


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


async def _ready_url(process: asyncio.subprocess.Process) -> str | None:
    assert process.stdout is not None  # noqa: S101
    async for line in process.stdout:
        if found := _READY.search(line.decode(errors="replace")):
            return found["url"]
    return None


async def _read_on(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None  # noqa: S101
    while await process.stdout.read(65536):
        pass
