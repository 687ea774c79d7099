"""One handler for each message that a client may send, shared by the socket and HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from secrets import randbits
from typing import Any, Final, Protocol, TypeVar

from game.ranking import Board, UnknownBoard, board_named
from game.session import Cancel, Close, Command, Complete, Start
from images.errors import ImageTooLarge, ImageUnreadable
from protocol.client_messages import (
    AnswerData,
    BoardData,
    CancelData,
    CompareData,
    GetBoardData,
    LoginData,
    NoData,
    PasswordData,
    RefreshData,
    RegisterData,
    ResumeData,
    RevokeLoginData,
    ScoreData,
    StartData,
    SubscribeData,
)
from protocol.codec import encode, encode_error, encode_session
from protocol.errors import ERRORS, CloseCode, ErrorCode, RequestError, invalid
from protocol.fields import Wire
from protocol.replies import EXCHANGES
from protocol.server_messages import (
    AuthenticatedData,
    DistanceData,
    LeaderboardData,
    LoginsData,
    OkData,
    OpenLoginData,
    PongData,
    SessionData,
    SessionMessage,
    StageData,
    UserData,
)
from server.auth import Authentication, Granted, Login
from server.board_reader import BoardReader, Place
from server.clock import Clock
from server.drawing import Drawings
from server.hub import Hub, Member
from server.limits import TOO_MANY_RETRY_MS
from server.live_board import LiveBoards, Subscriber
from server.log import Log
from server.metrics import Metrics
from server.nodes import OtherNodes
from server.redaction import hiding, secrets_in
from server.sessions import Outcome, Sessions
from server.stages import Answering, Eyes, stage_data
from server.watch import Watch, reference
from storage.accounts import Player
from storage.ids import new_id
from storage.logins import RefreshTokenReused
from storage.postgres import StoreUnavailable, one_request
from storage.sessions import PlayerUnknown

W = TypeVar("W", bound=Wire)

#: What a client is told to wait when a store is down: by then a restart is usually over.
RETRY_AFTER_MS: Final = 1000
#: As many as a positive bigint has: nobody finds a session's puzzles by trying seeds.
_SEED_BITS: Final = 63
#: Requests that wait for PostgreSQL and for nothing else: hashes and drawings may take their time.
_ONLY_POSTGRESQL: Final = frozenset(
    {"session.start", "session.last", "session.complete", "session.close", "session.cancel", "stage.deal"}
)


class Caller(Member, Subscriber, Protocol):
    """Who sends a message: a socket."""

    @property
    def address(self) -> str | None:
        """By what limits count it (server/addresses.py); None for a client of this machine."""

    def may_follow(self, board: Board) -> bool:
        """Whether the socket may follow this board, too."""

    def become(self, login: Login | None) -> None:
        """The socket belongs to this login from now on; None makes it a spectator's."""

    def follow(self, board: Board, limit: int) -> None:
        """The socket follows the board."""

    def unfollow(self, board: Board) -> None:
        """The socket follows the board no more."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends an HTTP request, and by what address limits count it."""

    login: Login | None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that handlers go by."""

    stages: int
    max_stage_score: int
    #: Points come from the server's own stages alone.
    judged_only: bool = False
    sockets_per_account: int | None = None


def user_data(player: Player) -> UserData:
    """A player's own view of the account."""
    return UserData(id=str(player.id), username=player.username, email=player.email, number=player.number)


