"""A player's, or a spectator's, whole view of a server: `async with connect(url) as game`."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from client.backoff import pause_after
from client.board_state import BoardState, from_leaderboard
from client.errors import Closed, ConnectionLost, RequestRefused
from client.follower import Follower
from client.link import Link, Message
from client.login import Login
from client.values import OpenLogin, Session, Stage, Tokens, User

#: The server takes this socket for a spectator's, or its token for an old one: nothing was done.
_NOT_LOGGED_IN: Final = frozenset({"unauthenticated", "token_expired", "token_revoked"})
_LOGIN_ENDED: Final = 4401
_LIMITS: Final = (10, 25, 50, 100)

T = TypeVar("T")


@asynccontextmanager
async def connect(
    url: str,
    *,
    on_tokens: Callable[[Tokens | None], None] = lambda _tokens: None,
    draw: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Game]:
    """A connection to `ws://host:port/ws` that comes back by itself until the end of the block.

    `on_tokens` is told the tokens to keep for the next visit, whenever they change. What still waits for an answer at
    the end of the block is given up with Closed.
    """
    game = Game(url, on_tokens, draw, sleep)
    game.open()
    try:
        yield game
    finally:
        await game.close()


class Game:
    """One object, one connection. Every call waits for a connection where there is none, for as long as its caller lets
    it (`asyncio.timeout`); it raises RequestRefused when the server says no, and Closed when the client was closed.

    Session actions carry a key, are sent again with it until they have an outcome, and are done once and in order.
    """

    def __init__(
        self,
        url: str,
        on_tokens: Callable[[Tokens | None], None],
        draw: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        #: The player's last session, the newest state that is known.
        self.session: Session | None = None
        self._link = Link(url, self, draw=draw, sleep=sleep)
        self._login = Login(self._link, on_tokens, self._authenticated)
        self._draw = draw
        self._followers: dict[str, Follower] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready = asyncio.Event()
        self._session_changed = asyncio.Event()
        self._acting = asyncio.Lock()
        #: Whose `session` is.
        self._owner: str | None = None
        #: Done when nothing more will come; `_failure` says why, where the client was not closed.
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: BaseException | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.connected

    @property
    def user(self) -> User | None:
        """Who is logged in."""
        return self._login.user

    @property
    def tokens(self) -> Tokens | None:
        """What `resume` takes at the next visit."""
        return self._login.tokens

    @property
    def limits(self) -> Mapping[str, Any]:
        """What the server allows, as the wire says it; empty before the first connection."""
        return {} if self._link.welcome is None else self._link.welcome["limits"]

    # Who I am

    async def register(self, email: str, username: str, password: str) -> User:
        """Make an account and log in. Not sent again when its answer is lost: ConnectionLost."""
        return await self._enter("auth.register", {"email": email, "username": username, "password": password})

    async def login(self, email: str, password: str) -> User:
        """Log in. Not sent again when its answer is lost: ConnectionLost."""
        return await self._enter("auth.login", {"email": email, "password": password})

    async def resume(self, tokens: Tokens) -> User:
        """Go on with tokens from an earlier visit."""

        async def resume() -> User:
            self._login.hold(tokens)
            while self._login.user is None:
                if self._login.ended is not None:
                    raise self._login.ended
                if self._ready.is_set():
                    await self._prove()
                    await asyncio.sleep(0)
                else:
                    await self._ready.wait()  # a new connection begins with it
            return self._login.user

        return await self._within(resume())

    async def logout(self) -> None:
        """End this login everywhere; the connection goes on as a spectator's."""
        try:
            await self._ask("auth.logout")
        except RequestRefused as refusal:
            if refusal.code not in _NOT_LOGGED_IN:
                raise  # Else it had ended already, perhaps by a first try whose answer was lost.
        self._forget()

    async def me(self) -> User:
        """The account."""
        return User.of(await self._ask("user.me"))

    async def change_password(self, password: str, new_password: str) -> None:
        """Set another password; every other login of the account ends. Not sent again when its answer is lost."""
        data = {"password": password, "newPassword": new_password}
        await self._ask("user.password", data, repeat=False)

    async def delete_account(self) -> None:
        """For good: the name leaves every board. Not sent again when its answer is lost."""
        await self._ask("user.delete", repeat=False)
        self._forget()

    async def logins(self) -> list[OpenLogin]:
        """Where the account is logged in, the newest first."""
        return [OpenLogin.of(one) for one in (await self._ask("logins.list"))["logins"]]

    async def revoke_login(self, login_id: str) -> None:
        """End one login of the account."""
        await self._ask("logins.revoke", {"id": login_id})

    # What I play: each returns when the session is stored for good, however often the connection goes meanwhile.

    async def start(self, difficulty: int = 0, *, key: str | None = None) -> Session:
        """A new session; one in progress is canceled."""
        return await self._act("session.start", {"difficulty": difficulty}, key)

    async def complete(self, score: int, *, key: str | None = None) -> Session:
        """The current stage was passed."""
        return await self._act("session.complete", {"score": score}, key)

    async def fail(self, score: int, *, key: str | None = None) -> Session:
        """The current stage was not passed: the session has failed (`session.close`)."""
        return await self._act("session.close", {"score": score}, key)

    async def cancel(self, *, key: str | None = None) -> Session:
        """Give the session up; it does not count."""
        return await self._act("session.cancel", {}, key)

    # Stages that the server deals and scores

    async def deal(self) -> Stage:
        """The current stage; its clock runs from the first time on that it is dealt, and it stays the same."""
        return Stage.of(await self._ask("stage.deal"))

    async def answer(self, answer: Mapping[str, Any], *, key: str | None = None) -> Session:
        """Answer the stage that was dealt, as its game wants it. The session says `stage_score` and `verdict`."""
        return await self._act("stage.answer", {"answer": answer}, key)

    async def last_session(self) -> Session | None:
        """Ask for the last session."""
        session = Session.of(await self._ask("session.last"))
        self._hold(session)
        return session

    async def session_changed(self) -> Session | None:
        """Wait until `session` is another one: by this client, or by the player on another device."""
        await self._session_changed.wait()
        return self.session

    # Boards and everything else

    def follow(self, board: str = "all-time", limit: int = 10) -> Follower:
        """Follow the first 10, 25, 50 or 100 rows of a board until `close` of what this gives; each board once."""
        if limit not in _LIMITS:
            raise ValueError(f"limit is one of {_LIMITS}")
        if board in self._followers:
            raise ValueError(f"{board} is followed already")
        follower = Follower(self._link, board, limit, self._spawn, self._unfollow)
        self._followers[board] = follower
        if self._ready.is_set():
            self._spawn(follower.subscribe())
        return follower

    async def leaderboard(
        self,
        board: str = "all-time",
        limit: int = 10,
        *,
        offset: int | None = None,
        around_me: bool = False,
    ) -> BoardState:
        """A part of a board, once: from `offset` on, or around the player's own entry."""
        data: dict[str, Any] = {"board": board, "limit": limit}
        data |= {} if offset is None else {"offset": offset}
        data |= {"around": "me"} if around_me else {}
        state = from_leaderboard(await self._ask("leaderboard.get", data), None)
        assert state is not None, "what was asked for once comes whole"  # noqa: S101
        return state

    async def compare(self, original: str, drawn: str) -> int:
        """How unlike two drawings are, 0 to 100. PNG, JPEG, WebP or GIF in base64; a data: URL is fine."""
        if self.tokens is None:
            # Pictures are too long for what a spectator may send: the server would close the connection.
            raise RequestRefused({"code": "unauthenticated", "message": "Please log in first."})
        data = {"originalImage": original, "drawnImage": drawn}
        distance: int = (await self._ask("images.compare", data))["distance"]
        return distance

    async def ping(self) -> str:
        """The server's clock, RFC 3339."""
        time: str = (await self._ask("ping"))["serverTime"]
        return time

    # Life

    def open(self) -> None:
        """Begin to connect."""
        self._spawn(self._link.run())

    async def close(self) -> None:
        """End it all; the login lives on."""
        if not self._over.done():
            self._over.set_result(None)
        for follower in tuple(self._followers.values()):
            follower.end(None)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # What the link tells

    async def came_up(self) -> None:
        """A new connection: show who we are, then let the others go on."""
        try:
            await self._login.prove()
        except ConnectionLost:
            return
        self._ready.set()
        for follower in tuple(self._followers.values()):
            self._spawn(follower.subscribe())

    def went_down(self, code: int | None) -> None:
        """The connection is gone."""
        self._ready.clear()
        if code == _LOGIN_ENDED:
            self._login.token_is_spent()
        for follower in tuple(self._followers.values()):
            follower.lose()

    def pushed(self, message: Message) -> None:
        """A push; types that are not known are ignored."""
        kind, data = message["type"], message.get("data", {})
        if kind == "session":
            self._hold(Session.of(data))
        elif kind == "auth.expiring":
            self._login.token_is_spent()
            self._spawn(self._prove())
        elif kind.startswith("leaderboard") and data.get("board") in self._followers:
            self._followers[data["board"]].take(kind, data)

    # How

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._over.done():
            # A URL that is none, or a mistake of ours: whoever waits is told.
            self._failure = error
            self._over.set_result(None)

    def _unfollow(self, board: str) -> None:
        self._followers.pop(board, None)

    def _forget(self) -> None:
        self._login.forget(None)
        self.session = None

    def _authenticated(self, data: Mapping[str, Any]) -> None:
        if self._owner != data["user"]["id"]:
            self._owner, self.session = data["user"]["id"], None
        self._hold(Session.of(data["session"]))

    def _hold(self, session: Session | None) -> None:
        if session is None or (self.session is not None and session.version <= self.session.version):
            return
        self.session = replace(session, replayed=False, stage_score=None, verdict=None)
        changed, self._session_changed = self._session_changed, asyncio.Event()
        changed.set()

    async def _prove(self) -> None:
        try:
            await self._login.prove()
        except ConnectionLost:
            return  # The next connection begins with it.

    async def _enter(self, kind: str, data: Mapping[str, Any]) -> User:
        async def enter() -> User:
            while True:
                await self._ready.wait()
                try:
                    await self._login.enter(kind, data)
                except ConnectionLost as lost:
                    if lost.sent:
                        raise
                    await asyncio.sleep(0)
                    continue
                assert self.user is not None  # noqa: S101
                return self.user

        return await self._within(enter())

    async def _act(self, kind: str, data: Mapping[str, Any], key: str | None) -> Session:
        keyed = {**data, "key": key or str(uuid.uuid4())}

        async def act() -> Session:
            async with self._acting:  # first come, first served
                session = Session.of(await self._send(kind, keyed, repeat=True))
            assert session is not None, "every action leaves a session"  # noqa: S101
            self._hold(session)
            return session

        return await self._within(act())

    async def _ask(self, kind: str, data: Mapping[str, Any] | None = None, *, repeat: bool = True) -> Message:
        return await self._within(self._send(kind, data or {}, repeat=repeat))

    async def _send(self, kind: str, data: Mapping[str, Any], *, repeat: bool) -> Message:
        """Send until there is an outcome. Without `repeat` an answer that is lost is ConnectionLost."""
        failures, proved = 0, False
        while True:
            await self._ready.wait()
            try:
                return await self._link.request(kind, data)
            except ConnectionLost as lost:
                if lost.sent and not repeat:
                    raise
                await asyncio.sleep(0)
            except RequestRefused as refusal:
                if refusal.code in _NOT_LOGGED_IN and self.tokens is not None and not proved:
                    proved = True
                    await self._prove()
                elif refusal.retryable and repeat:
                    after = refusal.retry_after
                    await asyncio.sleep(pause_after(failures, self._draw()) if after is None else after)
                    failures += 1
                else:
                    raise

    async def _within(self, work: Coroutine[Any, Any, T]) -> T:
        if self._over.done():
            work.close()
            raise self._failure or Closed
        task = asyncio.create_task(work)
        both: list[asyncio.Future[Any]] = [task, self._over]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise self._failure or Closed
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
