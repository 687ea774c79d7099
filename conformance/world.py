"""What the scripted server answers where its script wants nothing special: one player, one session, one board.

It does what docs/protocol.md says, without a store and without checking a password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from conformance.account import Account
from conformance.board import ScriptedBoard
from game.ranking import UnknownBoard, board_named
from game.session import NEVER_PLAYED, Cancel, Close, Command, Complete, PlayerState, Refusal, Start, step
from protocol import client_messages as asked
from protocol import server_messages as said
from protocol.errors import ErrorCode, RequestError
from protocol.replies import EXCHANGES

STAGES: Final = 3
SERVER: Final = "braingame-conformance/1"
SessionAction = asked.SessionStart | asked.SessionComplete | asked.SessionClose | asked.SessionCancel
ACTIONS: Final = ("session.start", "session.complete", "session.close", "session.cancel")
_LIMITS: Final = said.LimitsData(
    max_message_bytes=65_536,
    max_player_message_bytes=4_194_304,
    max_stage_score=1_000_000,
    scoring="reported",
    stages=STAGES,
    board_hz=10.0,
    idle_seconds=15.0,
    ping_seconds=20.0,
)


@dataclass(slots=True)
class Visitor:
    """What the server knows of one connection: whose it is, and which boards it follows with how many rows."""

    is_player: bool = False
    follows: dict[str, int] = field(default_factory=dict)


class World:
    """All that one run's client can ask about."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.account = Account(run)
        self.board = ScriptedBoard()
        self.state = NEVER_PLAYED
        self._outcomes: dict[str, tuple[SessionAction, PlayerState]] = {}
        self._connections = 0

    def welcome(self, visitor: Visitor) -> said.Welcome:
        """The first message on a connection."""
        self._connections += 1
        data = said.WelcomeData(
            server=SERVER,
            connection_id=f"{self.run}:{self._connections}",
            role="player" if visitor.is_player else "spectator",
            user=self.account.user if visitor.is_player else None,
            session=self._last_session() if visitor.is_player else None,
            server_time=_now(),
            limits=_LIMITS,
        )
        return said.Welcome(data=data)

    def session(self) -> said.SessionMessage:
        """The player's session as a push."""
        return said.SessionMessage(data=said.SessionData.of(self.state))

    def answer(self, request: asked.ClientMessage, visitor: Visitor) -> said.ServerMessageBase:
        """Do what is asked and give the reply, without `re`; raises RequestError."""
        if EXCHANGES[request.type].who == "player" and not visitor.is_player:
            raise RequestError(ErrorCode.UNAUTHENTICATED)
        match request:
            case asked.AuthRegister() | asked.AuthLogin() | asked.AuthResume() | asked.AuthRefresh():
                return self._let_in(request, visitor)
            case asked.SessionStart() | asked.SessionComplete() | asked.SessionClose() | asked.SessionCancel():
                return self._act(request)
            case asked.SessionLast():
                return self.session()
            case asked.LeaderboardGet() | asked.LeaderboardSubscribe() | asked.LeaderboardUnsubscribe():
                return self._show(request, visitor)
            case asked.Ping():
                return said.Pong(data=said.PongData(server_time=_now()))
            case asked.UserMe():
                return said.User(data=self.account.user)
            case asked.LoginsList():
                return said.Logins(data=said.LoginsData(logins=[self._login()]))
            case asked.ImagesCompare():
                return said.ImagesDistance(data=said.DistanceData(distance=0))
            case asked.AuthLogout() | asked.UserDelete():
                self.account.end(ErrorCode.TOKEN_REVOKED)
                visitor.is_player = False
            case asked.LoginsRevoke():
                raise RequestError(ErrorCode.NOT_FOUND)
            case asked.UserPassword():
                pass
        return said.Ok(data=said.OkData())

    def _let_in(
        self,
        request: asked.AuthRegister | asked.AuthLogin | asked.AuthResume | asked.AuthRefresh,
        visitor: Visitor,
    ) -> said.Authenticated:
        account = self.account
        match request:
            case asked.AuthRegister():
                account.enter(request.data.email, request.data.username)
            case asked.AuthLogin():
                account.enter(request.data.email)
            case asked.AuthResume():
                account.resume(request.data.token)
            case asked.AuthRefresh():
                account.refresh(request.data.refresh_token)
        visitor.is_player = True
        resumed = isinstance(request, asked.AuthResume)
        data = said.AuthenticatedData(
            token=request.data.token if isinstance(request, asked.AuthResume) else str(account.token),
            token_expires_at=account.expires_at,
            refresh_token=None if resumed else account.refresh_token,
            user=account.user,
            session=self._last_session(),
        )
        return said.Authenticated(data=data)

    def _act(self, request: SessionAction) -> said.SessionMessage:
        key = request.data.key
        if key is not None and (found := self._outcomes.get(key)) is not None:
            earlier, outcome = found
            if (earlier.type, earlier.data) != (request.type, request.data):
                raise RequestError(ErrorCode.KEY_REUSED)
            return said.SessionMessage(data=said.SessionData.of(outcome, replayed=True))
        outcome_or_refusal = step(self.state, _command(request), _now())
        if isinstance(outcome_or_refusal, Refusal):
            raise RequestError(ErrorCode(outcome_or_refusal.value), session=self.state if self.state.session else None)
        self.state = outcome_or_refusal
        if key is not None:
            self._outcomes[key] = (request, self.state)
        return self.session()

    def _show(
        self,
        request: asked.LeaderboardGet | asked.LeaderboardSubscribe | asked.LeaderboardUnsubscribe,
        visitor: Visitor,
    ) -> said.Leaderboard | said.Ok:
        name = request.data.board
        try:
            board_named(name)
        except UnknownBoard:
            raise RequestError(ErrorCode.UNKNOWN_BOARD) from None
        match request:
            case asked.LeaderboardGet():
                data = self.board.window(name, request.data.offset or 0, request.data.limit)
                return said.Leaderboard(data=data)
            case asked.LeaderboardSubscribe():
                visitor.follows[name] = request.data.limit
                return said.Leaderboard(data=self.board.full(name, request.data.limit, request.data.since))
            case asked.LeaderboardUnsubscribe():
                visitor.follows.pop(name, None)
                return said.Ok(data=said.OkData())

    def _last_session(self) -> said.SessionData | None:
        return None if self.state.session is None else said.SessionData.of(self.state)

    def _login(self) -> said.OpenLoginData:
        return said.OpenLoginData(id=f"login-{self.run}", created_at=_now(), last_used_at=_now(), current=True)


def expiring() -> said.AuthExpiring:
    """The push that comes a minute before the token ends."""
    return said.AuthExpiring(data=said.AuthExpiringData(token_expires_at=_now() + timedelta(minutes=1)))


def _command(request: SessionAction) -> Command:
    match request:
        case asked.SessionStart():
            return Start(uuid4(), STAGES, request.data.difficulty)
        case asked.SessionComplete():
            return Complete(request.data.score)
        case asked.SessionClose():
            return Close(request.data.score)
        case asked.SessionCancel():
            return Cancel()


def _now() -> datetime:
    return datetime.now(UTC)
