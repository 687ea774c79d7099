"""The physical limit of a delivery: a prepared frame is written to each socket, and nothing else is done.

    python -m bench.bare_writer 4           by uvloop, four times a second
    python -m bench.bare_writer 4 kernel    by write(2) alone, past the transport: what lies below

Answers a handshake, sends a welcome, and writes the frame to all so many times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Final, cast

import uvloop

#: As long as a delta of nine players.
_BYTES: Final = 1170
_FRAME: Final = b"\x81\x7e" + _BYTES.to_bytes(2) + b" " * _BYTES
_ACCEPTED: Final = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def _text(message: object) -> bytes:
    payload = json.dumps(message, separators=(",", ":")).encode()
    return bytes((0x81, len(payload))) + payload


class _Writer(asyncio.Protocol):
    def __init__(self, sockets: set[asyncio.Transport]) -> None:
        self._sockets = sockets
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._sockets.discard(self._transport)

    def data_received(self, _data: bytes) -> None:
        if not self._open:
            self._open = True
            # That a client does not look at the key's digest is enough for a measurement.
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            self._transport.write(_text({"type": "welcome"}))
            self._sockets.add(self._transport)


async def _serve(hertz: float, *, past_the_transport: bool) -> None:
    sockets: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Writer(sockets), "127.0.0.1", 0, backlog=1000)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print(f"ready on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    while not stop.is_set():
        if past_the_transport:
            # Readers keep up, so the kernel always takes all of it.
            for number in [transport.get_extra_info("socket").fileno() for transport in sockets]:
                os.write(number, _FRAME)
        else:
            for transport in sockets:
                transport.write(_FRAME)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1 / hertz)


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]), past_the_transport="kernel" in sys.argv[2:]))
