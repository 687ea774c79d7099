"""What the tests of the embedded stores share: a log to read, folders, processes, and ways to look at the stores."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio

from storage.embedded import EmbeddedStores

ROOT = Path(__file__).parent.parent.parent
#: Nothing that a test waits for takes this long; a longer wait is a failure.
PATIENCE = 30.0
AS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")


class Events:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.all_with_values: list[tuple[str, dict[str, Any]]] = []

    @property
    def all(self) -> list[str]:
        return [event for event, _ in self.all_with_values]

    def info(self, event: str, **values: Any) -> None:
        self.all_with_values.append((event, values))

    warning = info


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether there is such a process that does anything: a zombie has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "stores/postgres/postmaster.pid").read_text().splitlines()[0])


def processes_in(folder: Path) -> set[int]:
    """Every process that works in the folder or below it: the stores' and their children's."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(folder) and is_alive(int(entry.name)):
                found.add(int(entry.name))
    return found


def copy_folder(source: Path, target: Path) -> Path:
    """A copy with modes, owners and links."""
    subprocess.run(["cp", "-a", source, target], check=True)
    return target


@asynccontextmanager
async def connected(url: str | None) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    try:
        yield connection
    finally:
        await connection.close(timeout=PATIENCE)


@asynccontextmanager
async def client_of(url: str | None) -> AsyncIterator[Any]:
    # Any: redis-py's own hints give each command's synchronous and asynchronous result at once.
    client = redis.asyncio.from_url(url or "", decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


async def write(stores: EmbeddedStores | Started, text: str) -> None:
    """Put something into both stores."""
    async with connected(stores.database_url) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (text text)")
        await connection.execute("INSERT INTO kept VALUES ($1)", text)
    async with client_of(stores.redis_url) as client:
        await client.rpush("kept", text)


async def read(stores: EmbeddedStores | Started) -> tuple[list[str], list[str]]:
    """What was put into PostgreSQL, and into Valkey."""
    async with connected(stores.database_url) as connection:
        rows = [row["text"] for row in await connection.fetch("SELECT text FROM kept")]
    async with client_of(stores.redis_url) as client:
        return rows, await client.lrange("kept", 0, -1)


class Started:
    """A run of `stores_process.py`. Leads a process group, as what is started in a terminal does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.database_url: str | None = None
        self.redis_url: str | None = None

    async def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            said: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return said

    async def ready(self) -> None:
        said = await self.line()
        self.database_url, self.redis_url = said["database_url"], said["redis_url"]

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await self.code()

    async def code(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def started(data_dir: Path, shared_home: Path, *flags: str, uid: int | None = None) -> AsyncIterator[Started]:
    """Start the process, as another user if need be, and end it afterwards in any case."""
    command = [sys.executable, "-m", "tests.storage.stores_process", str(data_dir), f"--shared-home={shared_home}"]
    other = uid is not None and uid != os.geteuid()
    identity: dict[str, Any] = {"user": uid, "group": NOBODY.pw_gid, "extra_groups": []} if other else {}
    process = await asyncio.create_subprocess_exec(
        *command,
        *flags,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        process_group=0,
        **identity,
    )
    try:
        yield Started(process)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(PATIENCE):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def why_not_as_nobody() -> str:
    """Why `stores_process.py` cannot be run by an ordinary user; empty if it can.

    Nothing that could be installed, so it does not fail a CI whose Python or checkout lies in a closed folder.
    """
    command = [sys.executable, "-c", "import tests.storage.stores_process"]
    reason = "the user nobody cannot read this project or its Python; move both to open folders"
    try:
        result = subprocess.run(
            command,
            cwd=ROOT,
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return reason
    return reason if result.returncode else ""


def listens_on_network(pids: set[int]) -> bool:
    """Whether any of the processes has a listening TCP socket."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if found := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                    inodes.add(found[1])
    listening = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":  # TCP_LISTEN
                    listening.add(fields[9])
    assert inodes  # they do have sockets
    return bool(inodes & listening)
