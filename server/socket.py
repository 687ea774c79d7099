"""One WebSocket connection: reads messages, has them answered in order, sends pushes, keeps its promises about time.

Built on the Sans-I/O layer of the websockets library (RFC 6455 is its job) without its asyncio layer: no task and no
queue for a connection that only listens. See docs/decisions/0002-sans-io-sockets.md.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import uuid4

from websockets.frames import CloseCode as CloseFrameCode
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from game.ranking import Board
from protocol.client_messages import ClientMessage
from protocol.codec import UndecodableError, decode, encode, encode_error
from protocol.errors import CloseCode, ErrorCode, RequestError
from protocol.server_messages import (
    AuthExpiring,
    AuthExpiringData,
    DrainingData,
    LimitsData,
    ServerDraining,
    SessionData,
    Welcome,
    WelcomeData,
)
from server.actions import Actions, secrets_of, user_data
from server.admission import Visitor
from server.auth import Login
from server.clock import Clock
from server.frames import short_text, text_frame
from server.hub import Hub
from server.limits import (
    BYTES_OF_ONE_FRAGMENT,
    BYTES_OF_ONE_MESSAGE,
    MALFORMED_BEFORE_CLOSE,
    REFUSALS_AT_ONCE,
    REFUSALS_PER_SECOND,
    PlayerBuckets,
    SocketLimits,
    TokenBucket,
    milliseconds,
)
from server.live_board import LiveBoards
from server.log import Log
from server.metrics import NO_TYPE
from server.own_places import OwnPlaces
from server.redaction import hiding

#: Seconds in which a socket has to say what it is for.
IDLE_SECONDS: Final = 15.0
#: Seconds between pings, and for the pong to come back.
PING_SECONDS: Final = 20.0
#: Seconds for the client to answer a close frame.
CLOSE_SECONDS: Final = 5.0
#: Seconds that a client may take to read what is in the buffer.
STUCK_SECONDS: Final = 30.0
#: Seconds before the expiry of a token at which its player is told.
EXPIRY_NOTICE_SECONDS: Final = 60.0
#: A drained server's clients come back spread over this time.
RECONNECT_SPREAD_MS: Final = (200, 2000)
#: Bytes that wait for a slow reader before it is left out of the deltas: some dozens of them.
_HIGH_WATER: Final = 64 * 1024
#: Bytes that the kernel holds beyond that (it takes twice the number). By itself it would let them grow to megabytes
#: for a slow reader, and none of them can be left out any more; a board at its fastest needs some 100 KB a second.
_KERNEL_ROOM: Final = 32 * 1024
#: Bytes that wait for a reader who reads nothing, all told: a thousand states of a session.
_MOST_UNSENT: Final = 256 * 1024
#: Messages that wait for their turn before no more is read from the network, and their bytes.
_INBOX_FULL: Final = 32
_INBOX_FULL_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all connections share."""

    actions: Actions
    live: LiveBoards
    places: OwnPlaces
    hub: Hub
    clock: Clock
    log: Log
    server: str
    limits: LimitsData
    rate_limited: bool
    bounds: SocketLimits = field(default_factory=SocketLimits)
    buckets: PlayerBuckets = field(default_factory=PlayerBuckets)
    limit_hit: Callable[[str], None] = lambda _limit: None


class Refused(NamedTuple):
    """What stands in the inbox for a text that is no request. Not the exception: its traceback would lead back to who
    keeps it, through all that was read, and only the garbage collector would free it."""

    re: str | int | None
    error: RequestError


