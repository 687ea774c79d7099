"""Many subscribers that read nothing, while players change the board and one spectator reads as it should.

    python -m bench.slow_readers ws://127.0.0.1:8080/ws --pid PID --readers 10000 --players 50 --seconds 20

The server should run with BRAINGAME_BCRYPT_COST=4 and BRAINGAME_LIMITS=off, and both processes need as many file
descriptors as there are readers (`ulimit -n`). Prints one line of JSON: how long after its acknowledgement a change
reached the spectator, without and with the readers; and what the server's memory grew by for each of them. At the end
some of the readers wake up, and have to be sent the board whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from bench.sockets import client_frame
from client.follower import Follower
from client.player import Game, connect

_BOARD = "all-time"
_ROWS = 100
_AT_ONCE = 100
#: Bytes that the kernel holds for a reader on our side.
_ROOM = 4096
_SEGMENT = 1400
_AWAKENED = 20


class Reader(asyncio.Protocol):
    """Subscribes, and reads nothing until it wakes up."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport
        self._buffer = b""
        loop = asyncio.get_running_loop()
        self.subscribed: asyncio.Future[None] = loop.create_future()
        self.caught_up: asyncio.Future[None] = loop.create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the socket and for the board."""
        self._transport = transport  # type: ignore[assignment]
        subscription = {"type": "leaderboard.subscribe", "id": 1, "data": {"board": _BOARD, "limit": _ROWS}}
        self._transport.write(
            f"GET /ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            + client_frame(subscription)
        )

    def data_received(self, data: bytes) -> None:
        """Up to the first state; after the awakening up to the next whole one."""
        self._buffer = self._buffer[-64:] + data
        if not self.subscribed.done():
            if b'"re":1' in self._buffer:
                self._transport.pause_reading()
                self.subscribed.set_result(None)
        elif b'{"type":"leaderboard","data"' in self._buffer and not self.caught_up.done():
            self.caught_up.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        """Closed by the server, as 4508 does with one that is stuck for 30 s."""
        self.lost = True
        for future in (self.subscribed, self.caught_up):
            if not future.done():
                future.cancel()

    def wake(self) -> None:
        """Read again."""
        self._buffer = b""
        self._transport.resume_reading()

    def abort(self) -> None:
        """Go."""
        self._transport.abort()


class Delays:
    """How long after the acknowledgement of a change the spectator had it."""

    def __init__(self) -> None:
        self._acknowledged: dict[tuple[int, int], float] = {}
        self._seen: dict[tuple[int, int], float] = {}

    def acknowledged(self, number: int, score: int) -> None:
        """The player's entry has this score now."""
        self._acknowledged[number, score] = time.perf_counter()

    def seen(self, number: int, score: int) -> None:
        """The spectator has it, if it has not been replaced by a better one meanwhile."""
        self._seen.setdefault((number, score), time.perf_counter())

    def figures(self) -> dict[str, float]:
        """Milliseconds; and begins anew. A change may be seen before its acknowledgement is."""
        found = sorted(
            max(0.0, at - self._acknowledged[change])
            for change, at in self._seen.items()
            if change in self._acknowledged
        )
        self._acknowledged.clear()
        self._seen.clear()
        return {
            "changes": len(found),
            "p50_ms": round(found[len(found) // 2] * 1000, 1),
            "p99_ms": round(found[int(len(found) * 0.99)] * 1000, 1),
            "max_ms": round(found[-1] * 1000, 1),
        }


async def play(game: Game, delays: Delays) -> None:
    """One session after the other, each a little better than the last."""
    score = 0
    assert game.user is not None  # noqa: S101
    while True:
        score += 1
        await game.start()
        await game.fail(score)
        delays.acknowledged(game.user.number, score)
        await asyncio.sleep(0.2)


async def watch(follower: Follower, delays: Delays) -> None:
    """Look at each state that comes."""
    async for state in follower:
        for entry in state.entries:
            delays.seen(entry.number, entry.total_score)


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def open_readers(url: str, count: int) -> list[Reader]:
    """Sockets that have subscribed and stopped reading."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    readers: list[Reader] = []
    while len(readers) < count:
        chunk = []
        for _ in range(min(_AT_ONCE, count - len(readers))):
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            # As small as on a real network, or the kernel would hold megabytes for each on the server's side.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
            plain.setblocking(False)
            await loop.sock_connect(plain, (parts.hostname, parts.port))
            reader = Reader(parts.netloc)
            await loop.create_connection(lambda made=reader: made, sock=plain)  # type: ignore[misc]
            chunk.append(reader)
        await asyncio.gather(*(reader.subscribed for reader in chunk))
        readers += chunk
    return readers


async def measure(url: str, pid: int, count: int, players: int, seconds: float) -> dict[str, object]:
    """Without the readers, then with them."""
    run = secrets.token_hex(4)
    delays = Delays()
    async with AsyncExitStack() as stack:
        games = []
        for index in range(players):
            game = await stack.enter_async_context(connect(url))
            name = f"s{run}-{index}"
            await game.register(f"{name}@bench.test", name, "password")
            games.append(game)
        spectator = await stack.enter_async_context(connect(url))
        follower = spectator.follow(_BOARD, _ROWS)
        tasks = [asyncio.create_task(play(game, delays)) for game in games]
        tasks.append(asyncio.create_task(watch(follower, delays)))
        await asyncio.sleep(seconds / 4)
        delays.figures()
        await asyncio.sleep(seconds)
        found: dict[str, object] = {"without": delays.figures()}
        before = memory(pid)
        readers = await open_readers(url, count)
        opened = memory(pid)
        delays.figures()
        await asyncio.sleep(seconds)
        found["with"] = delays.figures()
        found["bytes_a_socket"] = round((opened - before) / count)
        found["bytes_unread_a_socket"] = round((memory(pid) - opened) / count)
        # The last ones, since those that came first may have been stuck for 30 s by now, and dropped.
        awake = readers[-_AWAKENED:]
        for reader in awake:
            reader.wake()
        done, _ = await asyncio.wait([reader.caught_up for reader in awake], timeout=10)
        found["awakened"] = len(awake)
        found["sent_the_board_whole"] = sum(not one.cancelled() for one in done)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for reader in readers:
            reader.abort()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8080/ws")
    parser.add_argument("--pid", type=int, required=True, help="of the server, for its memory")
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--players", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20, help="each of the two phases; stuck readers go after 30")
    options = parser.parse_args(arguments)
    print(json.dumps(uvloop.run(measure(options.url, options.pid, options.readers, options.players, options.seconds))))


if __name__ == "__main__":
    main()
