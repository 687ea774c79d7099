"""What operators ask for over HTTP: a handler for each route of /api/admin."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from protocol.admin_messages import (
    ActData,
    ActedData,
    ActsBeforeData,
    ActsData,
    AdminEntryData,
    AdminLoginData,
    AdminPlayerData,
    AdminSessionData,
    FiguresData,
    FindPlayersData,
    FoundPlayersData,
    NamedPlayerData,
    PlayerDetailsData,
    ReasonData,
    SampleData,
    SessionStepsData,
    StepData,
)
from protocol.errors import ErrorCode, RequestError
from protocol.fields import Wire
from server.auth import Login
from server.board_reader import BoardReader
from server.clock import Clock
from server.figures import Figures, Sample
from server.hub import Hub
from storage.accounts import AccountGone
from storage.logins import Logins, OpenLogin
from storage.operators import KeptEntry, KnownPlayer, Named, Operators, PlayedSession, RecordedAct
from storage.sessions import Event, PlayerUnknown

Places = Mapping[str, str]
Handler = Callable[[int, Places, Any], Awaitable[Wire]]


class Admin:
    """The operators' handlers, by the operation of the route. Refusals are RequestError; StoreUnavailable when
    PostgreSQL is away."""

    def __init__(
        self,
        operators: Operators,
        logins: Logins,
        reader: BoardReader,
        hub: Hub,
        figures: Figures,
        clock: Clock,
    ) -> None:
        self._operators = operators
        self._logins = logins
        self._reader = reader
        self._hub = hub
        self._figures = figures
        self._clock = clock
        self._handlers: dict[str, Handler] = {
            "admin_figures": self._show_figures,
            "admin_find_players": self._find,
            "admin_player": self._player,
            "admin_session": self._session,
            "admin_take_off_boards": self._take_off_boards,
            "admin_put_back_on_boards": self._put_back_on_boards,
            "admin_revoke_logins": self._revoke_logins,
            "admin_acts": self._acts,
        }

    async def check(self, login: Login) -> int:
        """The operator's number; `forbidden` for any other player. Asked of PostgreSQL each time, so that a right that
        is withdrawn is gone at once."""
        if not await self._operators.is_admin(login.player.number):
            raise RequestError(ErrorCode.FORBIDDEN)
        return login.player.number

    async def perform(self, operation: str, operator: int, places: Places, data: Wire | None) -> Wire:
        """What a route asks for: `places` are those of its path, `data` its body or query."""
        try:
            return await self._handlers[operation](operator, places, data)
        except PlayerUnknown:
            raise RequestError(ErrorCode.NOT_FOUND, "There is no such player.") from None
        except AccountGone:
            raise RequestError(ErrorCode.NOT_FOUND, "This account was deleted.") from None

    # Looking

    async def _show_figures(self, _operator: int, _places: Places, _data: None) -> FiguresData:
        return FiguresData(samples=[_sample(sample) for sample in self._figures.samples()])

    async def _find(self, _operator: int, _places: Places, data: FindPlayersData) -> FoundPlayersData:
        return FoundPlayersData(players=[_known(player) for player in await self._operators.find(data.find)])

    async def _player(self, _operator: int, places: Places, _data: None) -> PlayerDetailsData:
        player = await self._operators.player(_number(places))
        number = player.number
        return PlayerDetailsData(
            player=_known(player),
            logins=[_login(login) for login in await self._logins.open_logins(number, self._clock())],
            sessions=[_session(session) for session in await self._operators.sessions(number)],
            entries=[_entry(entry) for entry in await self._operators.entries(number)],
        )

    async def _session(self, _operator: int, places: Places, _data: None) -> SessionStepsData:
        try:
            session_id = UUID(places["sessionId"])
        except ValueError:
            raise RequestError(ErrorCode.NOT_FOUND) from None
        player = await self._operators.player(_number(places))
        log = await self._operators.session_log(player.number, session_id)
        if not log:
            raise RequestError(ErrorCode.NOT_FOUND, "The player has no such session.")
        return SessionStepsData(steps=[_step(event) for event in log])

    async def _acts(self, _operator: int, _places: Places, data: ActsBeforeData) -> ActsData:
        return ActsData(acts=[_act(act) for act in await self._operators.acts(data.before)])

    # Acting

    async def _take_off_boards(self, operator: int, places: Places, data: ReasonData) -> ActedData:
        number = _number(places)
        ladders = await self._operators.take_off_boards(number, operator, data.reason, self._clock())
        await self._reader.take_off(number, ladders)
        return await self._acted(number)

    async def _put_back_on_boards(self, operator: int, places: Places, data: ReasonData) -> ActedData:
        number = _number(places)
        ladders = await self._operators.put_back_on_boards(number, operator, data.reason, self._clock())
        await self._reader.put_back(ladders)
        return await self._acted(number)

    async def _revoke_logins(self, operator: int, places: Places, data: ReasonData) -> ActedData:
        number = _number(places)
        for sid in await self._operators.revoke_logins(number, operator, data.reason, self._clock()):
            self._hub.end_login(sid, "the login was ended")
        return await self._acted(number)

    async def _acted(self, number: int) -> ActedData:
        return ActedData(player=_known(await self._operators.player(number)))


def _number(places: Places) -> int:
    text = places["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RequestError(ErrorCode.NOT_FOUND)
    return int(text)


def _sample(sample: Sample) -> SampleData:
    return SampleData(
        at=sample.at,
        players=sample.players,
        spectators=sample.spectators,
        actions=sample.actions,
        commit_p50_ms=sample.commit_p50_ms,
        commit_p99_ms=sample.commit_p99_ms,
        board_staleness_ms=sample.board_staleness_ms,
        boards_behind=sample.boards_behind,
    )


def _known(player: KnownPlayer) -> AdminPlayerData:
    return AdminPlayerData(
        number=player.number,
        username=player.username,
        email=player.email,
        registered_at=player.registered_at,
        off_boards=player.off_boards,
        is_admin=player.is_admin,
    )


def _login(login: OpenLogin) -> AdminLoginData:
    return AdminLoginData(id=str(login.sid), created_at=login.created_at, last_used_at=login.last_used_at)


def _session(session: PlayedSession) -> AdminSessionData:
    return AdminSessionData(
        session_id=str(session.session_id),
        status=session.status.value,
        difficulty=session.difficulty,
        total_score=session.total_score,
        stage=session.stage,
        stage_count=session.stage_count,
        started_at=session.started_at,
        ended_at=session.ended_at,
        version=session.version,
    )


def _entry(entry: KeptEntry) -> AdminEntryData:
    return AdminEntryData(
        ladder=entry.ladder,
        total_score=entry.total_score,
        passed_all_games=entry.passed_all_games,
        achieved_at=entry.achieved_at,
        removed=entry.removed,
    )


def _step(event: Event) -> StepData:
    session = event.state.session
    assert session is not None, "every action leaves a session"  # noqa: S101
    answer = None if event.judged is None else json.loads(event.judged.answer)
    return StepData.model_validate(
        {
            "version": event.state.version,
            "at": event.at,
            "action": event.action.name.lower(),
            "score": event.score,
            "verdict": None if event.judged is None else event.judged.verdict.value,
            # An object of ours, whatever a client has sent.
            "answer": answer if isinstance(answer, dict) else None,
            "status": session.status.value,
            "stage": session.stage,
            "totalScore": session.total_score,
            "difficulty": session.difficulty,
        }
    )


def _act(act: RecordedAct) -> ActData:
    return ActData(
        id=act.id,
        at=act.at,
        operator=None if act.operator is None else _named(act.operator),
        act=act.act.value,
        player=_named(act.player),
        reason=act.reason,
    )


def _named(player: Named) -> NamedPlayerData:
    return NamedPlayerData(number=player.number, username=player.username)
