"""The server's own work on its hot paths, without network, stores and other processes, in instructions.

    python -m bench.hot_paths              by callgrind, held against bench/results/hot_paths.json (half a minute)
    python -m bench.hot_paths --keep       the same, and keep them as what later ones are held against
    python -m bench.hot_paths --run action 1000      one path alone, so many rounds, to be profiled

Everything of ours is real, from the bytes of a client's frame to the bytes of the reply; PostgreSQL and the transport
are answered for here. Instructions do not depend on what else the machine does, so a regression of a few percent shows.
They do depend on the Python, so figures of another one are not compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID, uuid4

import structlog
import uvloop
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bench.sockets import client_frame, handshake
from game.ranking import ALL_TIME
from game.session import NEVER_PLAYED, PlayerState
from protocol.codec import encode
from protocol.server_messages import EntryData, LeaderboardDelta, LeaderboardDeltaData, LimitsData
from server import garbage
from server.actions import Actions, Rules
from server.auth import Authentication, Login
from server.clock import utc_now
from server.door import Doorman
from server.frames import text_frame
from server.hub import Hub
from server.metrics import Metrics
from server.origins import OriginPolicy
from server.sessions import Sessions
from server.socket import Connection, Surroundings
from server.tokens import Tokens
from storage.accounts import Player
from storage.commits import Commits
from storage.logins import Logins
from storage.postgres import Postgres
from storage.sessions import SessionStore

_PLAYERS: Final = 100
_KEPT: Final = Path(__file__).parent / "results" / "hot_paths.json"
#: What counts as the same: hash tables and garbage collection fall differently by a little.
_TOLERANCE: Final = 0.03
_FAR: Final = datetime(2100, 1, 1, tzinfo=UTC)


class _Rows:
    """What PostgreSQL answers to the commit statement when everything is applied and improves every ladder."""

    async def fetch(self, _query: str, *columns: Sequence[Any]) -> list[dict[str, Any]]:
        numbers, ladders = columns[0], columns[14]
        better = [
            (number, ladder)
            for number, names in zip(numbers, ladders, strict=bool(ladders))
            if names is not None
            for ladder in names.split()
        ]
        improved, on = zip(*better, strict=True) if better else (None, None)
        return [{"applied": list(range(1, len(numbers) + 1)), "improved": improved, "ladders": on}]


class _Postgres:
    async def run(self, work: Callable[[_Rows], Awaitable[Any]], **_: Any) -> Any:
        return await work(_Rows())


class _Store:
    async def state(self, _number: int) -> PlayerState:
        return NEVER_PLAYED


class _Logins:
    """The login of every token is this player's."""

    player: Player

    async def player_of(self, _sid: UUID) -> Player:
        return self.player


class _Nodes:
    def session_changed(self, _number: int) -> None:
        pass


class _Socket:
    def setsockopt(self, *_: int) -> None:
        pass


