"""How the load speaks to our server and to its peers: the same job, each in its own frames, made beforehand."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from bench.sockets import client_frame

#: Scores of a session's stages: after `session.start`, three times `session.complete`.
SCORES: Final = (7, 50, 120)

_MASK: Final = b"\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a player of one kind of server says and hears. Frames go out as they are."""

    #: Where the handshake of the WebSocket goes; may ask the server beforehand. Takes its URL and the player's name.
    path: Callable[[str, str], str]
    #: Frames to send after the handshake and after each text or binary message, until the player is registered.
    greet: Callable[[str, list[bytes]], Sequence[bytes]]
    #: Whether the message is the last one of the registration.
    registered: Callable[[bytes], bool]
    #: A session, an action a frame.
    moves: tuple[bytes, ...]
    #: Whether the message answers an action.
    answers: Callable[[bytes], bool]
    #: What to say to a message that has to be said something to.
    echo: Callable[[bytes], bytes | None] = lambda _message: None


def _json_moves() -> tuple[bytes, ...]:
    return (
        client_frame({"type": "session.start", "id": 1, "data": {}}),
        *(client_frame({"type": "session.complete", "id": 1, "data": {"score": score}}) for score in SCORES),
    )


def _frame(payload: bytes, first: int = 0x81) -> bytes:
    assert len(payload) < 126, "what a player says is short"  # noqa: S101
    return bytes((first, 0x80 | len(payload))) + _MASK + payload


def _ours_greet(name: str, heard: list[bytes]) -> Sequence[bytes]:
    if len(heard) != 1:  # after the welcome
        return ()
    data = {"email": f"{name}@bench.test", "username": name, "password": "password"}
    return (client_frame({"type": "auth.register", "id": 0, "data": data}),)


OURS: Final = Dialect(
    path=lambda _url, _name: "/ws",
    greet=_ours_greet,
    registered=lambda message: message.startswith(b'{"re":0,"type":"authenticated"'),
    moves=_json_moves(),
    answers=lambda message: message.startswith(b'{"re":1,'),
)

#: The two peers in Python speak JSON as ours does.
PYTHON: Final = Dialect(
    path=lambda _url, _name: "/ws",
    greet=lambda name, heard: (
        () if heard else (client_frame({"type": "register", "id": 0, "data": {"username": name}}),)
    ),
    # FastAPI's JSON has no space behind a colon, json.dumps has one.
    registered=lambda message: b'"number"' in message,
    moves=_json_moves(),
    answers=lambda message: b'"reply"' in message[:40],
)


# Socket.IO 4 on Engine.IO 4: "0" open, "40" connect, "42<id>[…]" an event, "43<id>[…]" its acknowledgement, "2" a ping.


def _event(number: int, *parts: Any) -> bytes:
    return _frame(b"42%d" % number + json.dumps(parts, separators=(",", ":")).encode())


def _socketio_greet(name: str, heard: list[bytes]) -> Sequence[bytes]:
    if not heard:
        return ()
    if heard[-1].startswith(b"0"):
        return (_frame(b"40"),)
    return (_event(0, "register", name),) if heard[-1].startswith(b"40") else ()


SOCKETIO: Final = Dialect(
    path=lambda _url, _name: "/socket.io/?EIO=4&transport=websocket",
    greet=_socketio_greet,
    registered=lambda message: message.startswith(b"430"),
    moves=(
        _event(1, "session.start", {}),
        *(_event(1, "session.complete", {"score": score}) for score in SCORES),
    ),
    answers=lambda message: message.startswith(b"431"),
    echo=lambda message: _frame(b"3") if message == b"2" else None,
)


# Colyseus 0.18: a seat is reserved over HTTP, then binary messages: a byte for the kind, the type as a msgpack string,
# the data in msgpack.

_JOIN, _DATA = 10, 13
_SESSION: Final = bytes((_DATA, 0xA0 | len("session"))) + b"session"


def _seat(url: str, name: str) -> str:
    request = urllib.request.Request(  # noqa: S310
        f"{url}/matchmake/joinOrCreate/game",
        json.dumps({"username": name}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        seat = json.load(answer)
    room = seat.get("room", seat)
    return f"/{room['processId']}/{room['roomId']}?sessionId={seat['sessionId']}"


def _room_data(kind: str, packed: bytes) -> bytes:
    return _frame(bytes((_DATA, 0xA0 | len(kind))) + kind.encode() + packed, first=0x82)


COLYSEUS: Final = Dialect(
    path=_seat,
    greet=lambda _name, heard: (_frame(bytes((_JOIN,)), first=0x82),) if heard and heard[-1][0] == _JOIN else (),
    registered=lambda message: message[0] == _JOIN,
    moves=(
        _room_data("session.start", b"\x80"),
        *(_room_data("session.complete", b"\x81\xa5score" + bytes((score,))) for score in SCORES),
    ),
    answers=lambda message: message.startswith(_SESSION),
)


def host_of(url: str) -> tuple[str, int, str]:
    """Host, port, and both as they go into a Host header."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80, parts.netloc
