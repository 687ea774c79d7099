"""Several processes on one port: each is a node of its own, and one that dies is started again.

The kernel spreads new connections over them (SO_REUSEPORT). They know of each other what nodes on different machines
do, through the stores alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from server.log import Log
from server.metrics import SHARED_FOLDER, forget_worker
from server.node import DRAIN_SECONDS, cannot_listen
from server.settings import Settings
from server.stores import CannotStart

T = TypeVar("T")

_PROGRAM: Final = Path(__file__).parent.parent / "run_server.py"
#: Seconds to the ready line; the stores have answered already.
START_SECONDS: Final = 60.0
#: Seconds that a worker which was told to stop gets: to drain, and to bring the boards up to date.
STOP_SECONDS: Final = DRAIN_SECONDS + 7.0
#: A worker that dies sooner would do so again: the pause before the next start grows, up to the longest.
_STABLE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 8.0


async def serve_with_workers(settings: Settings, log: Log, stop: asyncio.Event, ready: Callable[[str], None]) -> bool:
    """Serve with as many processes as the settings say until told to stop. `ready` is told the address when all of
    them answer. Never fails as a whole once it is ready, so False. Raises CannotStart."""
    with ExitStack() as stack:
        port = reserve(settings.host, settings.port, stack)
        counts = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="braingame-counts-", ignore_cleanup_errors=True)
        )
        orders = settings.model_copy(update={"port": port}).model_dump(mode="json")
        workers = [_Worker(index, orders, counts, log) for index in range(1, settings.workers + 1)]
        keepers = [asyncio.create_task(worker.keep()) for worker in workers]
        told = asyncio.create_task(stop.wait())
        starts = asyncio.create_task(_all_ready(workers))
        try:
            await asyncio.wait([told, starts], return_when=asyncio.FIRST_COMPLETED)
            if starts.done():
                ready(starts.result())
                await told
        finally:
            told.cancel()
            starts.cancel()
            for worker in workers:
                worker.stop()
            await asyncio.wait(keepers)
    return False


async def _all_ready(workers: Sequence[_Worker]) -> str:
    """Where they serve, when all of them do."""
    return (await asyncio.gather(*(worker.address for worker in workers)))[0]


class _Worker:
    """One of the processes; `keep` starts it again and again until `stop`."""

    def __init__(self, index: int, settings: dict[str, object], counts: str, log: Log) -> None:
        self._index = index
        self._orders = json.dumps({"index": index, "settings": settings}).encode() + b"\n"
        self._counts = counts
        self._log = log
        self._stopping = asyncio.Event()
        #: Where it serves, when it does so for the first time; or CannotStart.
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """Drain, and do not start again."""
        self._stopping.set()

    async def keep(self) -> None:
        """Run it until stopped; gives up only when the very first start fails."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            begun = loop.time()
            try:
                code = await self._run_once()
            except (OSError, CannotStart) as error:
                if not self.address.done():
                    self.address.set_exception(error if isinstance(error, CannotStart) else CannotStart(str(error)))
                    return
                self._log.error("a worker cannot start", worker=self._index, reason=str(error))
            else:
                if self._stopping.is_set():
                    break
                self._log.error("a worker has ended and is started again", worker=self._index, code=code)
            if loop.time() - begun >= _STABLE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        if not self.address.done():
            self.address.cancel()

    async def _run_once(self) -> int:
        """From start to end; gives the exit code. Raises CannotStart when it never served."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_PROGRAM),
            "worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, SHARED_FOLDER: self._counts},
        )
        try:
            assert process.stdin is not None  # noqa: S101
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(self._orders)
            line = await self._unless_stopping(process.stdout.readline(), START_SECONDS)
            if line is not None:
                said = json.loads(line or "{}")
                if "address" not in said:
                    raise CannotStart(said.get("cannot_start", f"worker {self._index} ended before it was ready"))
                if not self.address.done():
                    self.address.set_result(said["address"])
                await self._unless_stopping(process.wait())
            elif not self._stopping.is_set():
                raise CannotStart(f"worker {self._index} was not ready within {START_SECONDS:g} s")
        finally:
            code = await self._end(process)
        return code

    async def _unless_stopping(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T | None:
        """What the work gives; None when `stop` or the time comes first."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([working, stopping], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            stopping.cancel()

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await process.wait()
        except TimeoutError:
            self._log.error("a worker does not stop and is killed", worker=self._index)
            process.kill()
            code = await process.wait()
        forget_worker(process.pid, self._counts)
        return code


def reserve(host: str, port: int, stack: ExitStack) -> int:
    """Keep the port for the workers, until the stack ends, and give its number. Raises CannotStart."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            # Another server's workers would share their port with ours, so ask first whether anybody listens.
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address[0], port, *address[2:]))
                if port == 0:
                    port = probe.getsockname()[1]
            held = stack.enter_context(socket.socket(family, kind, protocol))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((address[0], port, *address[2:]))
    except OSError as error:
        raise CannotStart(cannot_listen(host, port, error)) from None
    return port