class Actions:
    """What the server can be asked to do."""

    def __init__(
        self,
        rules: Rules,
        authentication: Authentication,
        sessions: Sessions,
        reader: BoardReader,
        live: LiveBoards,
        drawings: Drawings,
        eyes: Eyes,
        hub: Hub,
        nodes: OtherNodes,
        metrics: Metrics,
        clock: Clock,
        log: Log,
        watch: Watch | None = None,
    ) -> None:
        self._rules = rules
        self._authentication = authentication
        self._sessions = sessions
        self._reader = reader
        self._live = live
        self._drawings = drawings
        self._eyes = eyes
        self._hub = hub
        self._nodes = nodes
        #: Sockets count in it what is not for handlers.
        self.metrics = metrics
        self._clock = clock
        self._log = log
        self._watch = watch
        #: What a player does in a session: the command that such a message comes to.
        self._commands: dict[str, Callable[[Any], Command]] = {
            "session.start": self._start,
            "session.complete": self._complete,
            "session.close": self._close,
            "session.cancel": self._cancel,
        }
        self._handlers: dict[str, Callable[[Any, Any], Awaitable[Wire]]] = {
            "auth.register": self._register,
            "auth.login": self._log_in,
            "auth.resume": self._resume,
            "auth.refresh": self._refresh,
            "auth.logout": self._log_out,
            "user.me": self._me,
            "user.password": self._change_password,
            "user.delete": self._delete,
            "logins.list": self._list_logins,
            "logins.revoke": self._revoke_login,
            **{kind: partial(self._act, command) for kind, command in self._commands.items()},
            "session.last": self._last,
            "stage.deal": self._deal,
            "stage.answer": self._answer_stage,
            "leaderboard.get": self._get_board,
            "leaderboard.subscribe": self._subscribe,
            "leaderboard.unsubscribe": self._unsubscribe,
            "images.compare": self._compare,
            "ping": self._ping,
        }

    async def perform(self, kind: str, caller: Caller | Visitor, data: Wire) -> Wire:
        """Do what a message of this type asks and give the data of the reply. Raises RequestError only."""
        return await self._watched(kind, caller, self._perform(kind, caller, data, self._handlers[kind]))

    def _watched(self, kind: str, caller: Caller | Visitor, work: Coroutine[Any, Any, W]) -> Coroutine[Any, Any, W]:
        watched = None if self._watch is None else self._watch.begin(kind, partial(_facts, caller))
        return work if self._watch is None or watched is None else self._watch.over(watched, work)

    async def _perform(
        self, kind: str, caller: Caller | Visitor, data: Any, handler: Callable[[Any, Any], Awaitable[W]]
    ) -> W:
        try:
            with bounded(kind):
                result = await handler(caller, data)
        except Exception as error:
            refusal = as_request_error(error, self._log, secrets_of(caller, data), type=kind, **_facts(caller))
            self.metrics.request(kind, refusal.code)
            try:
                raise refusal from None
            finally:
                # Its traceback leads to this frame: kept in here it would be garbage that is seldom looked for.
                del refusal
        self.metrics.request(kind, "ok")
        return result

    async def answer(self, kind: str, re: str | int, caller: Caller, data: Wire) -> bytes:
        """The same, as the text of the reply."""
        result = await self.perform(kind, caller, data)
        return encode(EXCHANGES[kind].reply(re=re, data=result))  # type: ignore[call-arg]

    def answer_at_once(
        self, kind: str, re: str | int, caller: Caller, data: Any, answered: Callable[[bytes | None], None]
    ) -> bool:
        """The same without a task, where that can be done: see Sessions.act_at_once. False where it cannot; otherwise
        `answered` is told the text of the reply, or None where it is for `answer` after all."""
        command_of = self._commands.get(kind)
        login = caller.login
        if command_of is None or login is None:
            return False
        try:
            command = command_of(data)
        except RequestError:
            return False
        number = login.player.number

        def settled(outcome: Outcome | Exception | None) -> None:
            try:
                reply = None if outcome is None else self._settled(kind, re, caller, number, outcome)
                if self._watch is not None:
                    self._watch.answered()
                answered(reply)
            except Exception:
                with hiding(secrets_of(caller, data)):
                    self._log.exception(
                        "an answer could not be given", request=reference(), type=kind, **_facts(caller)
                    )
                caller.close(CloseCode.INTERNAL_ERROR, "internal error")

        watched = None if self._watch is None else self._watch.begin(kind, partial(_facts, caller))
        if self._watch is not None and watched is not None:
            return self._watch.at_once(
                watched,
                lambda told: self._sessions.act_at_once(number, command, data.key, told),
                settled,
                _outcome_of,
            )
        return self._sessions.act_at_once(number, command, data.key, settled)

    def _settled(self, kind: str, re: str | int, caller: Caller, number: int, outcome: Outcome | Exception) -> bytes:
        if isinstance(outcome, Exception):
            refusal = as_request_error(outcome, self._log, secrets_of(caller), type=kind, **_facts(caller))
            self.metrics.request(kind, refusal.code)
            return encode_error(re, refusal)
        self.metrics.request(kind, "ok")
        state = outcome.state
        assert state.session is not None  # noqa: S101
        if outcome.replayed:
            return encode(SessionMessage(re=re, data=SessionData.of(state, replayed=True)))
        self._tell_others(caller, number, outcome)
        return encode_session(re, state.session, state.version)

    # Accounts

    async def register_only(self, data: RegisterData, address: str | None = None) -> UserData:
        """Make an account without logging in, as POST /register does. Errors as from `perform`."""

        async def register(_caller: Visitor, data: RegisterData) -> UserData:
            return user_data(await self._authentication.register(data, address))

        kind = "auth.register"
        visitor = Visitor(None, address)
        return await self._watched(kind, visitor, self._perform(kind, visitor, data, register))

    async def _register(self, caller: Caller, data: RegisterData) -> AuthenticatedData:
        return await self._authenticated(caller, await self._authentication.register_and_log_in(data, caller.address))

    async def _log_in(self, caller: Caller | Visitor, data: LoginData) -> AuthenticatedData:
        return await self._authenticated(caller, await self._authentication.log_in(data, caller.address))

    async def _refresh(self, caller: Caller | Visitor, data: RefreshData) -> AuthenticatedData:
        try:
            granted = await self._authentication.refresh(data.refresh_token)
        except RefreshTokenReused as reused:
            self._hub.end_login(reused.sid, "refresh token used twice")
            raise RequestError(ErrorCode.TOKEN_REVOKED) from None
        # Whoever has one socket too many is not refused here, or its new refresh token would be lost.
        return await self._authenticated(caller, granted, crowded_ok=True)

    async def _resume(self, caller: Caller, data: ResumeData) -> AuthenticatedData:
        login = await self._authentication.resume(data.token)
        return await self._authenticated(caller, Granted(login, data.token, None))

    async def _authenticated(
        self, caller: Caller | Visitor, granted: Granted, *, crowded_ok: bool = False
    ) -> AuthenticatedData:
        login = granted.login
        if not isinstance(caller, Visitor):
            if crowded_ok:
                self._make_room(caller, login)
            elif not _is_already(caller, login):
                self.check_room(login)
        state = await self._sessions.last(login.player.number)
        if not isinstance(caller, Visitor):
            if not crowded_ok and not _is_already(caller, login):
                # Once more: others may have come in meanwhile.
                self.check_room(login)
            caller.become(login)
        return AuthenticatedData(
            token=granted.token,
            token_expires_at=login.expires_at,
            refresh_token=granted.refresh_token,
            user=user_data(login.player),
            session=None if state.session is None else SessionData.of(state),
        )

    def check_room(self, login: Login) -> None:
        """Whether the player may have one more socket here. Raises RequestError."""
        if self._is_crowded(login):
            raise RequestError(ErrorCode.RATE_LIMITED, "Too many sockets.", retry_after_ms=TOO_MANY_RETRY_MS)

    def _make_room(self, caller: Caller, login: Login) -> None:
        if not _is_already(caller, login) and self._is_crowded(login):
            self._hub.of_player(login.player.number)[0].close(CloseCode.FLOODING, "too many sockets of this account")

    def _is_crowded(self, login: Login) -> bool:
        most = self._rules.sockets_per_account
        crowded = most is not None and self._hub.sockets_of(login.player.number) >= most
        if crowded:
            self.metrics.limit_hit("account_sockets")
        return crowded

    async def _log_out(self, caller: Caller | Visitor, _data: NoData) -> OkData:
        login = _login_of(caller)
        await self._authentication.log_out(login)
        if not isinstance(caller, Visitor):
            caller.become(None)
        self._hub.end_login(login.sid, "logged out")
        return OkData()

    async def _me(self, caller: Caller | Visitor, _data: NoData) -> UserData:
        return user_data(_login_of(caller).player)

    async def _change_password(self, caller: Caller | Visitor, data: PasswordData) -> OkData:
        for sid in await self._authentication.change_password(_login_of(caller), data, caller.address):
            self._hub.end_login(sid, "the password was changed")
        return OkData()

    async def _delete(self, caller: Caller | Visitor, _data: NoData) -> OkData:
        player = _login_of(caller).player
        ladders = await self._authentication.delete(player)
        await self._reader.take_off(player.number, ladders)
        if not isinstance(caller, Visitor):
            caller.become(None)
        for member in self._hub.of_player(player.number):
            member.close(CloseCode.UNAUTHENTICATED, "the account was deleted")
        return OkData()

    async def _list_logins(self, caller: Caller | Visitor, _data: NoData) -> LoginsData:
        login = _login_of(caller)
        logins = [
            OpenLoginData(
                id=str(one.sid),
                created_at=one.created_at,
                last_used_at=one.last_used_at,
                current=one.sid == login.sid,
            )
            for one in await self._authentication.logins(login.player)
        ]
        return LoginsData(logins=logins)

    async def _revoke_login(self, caller: Caller | Visitor, data: RevokeLoginData) -> OkData:
        login = _login_of(caller)
        sid = await self._authentication.revoke(login.player, data.id)
        if sid == login.sid and not isinstance(caller, Visitor):
            caller.become(None)
        self._hub.end_login(sid, "the login was ended")
        return OkData()

    # Sessions

    def _start(self, data: StartData) -> Start:
        return Start(new_id(), self._rules.stages, data.difficulty, seed=randbits(_SEED_BITS))

    def _complete(self, data: ScoreData) -> Complete:
        if self._rules.judged_only:
            raise RequestError(ErrorCode.SCORE_NOT_ACCEPTED)
        return Complete(self._checked(data.score))

    def _close(self, data: ScoreData) -> Close:
        if self._rules.judged_only and data.score > 0:
            raise RequestError(ErrorCode.SCORE_NOT_ACCEPTED)
        return Close(self._checked(data.score))

    def _cancel(self, _data: CancelData) -> Cancel:
        return Cancel()

    async def _last(self, caller: Caller | Visitor, _data: NoData) -> SessionData:
        return SessionData.of(await self._sessions.last(_login_of(caller).player.number))

    async def _act(
        self, command_of: Callable[[Any], Command], caller: Caller | Visitor, data: StartData | ScoreData | CancelData
    ) -> SessionData:
        number = _login_of(caller).player.number
        outcome = await self._sessions.act(number, command_of(data), data.key)
        self._tell_others(caller, number, outcome)
        return SessionData.of(outcome.state, replayed=outcome.replayed)

    def _tell_others(self, caller: Caller | Visitor, number: int, outcome: Outcome) -> None:
        if outcome.replayed:
            return
        others = [member for member in self._hub.of_player(number) if member is not caller]
        if others:
            payload = encode(SessionMessage(data=SessionData.of(outcome.state)))
            for member in others:
                member.push(payload)
        self._nodes.session_changed(number)

    def _checked(self, score: int) -> int:
        if score > self._rules.max_stage_score:
            raise invalid("score", f"at most {self._rules.max_stage_score}")
        return score

    # Stages

    async def _deal(self, caller: Caller | Visitor, _data: NoData) -> StageData:
        number = _login_of(caller).player.number
        outcome = await self._sessions.deal(number)
        self._tell_others(caller, number, outcome)
        assert outcome.state.session is not None  # noqa: S101
        return stage_data(outcome.state.session)

    async def _answer_stage(self, caller: Caller | Visitor, data: AnswerData) -> SessionData:
        number = _login_of(caller).player.number
        answering = Answering(number, data.answer, self._rules.max_stage_score, self._eyes)
        outcome = await self._sessions.answer(number, answering, data.key)
        self._tell_others(caller, number, outcome)
        return SessionData.of(
            outcome.state,
            replayed=outcome.replayed,
            stage_score=outcome.score,
            verdict=None if outcome.judged is None else outcome.judged.verdict,
        )

    # Boards

    async def _get_board(self, caller: Caller | Visitor, data: GetBoardData) -> LeaderboardData:
        board = board_named(data.board)
        if data.around is None:
            return await self._reader.leaderboard(board, Place(data.offset or 0, data.limit))
        if data.offset is not None:
            raise invalid("offset", "either offset or around")
        return await self._reader.around(board, _login_of(caller).player.number, data.limit)

    async def _subscribe(self, caller: Caller, data: SubscribeData) -> LeaderboardData:
        board = board_named(data.board)
        if not caller.may_follow(board):
            self.metrics.limit_hit("subscriptions")
            raise invalid("board", "this socket follows as many boards as it may")
        state = await self._live.subscribe(caller, board, data.limit, data.since)
        caller.follow(board, data.limit)
        return state

    async def _unsubscribe(self, caller: Caller, data: BoardData) -> OkData:
        board = board_named(data.board)
        self._live.unsubscribe(caller, board)
        caller.unfollow(board)
        return OkData()

    # Drawings

    async def _compare(self, caller: Caller | Visitor, data: CompareData) -> DistanceData:
        number = _login_of(caller).player.number
        distance = await self._drawings.distance(number, data.original_image, data.drawn_image)
        return DistanceData(distance=distance)

    async def _ping(self, _caller: Caller | Visitor, _data: NoData) -> PongData:
        return PongData(server_time=self._clock())