class _Transport:
    """Keeps what was written last."""

    def __init__(self) -> None:
        self.last = b""
        self.told: Callable[[], None] = lambda: None
        self.protocol: asyncio.Protocol | None = None

    def write(self, data: bytes) -> None:
        self.last = data
        self.told()

    def get_extra_info(self, _name: str) -> _Socket:
        return _Socket()

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_reading(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        raise AssertionError("the run is longer than a client may go without a pong")


#: So many rounds of a path; gives how many times it was gone.
Go = Callable[[int], Awaitable[int]]


@asynccontextmanager
async def action() -> AsyncIterator[Go]:
    """`session.start` and three times `session.complete` by all players, each from its frame to its reply."""
    loop = asyncio.get_running_loop()
    commits = Commits(cast("Postgres", _Postgres()))
    worker = asyncio.create_task(commits.run())
    metrics = Metrics()
    sessions = Sessions(cast("SessionStore", _Store()), commits, utc_now, lambda _entries: None, metrics.commit)
    around = _around(sessions, metrics)
    sockets = [_connected(around, number) for number in range(1, _PLAYERS + 1)]
    left = 0
    all_answered: asyncio.Future[None] = loop.create_future()

    def answered() -> None:
        nonlocal left
        left -= 1
        if not left:
            all_answered.set_result(None)

    for _, transport in sockets:
        transport.told = answered

    key = "0123456789abcdef"
    frames = [
        client_frame({"type": "session.start", "id": 1, "data": {"key": key}}),
        *(
            client_frame({"type": "session.complete", "id": 1, "data": {"score": score, "key": key}})
            for score in (7, 50, 120)
        ),
    ]

    async def go(rounds: int) -> int:
        nonlocal left, all_answered
        for _ in range(rounds):
            for frame in frames:
                left, all_answered = len(sockets), loop.create_future()
                for connection, _ in sockets:
                    connection.data_received(frame)
                await all_answered
        for _, transport in sockets:
            assert b'"sessionStatus":1' in transport.last, transport.last  # noqa: S101
        return rounds * len(frames) * len(sockets)

    yield go
    for connection, _ in sockets:
        connection.connection_lost(None)
    worker.cancel()
    await asyncio.wait([worker])


@asynccontextmanager
async def ping() -> AsyncIterator[Go]:
    """A message that has a task of its own."""
    connection, transport = _connected(_around(_none, Metrics()), 1)
    answered: asyncio.Future[None]
    transport.told = lambda: answered.set_result(None)
    frame = client_frame({"type": "ping", "id": 1})

    async def go(rounds: int) -> int:
        nonlocal answered
        for _ in range(rounds * 100):
            answered = asyncio.get_running_loop().create_future()
            connection.data_received(frame)
            await answered
        assert b'"pong"' in transport.last  # noqa: S101
        return rounds * 100

    yield go
    connection.connection_lost(None)


@asynccontextmanager
async def delivery() -> AsyncIterator[Go]:
    """One delta of 1 KB to one of 1,000 subscribers, its share of encoding included."""
    sockets = [_connected(_around(_none, Metrics()), number) for number in range(1, 1001)]
    rows = [
        EntryData(number=n, username=f"player-{n}", total_score=n, passed_all_games=True, achieved_at=_FAR)
        for n in range(1, 10)
    ]
    delta = LeaderboardDeltaData(
        board="all-time", epoch="e" * 16, from_=1, version=2, total=1000, upserts=rows, removals=[]
    )

    async def go(rounds: int) -> int:
        for _ in range(rounds):
            frame = text_frame(encode(LeaderboardDelta(data=delta)))
            for connection, _ in sockets:
                connection.push_board(ALL_TIME, frame)
        return rounds * len(sockets)

    yield go
    for connection, _ in sockets:
        connection.connection_lost(None)


@asynccontextmanager
async def connect() -> AsyncIterator[Go]:
    """A socket of a player who comes with an access token of its own, from the request's head to `welcome`."""
    secret, life = "a secret of the benchmark, long enough", timedelta(hours=1)
    tokens = Tokens(secret, life, utc_now)
    logins = _Logins()
    authentication = Authentication(_none, cast("Logins", logins), _none, tokens, utc_now)
    sessions = Sessions(cast("SessionStore", _Store()), _none, utc_now, lambda _entries: None)
    doorman = Doorman(_none, _around(_none, Metrics()), authentication, sessions, OriginPolicy(()))
    came: asyncio.Future[None]
    transport: _Transport

    def answered() -> None:
        if transport.last.startswith(b"\x81"):
            came.set_result(None)

    async def go(rounds: int) -> int:
        nonlocal came, transport
        for _ in range(rounds * 20):
            sid = uuid4()
            logins.player = Player(sid, 1, "p1@bench.test", "p1")
            head = handshake("127.0.0.1:8080", "/ws", f"Authorization: Bearer {tokens.issue(sid, sid)[0]}")
            came, transport = asyncio.get_running_loop().create_future(), _Transport()
            transport.told = answered
            door = doorman()
            door.connection_made(cast("Any", transport))
            door.data_received(head)
            await came
            assert b'"player"' in transport.last, transport.last  # noqa: S101
            assert transport.protocol is not None  # noqa: S101
            transport.protocol.connection_lost(None)
        return rounds * 20

    yield go


_none = cast("Any", None)


def _around(sessions: Sessions, metrics: Metrics) -> Surroundings:
    log, hub = structlog.get_logger(), Hub()
    handlers = Actions(
        Rules(3, 1000), _none, sessions, _none, _none, _none, _none, hub, cast("Any", _Nodes()), metrics, utc_now, log
    )
    limits = LimitsData(
        max_message_bytes=65536,
        max_player_message_bytes=65536,
        max_stage_score=1000,
        stages=3,
        scoring="reported",
        board_hz=10,
        idle_seconds=15,
        ping_seconds=20,
    )
    return Surroundings(handlers, _none, _none, hub, utc_now, log, "bench", limits, rate_limited=False)


def _connected(around: Surroundings, number: int) -> tuple[Connection, _Transport]:
    protocol = ServerProtocol()
    protocol.receive_data(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    (request,) = protocol.events_received()
    protocol.send_response(protocol.accept(cast("Request", request)))
    protocol.data_to_send()
    transport = _Transport()
    connection = Connection(around, protocol, cast("Any", transport))
    player = Player(UUID(int=number), number, f"p{number}@bench.test", f"p{number}")
    connection.open(Login(player, UUID(int=number), _FAR), None)
    return connection, transport


PATHS: Final = {path.__name__: path for path in (action, ping, delivery, connect)}
#: Rounds that fill caches before it counts, and rounds that count.
_WARM, _COUNTED = 3, 5


async def _run(name: str, rounds: int) -> None:
    async with PATHS[name]() as go:
        # As the server does, or the figures would be those of the collector, which grow with every module.
        garbage.look_seldom()
        started = time.process_time()
        done = await go(rounds)
        print(f"{name}: {(time.process_time() - started) / done * 1e6:.1f} us of CPU, {done} times")


async def _be_counted(name: str) -> None:
    """The other side of `_instructions`."""
    async with PATHS[name]() as go:
        await go(_WARM)
        garbage.look_seldom()
        print("warm", flush=True)
        sys.stdin.readline()
        print(await go(_COUNTED), flush=True)
        sys.stdin.readline()


def _instructions(name: str) -> float:
    """How many instructions one going of the path takes, by callgrind."""
    with tempfile.NamedTemporaryFile(prefix="bg-callgrind-") as out:
        process = subprocess.Popen(  # noqa: S603
            [
                _tool("valgrind"),
                "--tool=callgrind",
                "--instr-atstart=no",
                f"--callgrind-out-file={out.name}",
                sys.executable,
                "-m",
                "bench.hot_paths",
                "--counted",
                name,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Sets and dicts in the same order each time.
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        with process:
            _switch(process, "on", expected="warm")
            done = int(process.stdout.readline())
            _switch(process, "off")
            assert process.stderr is not None  # noqa: S101
            found = re.search(r"Collected : (\d+)", process.stderr.read())
    assert found is not None, "callgrind tells what it has counted"  # noqa: S101
    return int(found[1]) / done


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, "main has looked"  # noqa: S101
    return found


def _switch(process: subprocess.Popen[str], state: str, expected: str | None = None) -> None:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    if expected is not None and process.stdout.readline().strip() != expected:
        assert process.stderr is not None  # noqa: S101
        raise RuntimeError(process.stderr.read())
    command = [_tool("callgrind_control"), "-i", state, str(process.pid)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    process.stdin.write("go on\n")
    process.stdin.flush()


def main() -> int:
    """Count, compare and say; 1 where a path has become more expensive than it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the figures")
    parser.add_argument("--run", nargs=2, metavar=("PATH", "ROUNDS"), help="without callgrind")
    parser.add_argument("--counted", choices=PATHS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    if options.run is not None:
        uvloop.run(_run(options.run[0], int(options.run[1])))
        return 0
    if options.counted is not None:
        uvloop.run(_be_counted(options.counted))
        return 0
    if shutil.which("valgrind") is None:
        print("callgrind is not here: apt install valgrind", file=sys.stderr)
        return 2
    python = f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}"
    kept = json.loads(_KEPT.read_text()) if _KEPT.exists() else {}
    before = kept.get(python, {})
    found = {name: round(_instructions(name)) for name in PATHS}
    worse = 0
    for name, count in found.items():
        change = f"{count / before[name] - 1:+.1%}" if name in before else "nothing to compare with"
        worse += name in before and count > before[name] * (1 + _TOLERANCE)
        print(f"{name:10} {count:10,} instructions  {change}")
    if options.keep:
        _KEPT.write_text(json.dumps(kept | {python: found}, indent=2) + "\n")
        return 0
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
