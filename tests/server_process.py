"""The server as its own process, for tests that look at it from outside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).parent.parent
READY = re.compile(r"Brain Game is ready on http://(?P<host>.+):(?P<port>\d+)")
#: Nothing that a test waits for takes this long; a longer wait is a failure.
PATIENCE = 30.0


class ServerProcess:
    """One run of `run_server.py`; what it writes to standard error is in `log`."""

    #: The tree that it runs from, and what of it is run.
    root: ClassVar[Path] = ROOT
    program: ClassVar[str] = "run_server.py"

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0
        self.log = ""
        self._reader = asyncio.create_task(self._read_log())

    @classmethod
    async def start(cls, *flags: str, **variables: str) -> Self:
        """Start it on a free port; it is ready when this returns."""
        server = await cls.spawn(*flags, **variables)
        await server.wait_until_ready()
        return server

    @classmethod
    async def spawn(cls, *flags: str, **variables: str) -> Self:
        """Start it without waiting."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRAINGAME_")}
        settings = {"BRAINGAME_PORT": "0", "BRAINGAME_BCRYPT_COST": "4", **variables}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(cls.root / cls.program),
            *flags,
            cwd=variables.get("BRAINGAME_DATA_DIR", cls.root),
            env=inherited | settings,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(process)

    @property
    def origin(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    async def wait_until_ready(self) -> None:
        """Read the ready line, or fail with the log."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = (await self.process.stdout.readline()).decode()
        found = READY.fullmatch(line.strip())
        if found is None:
            await self.exit_code()
            raise AssertionError(f"the server is not ready: {line!r}\n{self.log}")
        self.port = int(found["port"])

    async def exit_code(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self._reader
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; gives the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.exit_code()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"the server does not stop\n{self.log}") from error

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log += line.decode(errors="replace")


class Player:
    """A WebSocket client for tests: requests by name, pushes collected in the order of their arrival."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.pushes: list[dict[str, Any]] = []
        self._ids = 0

    async def receive(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def ask(self, kind: str, **data: Any) -> dict[str, Any]:
        """Send a request; gives the whole reply, error or not."""
        self._ids += 1
        await self.connection.send(json.dumps({"type": kind, "id": self._ids, "data": data}))
        while (message := await self.receive()).get("re") != self._ids:
            assert "re" not in message, f"a reply to nothing: {message}"
            self.pushes.append(message)
        return message

    async def do(self, kind: str, **data: Any) -> dict[str, Any]:
        """Send a request that has to succeed; gives the reply's data."""
        reply = await self.ask(kind, **data)
        assert reply["type"] != "error", reply
        answer: dict[str, Any] = reply["data"]
        return answer

    async def push(self, kind: str) -> dict[str, Any]:
        """The data of the next push of this type, waiting for it."""
        while True:
            for index, message in enumerate(self.pushes):
                if message["type"] == kind:
                    del self.pushes[index]
                    data: dict[str, Any] = message["data"]
                    return data
            self.pushes.append(await self.receive())

    async def play(self, *scores: int, difficulty: int = 0) -> dict[str, Any]:
        """Start a session and complete a stage with each score; gives the last state."""
        state = await self.do("session.start", difficulty=difficulty)
        for score in scores:
            state = await self.do("session.complete", score=score)
        return state


@asynccontextmanager
async def spectator(port: int, **headers: str) -> AsyncIterator[Player]:
    """A socket without a login; its welcome is the first push."""
    async with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers, max_size=None) as connection:
        yield Player(connection)


@asynccontextmanager
async def player(port: int, name: str | None = None) -> AsyncIterator[Player]:
    """A socket of a player who has just registered."""
    async with spectator(port) as found:
        registration = credentials(name)
        await found.do("auth.register", **registration)
        yield found


def credentials(name: str | None = None) -> Mapping[str, str]:
    """What nobody has registered with yet."""
    unique = secrets.token_hex(6)
    return {"email": f"{unique}@example.test", "username": name or f"player {unique}", "password": "correct horse"}
