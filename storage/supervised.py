"""A store's process: started, watched, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from storage.data_folder import EmbeddedStoresError

#: Seconds to the first answer. PostgreSQL may have to repeat its log after a crash, Valkey to read all of its own.
START_SECONDS: Final = 120.0
#: Seconds to write everything down and end.
STOP_SECONDS: Final = 10.0
#: A store that dies sooner after it was ready would do so again: the pause before the next start grows on.
_STABLE_SECONDS: Final = 10.0
_KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01
_SLOW_POLL_SECONDS: Final = 0.1
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0
_LOG_TAIL_LINES: Final = 5
_LOG_TAIL_BYTES: Final = 4096
_LOG_BYTES: Final = 10_000_000
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
#: Nothing of the user's: PGDATA, LD_PRELOAD and the like are not meant for us.
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class Log(Protocol):
    """What is needed of a logger: an event, and its values by name."""

    def info(self, event: str, **values: Any) -> Any:
        """Something happened."""

    def warning(self, event: str, **values: Any) -> Any:
        """Something happened that should not."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a process runs as; None for our own."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to run one store."""

    name: str
    command: Sequence[str]
    folder: Path
    log_file: Path
    #: Asks the process to write everything down and end.
    stop_signal: signal.Signals
    #: Whether the store answers; called with the process id. Says False rather than raise.
    is_ready: Callable[[int], Awaitable[bool]]


def spawn(
    command: Sequence[str], folder: Path, output: int, account: Account | None, stop_signal: int, keep: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start a process that the kernel sends `stop_signal` when we die. Raises OSError or SubprocessError.

    Only from the main thread: the signal comes when the parent *thread* ends, and any other may end before the server
    does. The process gets a session of its own, so that Ctrl-C, which goes to the terminal's whole process group, does
    not stop the stores before the server has drained. Descriptors in `keep` are inherited.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("stores are started from the main thread only")
    parent = os.getpid()
    # Looked up before the fork: another thread may hold the dynamic loader's lock, which the child would wait for.
    prctl = _LIBC.prctl

    def in_child() -> None:
        # After the change of user, which would clear it.
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # The parent died before the signal was asked for.

    identity: Mapping[str, Any] = {}
    if account is not None:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.Popen(  # noqa: S603 - our own command line
        command,
        cwd=folder,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(keep),
        umask=0o077,
        start_new_session=True,
        preexec_fn=in_child,
        **identity,
    )


async def wait_for_exit(process: subprocess.Popen[bytes]) -> int:
    """The exit code (negative: the signal). Does not block the loop and needs no handler for SIGCHLD."""
    code = process.poll()
    if code is not None:
        return code
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        # No descriptor left, or a sandbox that does not know the call: look now and then.
        while (code := process.poll()) is None:  # noqa: ASYNC110 - the kernel sets no event here
            await asyncio.sleep(_SLOW_POLL_SECONDS)
        return code
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


class Supervised:
    """One store. `start` returns when it answers; from then on it is kept running until `stop`."""

    def __init__(self, recipe: Recipe, account: Account | None, keep: Sequence[int], log: Log) -> None:
        self._recipe = recipe
        self._account = account
        self._keep_open = keep
        self._log = log
        self._log_begin = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it; raises EmbeddedStoresError with the end of its log. Call `stop` in any case."""
        self._rotate_log()
        try:
            async with asyncio.timeout(START_SECONDS):
                process = await self._start_once()
        except TimeoutError:
            raise EmbeddedStoresError(f"{self._recipe.name} takes too long to start: {self._end_of_log()}") from None
        self._keeper = asyncio.create_task(self._keep_running(process), name=f"keep {self._recipe.name}")

    async def stop(self) -> None:
        """End it in order, or with force when it takes too long. Once more changes nothing.

        Raises EmbeddedStoresError when not even that ends it.
        """
        if self._keeper is not None:
            self._keeper.cancel()
            (outcome,) = await asyncio.gather(self._keeper, return_exceptions=True)
            if isinstance(outcome, Exception):
                self._log.warning("a store was not watched any more", store=self._recipe.name, reason=repr(outcome))
            self._keeper = None
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(self._recipe.stop_signal)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await wait_for_exit(process)
                return
        except TimeoutError:
            self._log.warning("a store did not stop in time and is killed", store=self._recipe.name)
        process.kill()
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await wait_for_exit(process)
        except TimeoutError:
            raise EmbeddedStoresError(f"{self._recipe.name} (pid {process.pid}) cannot be stopped") from None

    async def _start_once(self) -> subprocess.Popen[bytes]:
        process = self._process = self._spawn()
        while not await self._recipe.is_ready(process.pid):
            if process.poll() is not None:
                raise EmbeddedStoresError(f"{self._recipe.name} does not start: {self._end_of_log()}")
            await asyncio.sleep(_POLL_SECONDS)
        return process

    async def _keep_running(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            ready_at = loop.time()
            code = await wait_for_exit(process)
            self._log.warning("a store has ended and is started again", store=self._recipe.name, code=code)
            if loop.time() - ready_at >= _STABLE_SECONDS:
                pause = 0.0
            while True:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, max(_FIRST_PAUSE_SECONDS, pause * 2))
                try:
                    # However long it takes: who is killed while repeating the log after a crash begins all over again.
                    process = await self._start_once()
                    break
                except EmbeddedStoresError as error:
                    # After a kill of the postmaster its last backends hold the shared memory for a moment, and
                    # PostgreSQL refuses to start until they have noticed.
                    self._log.warning("a store could not be started again", store=self._recipe.name, reason=str(error))
            self._log.info("a store is back", store=self._recipe.name)

    def _spawn(self) -> subprocess.Popen[bytes]:
        recipe = self._recipe
        try:
            output = os.open(recipe.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._log_begin = os.fstat(output).st_size
                return spawn(recipe.command, recipe.folder, output, self._account, recipe.stop_signal, self._keep_open)
            finally:
                os.close(output)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedStoresError(f"{recipe.name} cannot be run: {error}") from None

    def _rotate_log(self) -> None:
        with suppress(FileNotFoundError):
            if self._recipe.log_file.stat().st_size > _LOG_BYTES:
                self._recipe.log_file.rename(self._recipe.log_file.with_suffix(".log.1"))

    def _end_of_log(self) -> str:
        """The last lines of what the last process has written, as one."""
        with suppress(OSError), self._recipe.log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_begin, size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
            return " | ".join([line.strip() for line in lines if line.strip()][-_LOG_TAIL_LINES:]) or "it says nothing"
        return "it has written no log"
