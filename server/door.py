"""One port for both: a request head that asks for the socket goes to websockets, every other one to aiohttp."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final, cast

from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import NegotiationError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from protocol.errors import ErrorCode, RequestError
from protocol.http_messages import encode_http_error
from protocol.server_messages import SessionData
from server.actions import as_request_error
from server.admission import Admission, Visitor
from server.auth import Authentication, Login
from server.http_connection import HttpConnection
from server.limits import TOO_MANY_RETRY_MS
from server.origins import OriginPolicy
from server.sessions import Sessions
from server.socket import Connection, Surroundings
from storage.postgres import one_request

SUBPROTOCOL: Final = Subprotocol("braingame.v1")
#: Bytes of a request line and its headers; browsers stay far below.
MAX_HEAD_BYTES: Final = 16 * 1024
#: Seconds for a client to send them, and to be let in.
HEAD_SECONDS: Final = 10.0

_SOCKET_REQUEST: Final = re.compile(rb"\AGET /ws(\?[^ ]*)? HTTP/1\.1\r\n")
_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"


class Doorman:
    """Decides who comes in as what; makes one `Door` for each connection."""

    def __init__(
        self,
        http: Callable[[], asyncio.BaseProtocol],
        around: Surroundings,
        authentication: Authentication,
        sessions: Sessions,
        origins: OriginPolicy,
        admission: Admission | None = None,
    ) -> None:
        self.http = http
        self.admission = admission or Admission()
        self.around = around
        self.authentication = authentication
        self.sessions = sessions
        self.origins = origins

    def __call__(self) -> Door:
        """The protocol for a new connection."""
        return Door(self)


class Door(asyncio.Protocol):
    """Reads a request head and hands the connection over to the one it is for."""

    def __init__(self, doorman: Doorman) -> None:
        self._doorman = doorman
        self._transport: asyncio.Transport | None = None
        self._visitor: Visitor | None = None
        self._head = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        #: It was refused, and what it sends now is for nobody.
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # A cast, since uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._visitor = self._doorman.admission.visitor(transport.get_extra_info("peername"))
        if self._visitor is None:
            self._transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._transport.abort)

    def connection_lost(self, _error: Exception | None) -> None:
        """The client has gone before it was let in."""
        self._stop_timer()
        if self._task is not None:
            self._task.cancel()
        if self._visitor is not None:
            self._visitor.leaves()

    def data_received(self, data: bytes) -> None:
        """Bytes of the head, or what an impatient client sends behind it."""
        if self._visitor is None or self._answered:
            return
        self._head += data
        if self._task is not None:
            return
        line_end = self._head.find(b"\r\n")
        too_long = len(self._head) > MAX_HEAD_BYTES
        if line_end < 0 and not too_long:
            return
        if not _SOCKET_REQUEST.match(self._head):
            self._to_http()
            return
        head_end = self._head.find(_HEAD_END)
        if head_end < 0 and not too_long:
            return
        if head_end < 0 or not _UPGRADE.search(self._head, 0, head_end + 2):
            # Also a head that is too long: aiohttp knows how to refuse it.
            self._to_http()
            return
        # Nothing more is read before the client is let in, or it could fill our memory in the doorway.
        assert self._transport is not None  # noqa: S101
        self._transport.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._to_socket())

    def _to_http(self) -> None:
        if self._visitor is not None and self._visitor.crowded:
            refused = too_many_sockets()
            self._refuse(Response(refused.status, refused.status.phrase, Headers()), refused)
            return
        transport, visitor = self._leave()
        protocol = HttpConnection(cast("asyncio.Protocol", self._doorman.http()), visitor.leaves)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(bytes(self._head))

    async def _to_socket(self) -> None:
        transport = self._transport
        assert transport is not None  # noqa: S101
        limits = self._doorman.around.limits
        protocol = _Protocol(subprotocols=[SUBPROTOCOL], max_size=limits.max_message_bytes)
        end = self._head.index(_HEAD_END) + len(_HEAD_END)
        protocol.receive_data(bytes(self._head[:end]))
        events = protocol.events_received()
        if not events or not isinstance(events[0], Request):
            self._refuse(protocol.reject(400, ""), RequestError(ErrorCode.MALFORMED, "This is not HTTP."))
            return
        request = events[0]
        try:
            login, session = await self._identify(request)
        except Exception as error:
            secrets = request.headers.get_all("Authorization")
            refused = as_request_error(error, self._doorman.around.log, secrets, type="handshake")
            self._refuse(protocol.reject(refused.status, ""), refused)
            return
        response = protocol.accept(request)
        protocol.send_response(response)
        for data in protocol.data_to_send():
            transport.write(data)
        if response.status_code != 101:
            transport.close()
            return
        _, visitor = self._leave()
        connection = Connection(self._doorman.around, protocol, transport, visitor)
        transport.set_protocol(connection)
        connection.open(login, session)
        transport.resume_reading()
        if len(self._head) > end:
            connection.data_received(bytes(self._head[end:]))

    async def _identify(self, request: Request) -> tuple[Login | None, SessionData | None]:
        try:
            origin, host, authorization = (request.headers.get(name) for name in ("Origin", "Host", "Authorization"))
        except MultipleValuesError:
            raise RequestError(ErrorCode.MALFORMED, "A header is there twice.") from None
        assert self._visitor is not None  # noqa: S101
        self._visitor.requests(request.headers.get_all("X-Forwarded-For"), request.headers.get_all("Forwarded"))
        if self._visitor.crowded:
            raise too_many_sockets()
        if not self._doorman.origins.allows(origin, host):
            raise RequestError(ErrorCode.ORIGIN_NOT_ALLOWED)
        if authorization is None:
            return None, None
        with one_request():
            login = await self._doorman.authentication.identify(authorization)
            self._doorman.around.actions.check_room(login)
            state = await self._doorman.sessions.last(login.player.number)
        return login, None if state.session is None else SessionData.of(state)

    def _refuse(self, response: Response, error: RequestError) -> None:
        assert self._transport is not None  # noqa: S101
        response.body = encode_http_error(error)
        for name in ("Content-Length", "Content-Type", "Connection"):
            if name in response.headers:
                del response.headers[name]
        response.headers["Connection"] = "close"
        response.headers["Content-Length"] = str(len(response.body))
        response.headers["Content-Type"] = "application/json"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        if error.retry_after_ms is not None:
            response.headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
        self._answered = True
        self._head.clear()
        # Not by way of the protocol, which sends nothing any more after a head that it could not read.
        self._transport.write(response.serialize())
        self._transport.close()

    def _leave(self) -> tuple[asyncio.Transport, Visitor]:
        self._stop_timer()
        assert self._transport is not None  # noqa: S101
        assert self._visitor is not None  # noqa: S101
        self._visitor.comes_in()
        return self._transport, self._visitor

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def too_many_sockets() -> RequestError:
    """The refusal of one more connection."""
    return RequestError(ErrorCode.RATE_LIMITED, "Too many connections at once.", retry_after_ms=TOO_MANY_RETRY_MS)


class _Protocol(ServerProtocol):
    """Chooses the subprotocol itself: given as an argument, the choice would refer back to the protocol, and only the
    garbage collector could free it."""

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Ours, where any is offered."""
        if not subprotocols:
            return None
        if SUBPROTOCOL not in subprotocols:
            raise NegotiationError(f"this server speaks {SUBPROTOCOL}")
        return SUBPROTOCOL