class Connection(asyncio.Protocol):
    """A socket after its handshake. Everything here runs on the event loop's thread."""

    def __init__(
        self,
        around: Surroundings,
        protocol: ServerProtocol,
        transport: asyncio.Transport,
        visitor: Visitor | None = None,
    ) -> None:
        self.id = str(uuid4())
        self.login: Login | None = None
        #: By whom it is counted among all connections.
        self._visitor = visitor
        self._around = around
        self._protocol = protocol
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._following: dict[Board, int] = {}
        self._behind: set[Board] = set()
        self._inbox: deque[tuple[ClientMessage | Refused, int]] = deque()
        self._inbox_bytes = 0
        self._fragments: list[bytes] = []
        #: The request that is being answered, and the task that does so, where it takes its time.
        self._current: ClientMessage | None = None
        self._task: asyncio.Task[None] | None = None
        #: Nothing more is read, since the inbox is full; nothing more is answered, since the client does not read.
        self._paused = False
        self._congested = False
        self._closing = False
        self._draining = False
        self._malformed = 0
        bounds = around.bounds
        self._bucket = TokenBucket.full(bounds.messages_per_second, bounds.messages_at_once, self._loop.time())
        self._player_bucket: TokenBucket | None = None
        self._refusals = TokenBucket.full(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, self._loop.time())
        self._awaiting_pong = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._stuck_timer: asyncio.TimerHandle | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        #: There while the client is in the middle of a message.
        self._message_timer: asyncio.TimerHandle | None = None
        self._ping_timer = self._loop.call_later(PING_SECONDS, self._beat)

    # Opening

    def open(self, login: Login | None, session: SessionData | None) -> None:
        """Take over the transport after the handshake and say welcome."""
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_ROOM)
        self.login = login
        self._watch_size()
        self._watch_player()
        self._around.hub.add(self)
        welcome = WelcomeData(
            server=self._around.server,
            connection_id=self.id,
            role="spectator" if login is None else "player",
            user=None if login is None else user_data(login.player),
            session=session,
            server_time=self._around.clock(),
            limits=self._around.limits,
        )
        self.push(encode(Welcome(data=welcome)))
        self._watch_expiry()
        self._watch_purpose()
        if self._around.hub.draining:
            # It was in the doorway when the others were told.
            self.drain()

    # Reading

    def data_received(self, data: bytes) -> None:
        """Bytes from the network."""
        # Nearly always one message in one piece, while the library is in the middle of nothing.
        text = short_text(data)
        if text is not None and not (self._message_timer or self._closing):
            self._take_text(text)
            return
        self._protocol.receive_data(data)
        self._take_events()
        self._flush()
        self._watch_message()

    def eof_received(self) -> bool:
        """The client has closed its side."""
        self._protocol.receive_eof()
        self._flush()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        """The transport is gone: nothing of this connection stays behind."""
        self._closing = True
        self._around.actions.metrics.closed(self._close_code())
        for timer in (
            self._ping_timer,
            self._idle_timer,
            self._stuck_timer,
            self._expiry_timer,
            self._close_timer,
            self._message_timer,
        ):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        for board in self._following:
            self._around.live.unsubscribe(self, board)
            self._around.places.unfollow(self, board)
        self._following.clear()
        self._around.hub.remove(self)
        # The library's parser and what has ended it hold the protocol that holds them. Python looks for such garbage so
        # seldom (server/garbage.py) that what lived through one look may stay for hours: nothing is left to be found.
        self._protocol.parser.close()
        self._protocol.parser_exc = None
        if self._visitor is not None:
            self._visitor.leaves()

    def _close_code(self) -> int:
        """Who said it first; 1006 (RFC 6455) where nobody has."""
        sent, received = self._protocol.close_sent, self._protocol.close_rcvd
        first = received if sent is None or self._protocol.close_rcvd_then_sent else sent
        return CloseFrameCode.ABNORMAL_CLOSURE if first is None else first.code

    @property
    def unsent(self) -> int:
        """Bytes that wait for the client to read."""
        return self._transport.get_write_buffer_size()

    @property
    def congested(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return self._congested

    def _take_events(self) -> None:
        for event in self._protocol.events_received():
            assert isinstance(event, Frame)  # noqa: S101
            match event.opcode:
                case Opcode.TEXT | Opcode.CONT:
                    self._take_frame(event)
                case Opcode.BINARY:
                    self.close(CloseCode.BINARY_FRAME, "text frames only")
                case Opcode.PONG:
                    self._awaiting_pong = False
                    self._take_control()
                case Opcode.PING:
                    self._take_control()
                case _:
                    pass

    def _take_control(self) -> None:
        """A ping, which the protocol has answered by itself, or a pong: free up to the rate of messages."""
        now = self._loop.time()
        if self._around.rate_limited and self._bucket.take(now) and self._refusals.take(now):
            self._around.limit_hit("socket_messages")
            self.close(CloseCode.FLOODING, "too many control frames")

    def _take_frame(self, frame: Frame) -> None:
        text = bytes(frame.data)
        pieces = 0
        if not frame.fin or self._fragments:
            self._fragments.append(text)
            pieces = len(self._fragments)
            if pieces > self._around.bounds.message_fragments and not self._closing:
                # The protocol counts bytes, of which an empty fragment has none.
                self._around.limit_hit("message_fragments")
                self._fragments.clear()
                self.close(CloseCode.TOO_BIG, "too many fragments")
            if not frame.fin:
                return
            text = b"".join(self._fragments)
            self._fragments.clear()
        self._stop_message_timer()
        self._take_text(text, pieces)

    def _take_text(self, text: bytes, pieces: int = 0) -> None:
        if self._closing or self._draining:
            # What comes after the server has said that it stops is not begun: the client sends it again elsewhere.
            return
        try:
            request: ClientMessage | Refused = decode(text)
        except UndecodableError as error:
            try:
                text.decode()
            except UnicodeDecodeError:
                self.close(CloseCode.NOT_UTF8, "not UTF-8")
                return
            request = Refused(error.re, error.error)
        self._inbox.append((request, len(text) + pieces * BYTES_OF_ONE_FRAGMENT))
        self._inbox_bytes += len(text) + pieces * BYTES_OF_ONE_FRAGMENT
        if self._current is None:
            self._go_on()
        if not self._paused and self._inbox_is_full():
            self._paused = True
            self._transport.pause_reading()

    # Answering

    def _go_on(self) -> None:
        """Begin what is in the inbox, one after the other, so that replies keep the order of the requests."""
        try:
            # Who does not read its replies gets no more of them: memory stays bounded.
            while self._inbox and self._current is None and not self._closing and not self._congested:
                request, size = self._inbox.popleft()
                self._inbox_bytes -= size
                self._begin(request, size)
        except Exception:
            self._fail()
        if self._paused and not self._inbox_is_full():
            self._paused = False
            self._transport.resume_reading()
        if self._draining and self._current is None and not self._congested:
            self.close(CloseCode.GOING_AWAY, "the server stops")

    def _begin(self, request: ClientMessage | Refused, size: int) -> None:
        # Before anything else, or what is not understood would be a way around the limits.
        cost = 1 + size // BYTES_OF_ONE_MESSAGE
        wait = self._bucket.take(self._loop.time(), cost) if self._around.rate_limited else 0.0
        limit = "socket_messages"
        if self._player_bucket is not None and not wait:
            wait, limit = self._player_bucket.take(self._loop.time(), cost), "player_messages"
        if wait:
            self._around.limit_hit(limit)
            re = request.re if isinstance(request, Refused) else request.id
            self._send(encode_error(re, RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=milliseconds(wait))))
            if self._refusals.take(self._loop.time()):
                self.close(CloseCode.FLOODING, "too many messages")
            return
        if isinstance(request, Refused):
            self._around.actions.metrics.request(NO_TYPE, request.error.code)
            self._send(encode_error(request.re, request.error))
            malformed = request.error.code is ErrorCode.MALFORMED
            self._malformed = self._malformed + 1 if malformed else 0
            if self._malformed >= MALFORMED_BEFORE_CLOSE:
                self.close(CloseCode.MALFORMED, "too many malformed messages")
            return
        self._malformed = 0
        self._current = request
        if not self._around.actions.answer_at_once(request.type, request.id, self, request.data, self._answered):
            self._task = self._loop.create_task(self._answer(request))

    def _answered(self, reply: bytes | None) -> None:
        if reply is None and self._current is not None and not self._closing:
            self._task = self._loop.create_task(self._answer(self._current))
            return
        self._current = None
        if reply is not None:
            self._send(reply)
        if self._inbox or self._paused or self._draining:
            self._go_on()

    async def _answer(self, request: ClientMessage) -> None:
        """Answer what takes its time."""
        try:
            try:
                reply = await self._around.actions.answer(request.type, request.id, self, request.data)
            except RequestError as error:
                reply = encode_error(request.id, error)
            self._answered(reply)
        except Exception:
            self._fail()

    def _fail(self) -> None:
        current, login = self._current, self.login
        data = None if current is None else current.data
        with hiding(secrets_of(self, data)):
            self._around.log.exception(
                "a connection failed",
                connection=self.id,
                player=None if login is None else login.player.number,
                type=None if current is None else current.type,
            )
        self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def _inbox_is_full(self) -> bool:
        return len(self._inbox) >= _INBOX_FULL or self._inbox_bytes >= _INBOX_FULL_BYTES

    # What handlers and boards do with a connection

    @property
    def address(self) -> str | None:
        """By what limits count it; None for a client of this machine."""
        return None if self._visitor is None else self._visitor.address

    def become(self, login: Login | None) -> None:
        """The socket belongs to this login from now on; None makes it a spectator's."""
        before, self.login = self.login, login
        self._around.hub.changed_login(self, before)
        self._watch_size()
        self._watch_player()
        for board in self._following:
            self._watch_place(board)
        self._watch_expiry()
        self._watch_purpose()

    def may_follow(self, board: Board) -> bool:
        """Whether the socket may follow this board, too."""
        return board in self._following or len(self._following) < self._around.bounds.subscriptions

    def follow(self, board: Board, limit: int) -> None:
        """The socket follows the board."""
        self._following[board] = limit
        # Its reply is a full state.
        self._behind.discard(board)
        self._watch_place(board)
        self._watch_purpose()

    def unfollow(self, board: Board) -> None:
        """The socket follows the board no more."""
        self._following.pop(board, None)
        self._behind.discard(board)
        self._around.places.unfollow(self, board)
        self._watch_purpose()

    def push(self, payload: bytes) -> None:
        """Send a message that nobody asked for. Who reads none of them is closed when too many wait: a player's own
        sockets are told of each of its actions, and those of one account are many."""
        if self._congested and self.unsent > _MOST_UNSENT:
            if not self._closing:
                self._stuck()
            return
        self._send(payload)

    def push_board(self, board: Board, frame: bytes) -> None:
        """Send a board's frame; a slow reader gets the whole board later instead, when it can take it."""
        if self._congested or board in self._behind:
            self._behind.add(board)
        elif not self._closing:
            self._transport.write(frame)

    def push_place(self, payload: bytes) -> bool:
        """Send the player's own place; False for a slow reader, who is told when it has caught up."""
        if self._congested:
            return False
        self._send(payload)
        return True

    def drain(self) -> None:
        """The server stops: answer what was asked, then close."""
        spread = random.randint(*RECONNECT_SPREAD_MS)  # noqa: S311
        self.push(encode(ServerDraining(data=DrainingData(reconnect_after_ms=spread))))
        self._draining = True
        if self._current is None:
            self._go_on()

    def close(self, code: CloseCode, reason: str) -> None:
        """Start the closing handshake; nothing more is sent or answered."""
        if self._closing:
            return
        self._closing = True
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
        self._flush()
        if self._paused and not self._transport.is_closing():
            # The client's own close frame comes behind everything that it has sent.
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    # Writing

    def _send(self, payload: bytes) -> None:
        if not self._closing:
            self._transport.write(text_frame(payload))

    def _flush(self) -> None:
        """Put on the wire what the protocol wants to say, and end the connection when it is over."""
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
                continue
            # The end of our side: a transport raises for whatever would be written after it.
            self._closing = True
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        if self._protocol.close_expected():
            self._closing = True
            if self._close_timer is None:
                self._close_timer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._congested = True
        self._stuck_timer = self._loop.call_later(STUCK_SECONDS, self._stuck)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._congested = False
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
        behind, self._behind = self._behind, set()
        for board in self._following:
            self._around.places.mark(board)
        for board in behind:
            if self._congested:
                self._behind.add(board)
                continue
            frame = self._around.live.full_frame(board, self._following[board])
            if frame is not None and not self._closing:
                self._transport.write(frame)
        if self._current is None:
            self._go_on()

    def _stuck(self) -> None:
        self.close(CloseCode.STUCK_READER, "stuck reader")
        # The close frame waits behind everything else that was not read.
        self._loop.call_later(1.0, self._transport.abort)

    # Time

    def _beat(self) -> None:
        if self._awaiting_pong:
            self._transport.abort()
            return
        if self._protocol.state is State.OPEN:
            self._awaiting_pong = True
            self._protocol.send_ping(b"")
            self._flush()
        self._ping_timer = self._loop.call_later(PING_SECONDS, self._beat)

    def _watch_purpose(self) -> None:
        if self.login is not None or self._following:
            if self._idle_timer is not None:
                self._idle_timer.cancel()
                self._idle_timer = None
        elif self._idle_timer is None:
            self._idle_timer = self._loop.call_later(
                IDLE_SECONDS, self.close, CloseCode.IDLE, "neither authenticated nor subscribed"
            )

    def _watch_size(self) -> None:
        limits = self._around.limits
        most = limits.max_message_bytes if self.login is None else limits.max_player_message_bytes
        self._protocol.max_message_size = most

    def _watch_player(self) -> None:
        self._player_bucket = None
        if self.login is not None and self._around.rate_limited:
            self._player_bucket = self._around.buckets.of(self.login.player.number, self._loop.time())

    def _watch_message(self) -> None:
        """A message that has begun has to end: until then it takes up memory, however slowly it comes."""
        amid = self._fragments or self._protocol.reader.buffer or _has_begun(self._protocol)
        if not amid or self._closing:
            self._stop_message_timer()
        elif self._message_timer is None:
            self._message_timer = self._loop.call_later(self._around.bounds.message_seconds, self._too_slow)

    def _stop_message_timer(self) -> None:
        if self._message_timer is not None:
            self._message_timer.cancel()
            self._message_timer = None

    def _too_slow(self) -> None:
        if self._paused:
            # It is we who do not read on.
            self._message_timer = None
            self._watch_message()
            return
        self._around.limit_hit("message_seconds")
        self.close(CloseCode.IDLE, "a message was not completed in time")

    def _watch_place(self, board: Board) -> None:
        if self.login is None:
            self._around.places.unfollow(self, board)
        else:
            self._around.places.follow(self, board, self.login.player.number)

    def _watch_expiry(self) -> None:
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        if self.login is not None:
            left = (self.login.expires_at - self._around.clock()).total_seconds()
            self._expiry_timer = self._loop.call_later(max(0.0, left - EXPIRY_NOTICE_SECONDS), self._expiring)

    def _expiring(self) -> None:
        if self.login is None:
            return
        expires_at = self.login.expires_at
        self.push(encode(AuthExpiring(data=AuthExpiringData(token_expires_at=expires_at))))
        left = (expires_at - self._around.clock()).total_seconds()
        self._expiry_timer = self._loop.call_later(
            max(0.0, left), self.close, CloseCode.UNAUTHENTICATED, "token expired"
        )


def _has_begun(protocol: ServerProtocol) -> bool:
    """Whether the library has taken the first bytes of a frame out of its buffer and waits for more: it reads in
    generators, of which the innermost waits for the beginning of a frame, or for something else."""
    inner: Any = protocol.parser
    while (deeper := getattr(inner, "gi_yieldfrom", None)) is not None:
        inner = deeper
    return str(inner.__name__) != "at_eof"
