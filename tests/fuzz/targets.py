"""What must hold for any bytes: the codec's promises, and those of the door and the socket behind it.

Each target takes bytes and raises AssertionError, or whatever escaped, when a promise is broken. `__main__.py` lets
atheris look for such bytes; test_fuzz.py goes over the corpus without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

from pydantic import TypeAdapter
from websockets.server import ServerProtocol

from game.ranking import Board
from protocol.client_messages import ClientMessage
from protocol.codec import UndecodableError, decode, decode_server_message, encode, encode_error
from protocol.errors import CloseCode, ErrorCode, RequestError
from protocol.server_messages import LimitsData, Pong, PongData
from server import http_connection
from server.admission import Admission
from server.clock import utc_now
from server.door import Doorman
from server.hub import Hub
from server.limits import SocketLimits
from server.metrics import Metrics
from server.origins import OriginPolicy
from server.socket import Connection, Surroundings

_CLIENT: Final[TypeAdapter[ClientMessage]] = TypeAdapter(ClientMessage)
#: What may be in a close frame: ours, and what the websockets library answers a broken frame with.
_CLOSE_CODES: Final = frozenset(CloseCode) | {1002}
_HANDSHAKE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: game.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def codec(data: bytes) -> None:
    """A text is a message or an UndecodableError; both can be written again and read as the same."""
    message = _decoded(data)
    if isinstance(message, UndecodableError):
        reply = decode_server_message(encode_error(message.re, message.error))
        assert reply.model_dump().get("re") == message.re
    else:
        assert decode(_CLIENT.dump_json(message, by_alias=True, exclude_unset=True)) == message


def _decoded(data: bytes) -> ClientMessage | UndecodableError:
    try:
        return decode(data)
    except UndecodableError as error:
        return error


def connection(data: bytes) -> None:
    """Bytes into a fresh connection, behind a handshake if the first of them is odd, in pieces whose size the second
    one says. Nothing escapes, and the client is answered, told why it is closed, or waited for with a clock running."""
    mode, size, stream = data[0] if data else 0, data[1] if len(data) > 1 else 0, data[2:]
    # One loop for all, since a new one takes longer than most inputs.
    _runner().run(_connection((_HANDSHAKE if mode & 1 else b"") + stream, size or len(stream) + len(_HANDSHAKE)))


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"codec": codec, "connection": connection}


async def _connection(stream: bytes, piece: int) -> None:
    escaped: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: escaped.append(context))
    transport, log = _Transport(), _Log()
    around = _around(log)
    door = Doorman(_Http, around, cast("Any", None), cast("Any", None), OriginPolicy(()), Admission())()
    transport.set_protocol(door)
    door.connection_made(transport)
    for start in range(0, len(stream), piece):
        if transport.is_closing():
            break
        transport.protocol.data_received(stream[start : start + piece])
        # Handshakes and requests are answered in tasks of their own.
        for _ in range(4):
            await asyncio.sleep(0)
    for _ in range(40):
        await asyncio.sleep(0)
    _check(transport)
    if not transport.is_closing() and isinstance(transport.protocol, type(door)):
        assert transport.protocol._timer is not None, "nobody waits in the doorway for ever"
    transport.protocol.connection_lost(None)
    await asyncio.sleep(0)
    assert not escaped, escaped
    assert not log.failures, log.failures
    assert len(around.hub) == 0, "a connection that is lost leaves nothing behind"


def _check(transport: _Transport) -> None:
    """What was written is what clients can read."""
    written = bytes(transport.written)
    if not written:
        return
    assert written.startswith(b"HTTP/1.1 "), written[:100]
    head, separator, rest = written.partition(b"\r\n\r\n")
    assert separator
    if not head.startswith(b"HTTP/1.1 101"):
        assert transport.is_closing(), "who was refused is not kept"
        return
    closed = False
    while rest:
        opcode, length = rest[0] & 0x0F, rest[1]
        start = 2
        if length == 126:
            length, start = int.from_bytes(rest[2:4], "big"), 4
        payload, rest = rest[start : start + length], rest[start + length :]
        assert len(payload) == length
        if opcode == 0x1:
            # Pongs may come behind a close (RFC 6455, 5.5.1), messages may not.
            assert not closed
            decode_server_message(payload)
        elif opcode == 0x8:
            code = int.from_bytes(payload[:2], "big")
            # A close of the client's is answered with its own code (RFC 6455, 5.5.1), which may be any of these.
            assert not payload or code in _CLOSE_CODES or 1000 <= code <= 1014 or 3000 <= code <= 4999, payload
            assert not closed, "there is one close"
            closed = True
        else:
            assert opcode == 0xA, opcode


class _Transport(asyncio.Transport):
    """Keeps what is written; a peer that reads everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.protocol: asyncio.Protocol = asyncio.Protocol()
        self._closing = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 50000) if name == "peername" else _Socket()

    def write(self, data: Any) -> None:
        assert not self._closing, "written to a transport that is closed"
        self.written += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Socket:
    def setsockopt(self, *_: object) -> None: ...


class _Http(asyncio.Protocol):
    """In the place of aiohttp, which is not looked at here."""


class _Log:
    """Remembers what an operator would have been alarmed by."""

    def __init__(self) -> None:
        self.failures: list[object] = []

    def exception(self, event: str, **more: object) -> None:
        self.failures.append((event, more))

    error = exception

    def info(self, *_: object, **__: object) -> None: ...

    warning = info


class _Handlers:
    """Answers a ping, and refuses all else as a server would whose visitor is nobody."""

    metrics = Metrics()

    def answer_at_once(self, *_: object) -> bool:
        return False

    async def answer(self, kind: str, re: str | int, _caller: object, _data: object) -> bytes:
        if kind != "ping":
            raise RequestError(ErrorCode.UNAUTHENTICATED)
        return encode(Pong(re=re, data=PongData(server_time=utc_now())))


class _Boards:
    def unsubscribe(self, _connection: Connection, _board: Board) -> None: ...

    unfollow = unsubscribe


def _around(log: _Log) -> Surroundings:
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
    boards = cast("Any", _Boards())
    handlers, writer = cast("Any", _Handlers()), cast("Any", log)
    return Surroundings(
        handlers, boards, boards, Hub(), utc_now, writer, "fuzz", limits, rate_limited=True, bounds=SocketLimits()
    )


def instrumented() -> tuple[object, ...]:
    """What is looked at; naming it keeps the imports that atheris instruments."""
    return ServerProtocol, http_connection
