"""One whole server in this process, as server/main.py builds it, listening on a free port."""

from __future__ import annotations

import asyncio
import io
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.testing import LogCapture

from server.main import EXIT_OK, serve
from server.settings import Settings
from tests.server.fakes import DEADLINE
from tests.stores import Stores

_READY = "Brain Game is ready on "


class _FirstLine(io.StringIO):
    """Standard output, with a future for the line that is printed first."""

    def __init__(self) -> None:
        super().__init__()
        self.line: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def flush(self) -> None:
        super().flush()
        if not self.line.done() and self.getvalue().endswith("\n"):
            self.line.set_result(self.getvalue().rstrip("\n"))


@dataclass
class Edge:
    """The running server as its clients see it, and what it has logged."""

    http: str
    capture: LogCapture
    task: asyncio.Task[int]

    @property
    def netloc(self) -> str:
        return self.http.removeprefix("http://")

    @property
    def ws(self) -> str:
        return f"ws://{self.netloc}/ws"

    @property
    def host(self) -> str:
        return self.netloc.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.netloc.rpartition(":")[2])

    @property
    def errors(self) -> list[Any]:
        """What an operator would have been alarmed by."""
        return [line for line in self.capture.entries if line["log_level"] in ("error", "critical", "exception")]

    def told_to_stop(self) -> asyncio.Task[int]:
        """Send SIGTERM, as an operator does; the task ends with the exit code."""
        assert not self.task.done()  # nobody else would handle the signal
        signal.raise_signal(signal.SIGTERM)
        return self.task


@asynccontextmanager
async def edge_on(stores: Stores, database_url: str, **settings: Any) -> AsyncIterator[Edge]:
    """Run a server until the end of the block; no error may have been logged by then, unless the test took it out."""
    defaults: dict[str, Any] = {
        "port": 0,
        "database_url": database_url,
        "redis_url": stores.redis_url,
        "bcrypt_cost": 4,
        "board_hz": 50.0,
        "jwt_secret": "a secret for tests that is long enough",
    }
    chosen = Settings(**defaults | settings)
    capture = LogCapture()
    log = structlog.wrap_logger(None, processors=[structlog.processors.add_log_level, capture])
    output = _FirstLine()
    task = asyncio.create_task(serve(chosen, log, output))
    waited_for: list[asyncio.Future[Any]] = [task, output.line]
    await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
    if task.done():
        await task
    ready = await output.line
    assert ready.startswith(_READY)
    edge = Edge(ready.removeprefix(_READY), capture, task)
    try:
        yield edge
    finally:
        if not task.done():
            edge.told_to_stop()
        assert await task == EXIT_OK
    assert edge.errors == []


@dataclass
class Answer:
    """An HTTP answer, read from raw bytes."""

    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """A client that sends bytes, not messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *lines: str) -> None:
        """Send a request head."""
        self.writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())

    async def answer(self) -> Answer:
        """Read one HTTP answer."""
        async with asyncio.timeout(DEADLINE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def raw_to(edge: Edge, *, room: int | None = None) -> AsyncIterator[Raw]:
    """A connection; with `room` it takes only about so many bytes that nobody reads."""
    plain = socket.socket()
    if room is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, (edge.host, edge.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=room or 65536)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def upgrade(edge: Edge, *more: str, path: str = "/ws", method: str = "GET", version: str = "1.1") -> tuple[str, ...]:
    """The lines of a handshake."""
    return (
        f"{method} {path} HTTP/{version}",
        f"Host: {edge.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *more,
    )