def bounded(kind: str) -> AbstractContextManager[None]:
    """Around a request of this type: how long it waits for PostgreSQL, if that is all that it may wait for."""
    return one_request() if kind in _ONLY_POSTGRESQL else nullcontext()


def as_request_error(error: Exception, log: Log, secrets: Collection[str] = (), **about: str | int) -> RequestError:
    """The one place where exceptions become errors for clients. What is not foreseen is logged, with what it is about
    and without these secrets, and stays inside; the client gets a reference to find it by."""
    match error:
        case RequestError():
            return error
        case StoreUnavailable():
            return RequestError(ErrorCode.UNAVAILABLE, retry_after_ms=RETRY_AFTER_MS)
        case PlayerUnknown():
            return RequestError(ErrorCode.UNAUTHENTICATED)
        case ImageUnreadable():
            return RequestError(ErrorCode.IMAGE_UNREADABLE)
        case ImageTooLarge():
            return RequestError(ErrorCode.TOO_LARGE)
        case UnknownBoard():
            return RequestError(ErrorCode.UNKNOWN_BOARD, f"There is no board named {str(error)!r}.")
    request = reference()
    with hiding(secrets):
        log.error("a request failed", exc_info=error, request=request, **about)
    return RequestError(ErrorCode.INTERNAL, f"{ERRORS[ErrorCode.INTERNAL].message} Reference: {request}.")


def secrets_of(caller: Caller | Visitor, data: object = None) -> list[str]:
    """What must not be logged of a request, wherever it may stand."""
    own = [] if caller.login is None else [caller.login.player.email]
    return own + (secrets_in(dict(data)) if isinstance(data, Wire) else [])


def _facts(caller: Caller | Visitor) -> dict[str, str | int]:
    facts: dict[str, str | int] = {}
    connection = getattr(caller, "id", None)
    if connection is not None:
        facts["connection"] = connection
    if caller.login is not None:
        facts["player"] = caller.login.player.number
    return facts


def _outcome_of(outcome: Outcome | Exception | None) -> str:
    """As it is counted; None is for another try to find out."""
    match outcome:
        case None:
            return "again"
        case RequestError():
            return outcome.code
        case StoreUnavailable():
            return ErrorCode.UNAVAILABLE
        case Exception():
            return ErrorCode.INTERNAL
    return "ok"


def _is_already(caller: Caller, login: Login) -> bool:
    return caller.login is not None and caller.login.player.number == login.player.number


def _login_of(caller: Caller | Visitor) -> Login:
    if caller.login is None:
        raise RequestError(ErrorCode.UNAUTHENTICATED)
    return caller.login
