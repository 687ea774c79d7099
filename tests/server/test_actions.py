"""What handlers decide themselves: who may ask, who else is told, and how failures become errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import LogCapture

from game.ranking import BOARDS, UnknownBoard
from protocol.client_messages import (
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
from protocol.codec import decode_server_message
from protocol.errors import CloseCode, ErrorCode, RequestError
from protocol.fields import Wire
from protocol.server_messages import (
    AuthenticatedData,
    LeaderboardData,
    OkData,
    Pong,
    PongData,
    RankedEntryData,
    SessionData,
    SessionMessage,
    UserData,
)
from server.actions import Actions, Rules, Visitor, as_request_error, user_data
from server.auth import Authentication
from server.board_reader import BoardReader
from server.changes import ChangedLadders
from server.drawing import Workshop
from server.hub import Hub
from server.live_board import LiveBoards
from server.log import Log
from server.metrics import Metrics
from server.names import Names
from server.nodes import OtherNodes
from server.passwords import Passwords
from server.projection import Projection
from server.sessions import Sessions
from server.tokens import Tokens
from storage.accounts import Accounts
from storage.boards import Boards
from storage.commits import Commits
from storage.ladders import Ladders
from storage.logins import Logins
from storage.notices import Notices
from storage.postgres import Postgres, StoreUnavailable
from storage.sessions import PlayerUnknown, SessionStore
from tests.server.fakes import FakeClock, FakeSocket, Running
from tests.server.test_drawing import picture

ANYBODY = Visitor(None)
PASSWORD = "correct horse"


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
async def actions(postgres: Postgres, boards: Boards, clock: FakeClock, log: Log, hub: Hub) -> AsyncIterator[Actions]:
    async with AsyncExitStack() as stack:
        commits, changes, accounts = Commits(postgres), ChangedLadders(), Accounts(postgres)
        projection = Projection(boards, Ladders(postgres), clock, log, changes.add)
        reader = BoardReader(boards, projection, Names(accounts), clock)
        live = LiveBoards(reader, changes, clock, log, hertz=50.0, frame=lambda payload: payload)
        passwords = Passwords(4)
        stack.callback(passwords.close)
        tokens = Tokens("a secret for tests that is long enough", timedelta(hours=1), clock)
        authentication = Authentication(accounts, Logins(postgres), passwords, tokens, clock)
        sessions = Sessions(SessionStore(postgres), commits, clock, projection.put)
        await stack.enter_async_context(Running(commits.run(), projection.run()))
        notices = Notices.connect("redis://127.0.0.1:1", "nobody listens")
        nodes = OtherNodes(notices, hub, sessions, log, changed=changes.add, missed=live.look_at_all)
        drawings = Workshop()
        stack.callback(drawings.close)
        yield Actions(
            Rules(2, 100), authentication, sessions, reader, live, drawings, drawings, hub, nodes, Metrics(), clock, log
        )


class Player:
    """A socket that has registered."""

    def __init__(self, actions: Actions, socket: FakeSocket, granted: AuthenticatedData) -> None:
        self.actions = actions
        self.socket = socket
        self.granted = granted

    async def do(self, kind: str, data: Wire | None = None) -> Any:
        return await self.actions.perform(kind, self.socket, data or NoData())


async def registered(actions: Actions, hub: Hub, name: str) -> Player:
    socket = FakeSocket()
    data = RegisterData(email=f"{name}@example.test", username=name, password=PASSWORD)
    granted = await actions.perform("auth.register", socket, data)
    assert isinstance(granted, AuthenticatedData)
    hub.add(socket)
    return Player(actions, socket, granted)


async def another_socket(actions: Actions, hub: Hub, player: Player) -> FakeSocket:
    socket = FakeSocket()
    await actions.perform("auth.resume", socket, ResumeData(token=player.granted.token))
    hub.add(socket)
    return socket


async def refusal(actions: Actions, kind: str, caller: Any, data: Wire | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await actions.perform(kind, caller, data or NoData())
    return caught.value


# Who may ask


async def test_what_is_a_players_is_refused_to_a_spectator(actions: Actions) -> None:
    requests: list[tuple[str, Wire]] = [
        ("auth.logout", NoData()),
        ("user.me", NoData()),
        ("user.password", PasswordData(password=PASSWORD, new_password=PASSWORD)),
        ("user.delete", NoData()),
        ("logins.list", NoData()),
        ("logins.revoke", RevokeLoginData(id="x")),
        ("images.compare", CompareData(original_image="x", drawn_image="x")),
        ("session.start", StartData()),
        ("session.last", NoData()),
        ("session.complete", ScoreData(score=1)),
        ("session.close", ScoreData(score=1)),
        ("session.cancel", CancelData()),
        ("leaderboard.get", GetBoardData(around="me")),
    ]
    for kind, data in requests:
        for caller in (FakeSocket(), ANYBODY):
            assert (await refusal(actions, kind, caller, data)).code is ErrorCode.UNAUTHENTICATED, kind


async def test_what_is_everybodys_is_answered_to_a_spectator(actions: Actions) -> None:
    socket = FakeSocket()
    assert isinstance(await actions.perform("ping", socket, NoData()), PongData)
    assert isinstance(await actions.perform("leaderboard.get", socket, GetBoardData()), LeaderboardData)
    assert isinstance(await actions.perform("leaderboard.subscribe", socket, SubscribeData()), LeaderboardData)
    assert isinstance(await actions.perform("leaderboard.unsubscribe", socket, BoardData()), OkData)


# Accounts


async def test_registering_makes_the_socket_the_players(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    assert player.socket.login is not None
    assert player.granted.user == user_data(player.socket.login.player)
    assert player.granted.refresh_token is not None
    assert player.granted.session is None
    me = await player.do("user.me")
    assert isinstance(me, UserData)
    assert (me.username, me.email, me.number) == ("ada", "ada@example.test", 1)


async def test_registering_alone_logs_nobody_in(actions: Actions) -> None:
    user = await actions.register_only(RegisterData(email="a@example.test", username="a", password=PASSWORD))
    assert user.number == 1
    with pytest.raises(RequestError) as caught:
        await actions.register_only(RegisterData(email="a@example.test", username="b", password=PASSWORD))
    assert caught.value.code is ErrorCode.EMAIL_TAKEN


async def test_resume_gives_the_session_and_no_refresh_token(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    begun = await player.do("session.start", StartData(difficulty=7))
    socket = FakeSocket()
    resumed = await actions.perform("auth.resume", socket, ResumeData(token=player.granted.token))
    assert isinstance(resumed, AuthenticatedData)
    assert (resumed.token, resumed.refresh_token, resumed.session) == (player.granted.token, None, begun)
    assert socket.login == player.socket.login


async def test_login_as_somebody_else_changes_whose_the_socket_is(actions: Actions, hub: Hub) -> None:
    await registered(actions, hub, "ada")
    player = await registered(actions, hub, "bob")
    await player.do("auth.login", LoginData(email="ada@example.test", password=PASSWORD))
    assert (await player.do("user.me")).username == "ada"


async def test_refused_login_leaves_the_socket_as_it_is(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    for kind, data in (
        ("auth.login", LoginData(email="ada@example.test", password="wrong horse")),
        ("auth.resume", ResumeData(token="nonsense")),
        ("auth.refresh", RefreshData(refresh_token="nonsense")),
    ):
        await refusal(actions, kind, player.socket, data)
        assert (await player.do("user.me")).username == "ada"


async def test_logout_makes_the_asking_socket_a_spectators_and_closes_the_others(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    second = await another_socket(actions, hub, player)
    apart = FakeSocket()
    await actions.perform("auth.login", apart, LoginData(email="ada@example.test", password=PASSWORD))
    hub.add(apart)
    # The hub is told of a change of login by the socket itself; a fake one does not.
    before, player.socket.become = player.socket.login, lambda login: None  # type: ignore[method-assign]

    def become(login: Any) -> None:
        player.socket.login = login
        hub.changed_login(player.socket, before)

    player.socket.become = become  # type: ignore[method-assign]
    await player.do("auth.logout")
    assert (player.socket.login, player.socket.closed) == (None, None)
    assert second.closed == (CloseCode.UNAUTHENTICATED, "logged out")
    assert apart.closed is None  # another login of the same player


async def apart(actions: Actions, hub: Hub, name: str, password: str = PASSWORD) -> FakeSocket:
    """A socket with a login of its own."""
    socket = FakeSocket()
    await actions.perform("auth.login", socket, LoginData(email=f"{name}@example.test", password=password))
    hub.add(socket)
    return socket


async def test_changed_password_closes_the_sockets_of_the_other_logins(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    same, other = await another_socket(actions, hub, player), await apart(actions, hub, "ada")
    wrong = PasswordData(password="wrong horse", new_password="battery staple")
    assert (await refusal(actions, "user.password", player.socket, wrong)).code is ErrorCode.INVALID_CREDENTIALS
    assert not other.is_closed
    await player.do("user.password", PasswordData(password=PASSWORD, new_password="battery staple"))
    assert (player.socket.closed, same.closed) == (None, None)
    assert other.closed == (CloseCode.UNAUTHENTICATED, "the password was changed")
    old = LoginData(email="ada@example.test", password=PASSWORD)
    assert (await refusal(actions, "auth.login", ANYBODY, old)).code is ErrorCode.INVALID_CREDENTIALS
    await apart(actions, hub, "ada", "battery staple")


async def test_player_sees_its_logins_and_ends_one(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    stranger = await registered(actions, hub, "bob")
    other = await apart(actions, hub, "ada")
    listed = (await player.do("logins.list")).logins
    assert sorted(one.current for one in listed) == [False, True]
    (ended,) = [one.id for one in listed if not one.current]
    for caller, wrong in ((stranger.socket, ended), (player.socket, "nonsense"), (player.socket, str(UUID(int=7)))):
        refused = await refusal(actions, "logins.revoke", caller, RevokeLoginData(id=wrong))
        assert refused.code is ErrorCode.NOT_FOUND
    assert not other.is_closed
    await player.do("logins.revoke", RevokeLoginData(id=ended))
    assert other.closed == (CloseCode.UNAUTHENTICATED, "the login was ended")
    assert player.socket.closed is None
    (left,) = (await player.do("logins.list")).logins
    assert left.current


async def test_deleted_account_is_gone_from_the_boards_and_from_every_socket(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    winner = await registered(actions, hub, "bob")
    other = await apart(actions, hub, "ada")
    for each, score in ((player, 90), (winner, 10)):
        await each.do("session.start", StartData())
        await each.do("session.close", ScoreData(score=score))
    assert [row.username for row in await top(actions)] == ["ada", "bob"]
    await player.do("user.delete")
    assert other.closed == (CloseCode.UNAUTHENTICATED, "the account was deleted")
    assert [row.username for row in await top(actions)] == ["bob"]
    assert (await top(actions, "daily:0"))[0].position == 1
    resume = ResumeData(token=player.granted.token)
    assert (await refusal(actions, "auth.resume", FakeSocket(), resume)).code is ErrorCode.TOKEN_REVOKED
    again = await registered(actions, hub, "ada")
    assert again.granted.user.number == 3
    assert (await again.do("session.last")).session_id is None


async def top(actions: Actions, board: str = "all-time") -> list[RankedEntryData]:
    data = await actions.perform("leaderboard.get", ANYBODY, GetBoardData(board=board))
    assert isinstance(data, LeaderboardData)
    assert data.entries is not None
    return data.entries


async def test_drawings_are_compared_and_bad_ones_refused(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    compare = CompareData(original_image=picture(), drawn_image=picture())
    assert (await player.do("images.compare", compare)).distance == 0
    for data, code in (("AAAA", ErrorCode.IMAGE_UNREADABLE), ("A" * 20_000_000, ErrorCode.TOO_LARGE)):
        bad = CompareData(original_image=picture(), drawn_image=data)
        assert (await refusal(actions, "images.compare", player.socket, bad)).code is code


async def test_refresh_token_used_twice_closes_the_logins_sockets(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    assert player.granted.refresh_token is not None
    data = RefreshData(refresh_token=player.granted.refresh_token)
    await actions.perform("auth.refresh", ANYBODY, data)
    before = player.socket.closed
    thief = FakeSocket()
    assert (await refusal(actions, "auth.refresh", thief, data)).code is ErrorCode.TOKEN_REVOKED
    assert (before, player.socket.closed) == (None, (CloseCode.UNAUTHENTICATED, "refresh token used twice"))
    assert thief.login is None


# Sessions


async def test_rules_come_from_the_settings(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    begun = await player.do("session.start", StartData())
    assert begun.session_stage_count == 2
    error = await refusal(actions, "session.complete", player.socket, ScoreData(score=101))
    assert error.code is ErrorCode.INVALID
    assert [(field.path, "100" in field.message) for field in error.fields] == [("score", True)]
    await player.do("session.complete", ScoreData(score=100))
    done = await player.do("session.complete", ScoreData(score=0))
    assert (done.session_status, done.session_total_score) == (1, 100)


async def test_other_sockets_of_the_player_are_told_and_nobody_else(actions: Actions, hub: Hub) -> None:
    player, stranger = await registered(actions, hub, "ada"), await registered(actions, hub, "bob")
    second = await another_socket(actions, hub, player)
    begun = await player.do("session.start", StartData())
    assert second.pushed == [SessionMessage(data=begun)]
    assert player.socket.pushed == []
    assert stranger.socket.pushed == []


async def test_action_over_http_is_told_to_every_socket_of_the_player(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    begun = await actions.perform("session.start", Visitor(player.socket.login), StartData())
    assert isinstance(begun, SessionData)
    assert player.socket.pushed == [SessionMessage(data=begun)]


async def test_replay_and_refusal_are_told_to_nobody(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    second = await another_socket(actions, hub, player)
    await player.do("session.start", StartData(key="the same key"))
    second.pushed.clear()
    again = await player.do("session.start", StartData(key="the same key"))
    assert again.replayed is True
    await player.do("session.last")
    await refusal(actions, "session.complete", player.socket, ScoreData(score=101))
    assert second.pushed == []


# Boards


async def test_board_is_followed_once_it_is_subscribed(actions: Actions) -> None:
    socket = FakeSocket()
    await actions.perform("leaderboard.subscribe", socket, SubscribeData(board="daily:3", limit=50))
    assert socket.following == {BOARDS["daily:3"]: 50}
    await actions.perform("leaderboard.unsubscribe", socket, BoardData(board="daily:3"))
    assert socket.following == {}


async def test_unknown_board_is_named_in_the_error(actions: Actions) -> None:
    for kind, data in (
        ("leaderboard.get", GetBoardData(board="hourly")),
        ("leaderboard.subscribe", SubscribeData(board="hourly")),
        ("leaderboard.unsubscribe", BoardData(board="hourly")),
    ):
        error = await refusal(actions, kind, FakeSocket(), data)
        assert error.code is ErrorCode.UNKNOWN_BOARD
        assert "hourly" in error.message


async def test_around_and_offset_do_not_go_together(actions: Actions, hub: Hub) -> None:
    player = await registered(actions, hub, "ada")
    error = await refusal(actions, "leaderboard.get", player.socket, GetBoardData(around="me", offset=0))
    assert [field.path for field in error.fields] == ["offset"]


# Answers


async def test_answer_is_the_text_of_the_reply(actions: Actions, clock: FakeClock) -> None:
    text = await actions.answer("ping", "c7", FakeSocket(), NoData())
    assert decode_server_message(text) == Pong(re="c7", data=PongData(server_time=clock.now))


# Failures


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (RequestError(ErrorCode.KEY_REUSED), ErrorCode.KEY_REUSED, False),
        (StoreUnavailable("PostgreSQL on secret-host does not answer"), ErrorCode.UNAVAILABLE, True),
        (PlayerUnknown(7), ErrorCode.UNAUTHENTICATED, False),
        (UnknownBoard("hourly"), ErrorCode.UNKNOWN_BOARD, False),
    ],
)
def test_foreseen_failure_is_an_error_of_the_contract_and_not_logged(
    error: Exception, code: ErrorCode, retryable: bool, log: Log, capture: LogCapture
) -> None:
    found = as_request_error(error, log)
    assert (found.code, found.retryable) == (code, retryable)
    assert (found.retry_after_ms is not None) is retryable
    assert "secret" not in found.message
    assert capture.entries == []


def test_unforeseen_failure_is_internal_and_logged(log: Log, capture: LogCapture) -> None:
    error = KeyError("a secret of ours")
    found = as_request_error(error, log, type="user.me", player=7)
    assert found.code is ErrorCode.INTERNAL
    assert "secret" not in found.message
    ((line),) = capture.entries
    assert (line["log_level"], line["exc_info"]) == ("error", error)
    assert (line["type"], line["player"]) == ("user.me", 7)
    assert found.message.endswith(f"Reference: {line['request']}.")


async def test_request_that_is_cancelled_stays_cancelled(
    actions: Actions, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = await registered(actions, hub, "ada")
    task = asyncio.create_task(actions.perform("session.start", player.socket, StartData()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
