"""A closed-loop load of players: each waits for the answer to its action before it sends the next.

    python -m bench.load ws://127.0.0.1:8080/ws --players 500 --seconds 10

The server should run with BRAINGAME_BCRYPT_COST=4 and BRAINGAME_LIMITS=off. The client side is a bare asyncio
protocol, so that it costs less than the server it measures; `generator` in the result is its share of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import time
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

import uvloop

_MASK = b"\0\0\0\0"


def client_frame(message: dict[str, object]) -> bytes:
    """A text frame. The mask is all zeros, which RFC 6455 allows a peer to draw and saves the generator the XOR."""
    payload = json.dumps(message).encode()
    if len(payload) < 126:
        return bytes((0x81, 0x80 | len(payload))) + _MASK + payload
    return bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big") + _MASK + payload


class Player(asyncio.Protocol):
    """One socket that plays session after session."""

    def __init__(self, host: str, name: str, latencies: list[float]) -> None:
        self._host = host
        self._name = name
        self._latencies = latencies
        self._buffer = b""
        self._open = False
        self._answer: asyncio.Future[dict[str, object]] | None = None
        self._moves = [
            client_frame({"type": "session.start", "id": 1}),
            *(client_frame({"type": "session.complete", "id": 1, "data": {"score": score}}) for score in (7, 50, 120)),
        ]
        self._next = 0
        self._sent_at = 0.0
        self.playing = False
        self.ready = asyncio.get_running_loop().create_future()
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the socket."""
        self._transport = cast("asyncio.Transport", transport)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        self._transport.write(
            f"GET /ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Register once the socket is open, then take one frame after the other."""
        self._buffer += data
        if not self._open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.ready.set_exception(RuntimeError(head.decode()))
                return
            self._open, self._buffer = True, rest
            registration = {"email": f"{self._name}@bench.test", "username": self._name, "password": "password"}
            self._transport.write(client_frame({"type": "auth.register", "id": 0, "data": registration}))
        while (payload := self._take_frame()) is not None:
            self._received(payload)

    def _take_frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(buffer[2:4], "big"), 4
        if len(buffer) < start + length:
            return None
        self._buffer = buffer[start + length :]
        return buffer[start : start + length] if buffer[0] == 0x81 else b""

    def _received(self, payload: bytes) -> None:
        if b'"re":1' in payload[:60]:
            self._latencies.append(time.perf_counter() - self._sent_at)
            if b'"type":"error"' in payload[:60]:
                self.errors += 1
            if self.playing:
                self.move()
        elif b'"type":"authenticated"' in payload[:60]:
            self.ready.set_result(None)
        elif b'"type":"error"' in payload[:60]:
            self.ready.set_exception(RuntimeError(payload.decode()))

    def move(self) -> None:
        """Send the next action."""
        self._sent_at = time.perf_counter()
        self._transport.write(self._moves[self._next])
        self._next = (self._next + 1) % len(self._moves)


async def measure(url: str, players: int, seconds: float) -> dict[str, float]:
    """Connect that many players, let them play for a while, and count."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    run = secrets.token_hex(4)
    sockets: list[Player] = []
    for start in range(0, players, 50):
        chunk = []
        for index in range(start, min(start + 50, players)):
            player = Player(parts.netloc, f"b{run}-{index}", latencies)
            await loop.create_connection(lambda made=player: made, host, port)  # type: ignore[misc]
            chunk.append(player)
        await asyncio.gather(*(player.ready for player in chunk))
        sockets += chunk
    for player in sockets:
        player.playing = True
        player.move()
    await asyncio.sleep(min(2.0, seconds / 4))
    latencies.clear()
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    counted = sorted(latencies)
    for player in sockets:
        player.playing = False
    return {
        "actions_per_second": round(len(counted) / elapsed),
        "p50_ms": round(statistics.median(counted) * 1000, 2),
        "p99_ms": round(counted[int(len(counted) * 0.99)] * 1000, 2),
        "errors": sum(player.errors for player in sockets),
        "generator": round(used / elapsed, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8080/ws")
    parser.add_argument("--players", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--cpu", type=int, help="run on this core only")
    options = parser.parse_args(arguments)
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    print(json.dumps(uvloop.run(measure(options.url, options.players, options.seconds))))


if __name__ == "__main__":
    main()
