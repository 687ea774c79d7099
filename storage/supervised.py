"""A store's process: started, watched, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from storage.data_folder import EmbeddedStoresError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0
_LOG_TAIL_LINES: Final = 5
_LOG_BYTES: Final = 10_000_000
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


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
    #: Whether the store answers; called with the process id.
    is_ready: Callable[[int], bool]


def spawn(
    command: Sequence[str], folder: Path, output: int, account: Account | None, stop_signal: int, keep: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start a process that the kernel stops when we die.

    Call it from the main thread: the signal comes when the parent *thread* ends. The process gets a session of its own,
    so that Ctrl-C, which goes to the terminal's whole process group, does not stop the stores before the server has
    drained.
    """
    parent = os.getpid()

    def in_child() -> None:
        # After the change of user, which would clear it.
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
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
        start_new_session=True,
        preexec_fn=in_child,
        **identity,
    )


async def wait_for_exit(process: subprocess.Popen[bytes]) -> int:
    """The exit code (negative: the signal). Does not block the loop and needs no handler for SIGCHLD."""
    code = process.poll()
    if code is not None:
        return code
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
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
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it; raises EmbeddedStoresError with the end of its log."""
        self._rotate_log()
        await self._start_once()
        self._keeper = asyncio.create_task(self._keep_running(), name=f"keep {self._recipe.name}")

    async def stop(self) -> None:
        """End it in order, or with force when it takes too long. Once more changes nothing."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(self._recipe.stop_signal)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await wait_for_exit(process)
        except TimeoutError:
            self._log.warning("a store did not stop in time and is killed", store=self._recipe.name)
            process.kill()
            await wait_for_exit(process)

    async def _start_once(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        process = self._process = self._spawn()
        while not self._recipe.is_ready(process.pid):
            if process.poll() is not None:
                raise EmbeddedStoresError(f"{self._recipe.name} does not start: {self._end_of_log()}")
            if loop.time() > deadline:
                raise EmbeddedStoresError(f"{self._recipe.name} takes too long to start: {self._end_of_log()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _keep_running(self) -> None:
        pause = 0.0
        while True:
            process = self._process
            assert process is not None  # noqa: S101
            code = await wait_for_exit(process)
            self._log.warning("a store has ended and is started again", store=self._recipe.name, code=code)
            await asyncio.sleep(pause)
            try:
                await self._start_once()
                pause = 0.0
                self._log.info("a store is back", store=self._recipe.name)
            except EmbeddedStoresError as error:
                # After a kill of the postmaster its last backends hold the shared memory for a moment.
                self._log.warning("a store could not be started again", store=self._recipe.name, reason=str(error))
                pause = min(_LONGEST_PAUSE_SECONDS, max(_FIRST_PAUSE_SECONDS, pause * 2))
                if self._process is not None and self._process.poll() is None:
                    self._process.kill()

    def _spawn(self) -> subprocess.Popen[bytes]:
        recipe = self._recipe
        try:
            output = os.open(recipe.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            try:
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
        with suppress(OSError):
            lines = self._recipe.log_file.read_text(errors="replace").splitlines()
            return " | ".join(lines[-_LOG_TAIL_LINES:])
        return "it has written no log"
