"""A player of a soak: comes in one of many ways, plays what falls due, goes in one of many ways.

It knows what each answer has to be, down to the score, and that what was acknowledged before is there when it is back.
"""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import struct
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import aiohttp

from bench.soak.visitor import PATIENCE, Tally, Unavailable, Unexpected, Visitor, enter
from bench.sockets import client_frame

#: Seconds that a visit lasts, in the mean.
VISIT_SECONDS: Final = 40.0
_PASSWORD: Final = "correct horse"
_OVER_HTTP: Final = 0.12
#: What `retryAfterMs` says.
_PAUSE_SECONDS: Final = 1.0
_COMPARES: Final = 0.001
_FOLLOWS: Final = 0.3
_CARELESS: Final = 0.15
#: Seconds before its token's end in which a player who lets it expire does nothing more.
_LEAVES_BEFORE_EXPIRY: Final = 20.0
_STAGES: Final = 3
#: Few, so that everybody is on all boards soon, and what the boards need stays the same.
_DIFFICULTIES: Final = (0, 3, 7)
#: Actions of a session in progress, and how often each is taken.
_MOVES: Final = {"session.complete": 86, "stage.deal": 5, "session.close": 6, "session.cancel": 3}
_ROUTES: Final = {
    "session.start": ("/api/sessions", 201),
    "session.complete": ("/api/sessions/last/complete", 200),
    "session.close": ("/api/sessions/last/close", 200),
    "session.cancel": ("/api/sessions/last/cancel", 200),
    "stage.deal": ("/api/sessions/last/stage", 200),
    "stage.answer": ("/api/sessions/last/stage/answer", 200),
}
#: What is no answer to the game, but one that it understands.
_WRONG: Final[dict[str, dict[str, Any]]] = {
    "sequence": {"rounds": []},
    "sums": {"results": []},
    "drawing": {"strokes": []},
}
_draw: Final = random.Random()  # noqa: S311


@dataclass(slots=True)
class Account:
    """What a player keeps from one visit to the next."""

    name: str
    token: str | None = None
    refresh_token: str | None = None
    #: Of the token, in Unix time.
    expires_at: float = 0.0
    #: The last session that was acknowledged; not to be relied on where an answer was not waited for.
    session: dict[str, Any] | None = None
    known: bool = True
    #: The game of the stage that was dealt and not yet answered.
    game: str | None = None

    @property
    def credentials(self) -> dict[str, str]:
        """For a login."""
        return {"email": f"{self.name}@soak.test", "password": _PASSWORD}

    def hold(self, tokens: dict[str, Any]) -> None:
        """From a login or a refresh; a resumed login has no other refresh token."""
        self.token = tokens["token"]
        self.expires_at = datetime.fromisoformat(tokens["tokenExpiresAt"]).timestamp()
        self.refresh_token = tokens.get("refreshToken") or self.refresh_token

    def seconds_left(self) -> float:
        """Of the token."""
        return self.expires_at - time.time() if self.token else 0.0

    def forget(self) -> None:
        """Logged out."""
        self.token = self.refresh_token = None

    def doubt(self) -> None:
        """Something went wrong: it is not known what was done of what was asked last."""
        self.known = False
        self.forget()


@dataclass(slots=True)
class House:
    """The server, and the ways to it."""

    url: str
    tally: Tally
    #: Two, of which one opens a connection for each request.
    https: tuple[aiohttp.ClientSession, aiohttp.ClientSession]
    #: What grows, so that boards go on changing.
    started: float = field(default_factory=time.perf_counter)

    async def post(
        self, path: str, status: int, token: str | None = None, *, key: str | None = None, **body: Any
    ) -> dict[str, Any]:
        """Ask over HTTP; raises Unavailable, and Unexpected for any other status."""
        http = self.https[_draw.random() < 0.1]
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        async with (
            asyncio.timeout(PATIENCE),
            http.post(f"{self.url}{path}", json=body, headers=headers) as response,
        ):
            self._is_available(response)
            answer: dict[str, Any] = {} if response.status == 204 else await response.json()
            if response.status != status:
                raise Unexpected(f"{path} is {response.status}, not {status}: {answer}")
            return answer

    async def get(self, path: str, token: str | None = None) -> Any:
        """The same for what is only looked at."""
        http = self.https[_draw.random() < 0.1]
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with asyncio.timeout(PATIENCE), http.get(f"{self.url}{path}", headers=headers) as response:
            self._is_available(response)
            if response.status != 200:
                raise Unexpected(f"{path} is {response.status}")
            return await response.json()

    def _is_available(self, response: aiohttp.ClientResponse) -> None:
        if response.status == 503:
            self.tally.unavailable += 1
            raise Unavailable(response.url.path)


class Player:
    """One visit."""

    def __init__(self, account: Account, house: House) -> None:
        self.account = account
        self._house = house
        self._dues: deque[float] = deque()
        self._wanted = asyncio.Event()
        self._socket: Visitor | None = None
        #: Whether it lets its token expire.
        self._careless = _draw.random() < _CARELESS

    def act(self, due: float) -> None:
        """An action falls due."""
        self._dues.append(due)
        self._wanted.set()

    def leftover(self) -> list[float]:
        """What it will not do any more."""
        left, self._dues = list(self._dues), deque()
        return left

    @property
    def idle(self) -> bool:
        """Whether everything that fell due is answered."""
        return not self._dues

    async def arrive(self) -> None:
        """Connect and log in. Raises what says that it failed."""
        how = self._way_in()
        account, house = self.account, self._house
        if how == "refresh":
            account.hold(await house.post("/refresh", 200, refreshToken=account.refresh_token))
        elif how == "login over HTTP":
            account.hold(await house.post("/login", 200, **account.credentials))
        elif how == "register over HTTP":
            await house.post("/register", 201, username=account.name, **account.credentials)
            account.hold(await house.post("/login", 200, **account.credentials))
        if how in ("resume", "login", "register"):
            self._socket = await enter(house.url, house.tally)
            bodies: dict[str, dict[str, Any]] = {
                "resume": {"token": account.token},
                "login": account.credentials,
                "register": {"username": account.name, **account.credentials},
            }
            reply = await self._socket.request(f"auth.{how}", **bodies[how])
            account.hold(reply)
        else:
            self._socket = await enter(house.url, house.tally, account.token)
            reply = self._socket.welcome.result()["data"]
        house.tally.done[how] += 1
        self._is_back_at(reply["session"])
        if _draw.random() < _FOLLOWS:
            await self._socket.request("leaderboard.subscribe", board=_draw.choice(("all-time", "daily")), limit=10)

    async def play(self, seconds: float) -> None:
        """What falls due in this time."""
        assert self._socket is not None  # noqa: S101
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0 or self._dues:
            if self._socket.gone.done():
                raise Unexpected(f"closed with {self._socket.gone.result()} in the middle of play")
            if self._careless and self.account.seconds_left() < _LEAVES_BEFORE_EXPIRY and not self._dues:
                return
            if self._socket.expiring and not self._careless:
                await self._refresh()
            if not self._dues:
                self._wanted.clear()
                try:
                    async with asyncio.timeout(min(left, 1.0)):
                        await self._wanted.wait()
                except TimeoutError:
                    continue
            await self._act()
            self._house.tally.took(self._dues.popleft())
            if _draw.random() < _COMPARES:
                await self.compare()

    async def leave(self) -> None:
        """Go, one way or the other."""
        assert self._socket is not None  # noqa: S101
        socket, account = self._socket, self.account
        ways = {"vanish": 4, "vanish in the middle": 1, "close": 3, "log out": 1, "log out over HTTP": 1}
        if self._careless and account.seconds_left() < 2 * _LEAVES_BEFORE_EXPIRY:
            ways = {"stay until the token expires": 1}
        (how,) = _draw.choices(list(ways), list(ways.values()))
        self._house.tally.done[how] += 1
        match how:
            case "vanish in the middle":
                account.known = False
                socket.say(client_frame({"type": "session.start", "id": 0, "data": {}}))
            case "close":
                socket.goodbye()
                await socket.closed_with(1000)
            case "log out":
                await socket.request("auth.logout")
                account.forget()
                await socket.is_refused("unauthenticated", "user.me")
            case "log out over HTTP":
                await self._house.post("/logout", 204, account.token)
                account.forget()
            case "stay until the token expires":
                await socket.closed_with(4401, within=account.seconds_left() + PATIENCE)

    def drop(self) -> None:
        """Be gone."""
        if self._socket is not None:
            self._socket.drop()

    def _way_in(self) -> str:
        account = self.account
        if not account.expires_at:
            return _draw.choice(("register", "register over HTTP"))
        if account.seconds_left() > PATIENCE:
            return _draw.choices(("token", "resume", "refresh", "login"), (50, 20, 20, 10))[0]
        if account.refresh_token:
            return _draw.choices(("refresh", "login", "login over HTTP"), (60, 20, 20))[0]
        return _draw.choice(("login", "login over HTTP"))

    def _is_back_at(self, session: dict[str, Any] | None) -> None:
        account = self.account
        if account.known and not _same(session, account.session):
            raise Unexpected(f"{session} is there, {account.session} was acknowledged")
        account.session, account.known, account.game = session, True, None

    async def _refresh(self) -> None:
        assert self._socket is not None  # noqa: S101
        account, socket = self.account, self._socket
        socket.expiring = False
        if _draw.random() < 0.5:
            account.hold(await socket.request("auth.refresh", refreshToken=account.refresh_token))
        else:
            account.hold(await self._house.post("/refresh", 200, refreshToken=account.refresh_token))
            await socket.request("auth.resume", token=account.token)
        self._house.tally.done["refresh in play"] += 1

    async def _act(self) -> None:
        account = self.account
        session, game = account.session, account.game
        if session is None or session["sessionStatus"] != 0:
            await self._move("session.start", {"difficulty": _draw.choice(_DIFFICULTIES)})
        elif game is not None:
            await self._answer(game, session)
        else:
            (kind,) = _draw.choices(list(_MOVES), list(_MOVES.values()))
            # Better with time, so that boards change all the time.
            best = int((time.perf_counter() - self._house.started) * 50)
            scored = kind in ("session.complete", "session.close")
            await self._move(kind, {"score": _draw.randint(best // 2, best + 1000)} if scored else {})

    async def _answer(self, game: str, session: dict[str, Any]) -> None:
        self.account.game = None
        assert self._socket is not None  # noqa: S101
        if game == "drawing":
            try:
                found: dict[str, Any] = await self._socket.request("stage.answer", answer=_WRONG[game])
            except RuntimeError as error:
                if error.args[0]["code"] != "too_fast":  # it is shown for some seconds first
                    raise
                return
        else:
            found = await self._ask("stage.answer", {"answer": _WRONG[game]})
        if (found["verdict"], found["stageScore"]) not in (("failed", 0), ("late", 0)):
            raise Unexpected(f"nothing was answered, and it is {found}")
        self._lead_to(found, session, "session.close", 0)

    async def _move(self, kind: str, data: dict[str, Any]) -> None:
        before = self.account.session
        found = await self._ask(kind, data)
        if kind == "stage.deal":
            self.account.game = found["game"]
        else:
            self._lead_to(found, before, kind, data.get("score", 0))

    def _lead_to(self, found: dict[str, Any], before: dict[str, Any] | None, kind: str, score: int) -> None:
        if not _same(found, after(before, kind, score), kind == "session.start"):
            raise Unexpected(f"{kind} with {score} has led from {before} to {found}")
        self.account.session = found

    async def _ask(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """The answer to an action, which is sent again with its key while it is `unavailable`, as a client does."""
        assert self._socket is not None  # noqa: S101
        keyed = {} if kind == "stage.deal" else {"key": secrets.token_hex(8)}
        end = time.perf_counter() + PATIENCE
        while True:
            try:
                if _draw.random() < _OVER_HTTP:
                    path, status = _ROUTES[kind]
                    return await self._house.post(path, status, self.account.token, **keyed, **data)
                return await self._socket.request(kind, **keyed, **data)
            except Unavailable:
                if time.perf_counter() > end:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)

    async def compare(self) -> None:
        """Have two drawings compared."""
        assert self._socket is not None  # noqa: S101
        one, other = drawing(), drawing()
        if _draw.random() < 0.5:
            found = await self._socket.request("images.compare", originalImage=one, drawnImage=other)
        else:
            token = self.account.token
            found = await self._house.post("/api/images/compare", 200, token, originalImage=one, drawnImage=other)
        if not 0 <= found["distance"] <= 100:
            raise Unexpected(f"a distance of {found}")
        self._house.tally.done["images compared"] += 1


def after(session: dict[str, Any] | None, kind: str, score: int) -> dict[str, Any]:
    """What an action makes of a session, as far as it can be told beforehand."""
    if kind == "session.start":
        return {"sessionStatus": 0, "sessionStage": 0, "sessionTotalScore": 0}
    assert session is not None  # noqa: S101
    stage, status = session["sessionStage"], {"session.close": 2, "session.cancel": 3}.get(kind, 0)
    if kind == "session.complete":
        stage, status = (stage, 1) if stage == _STAGES - 1 else (stage + 1, 0)
    total = session["sessionTotalScore"] + score
    return {
        "sessionId": session["sessionId"],
        "sessionStatus": status,
        "sessionStage": stage,
        "sessionTotalScore": total,
    }


def _same(found: dict[str, Any] | None, wanted: dict[str, Any] | None, new: bool = False) -> bool:
    if found is None or wanted is None:
        return found is wanted
    names = ["sessionStatus", "sessionStage", "sessionTotalScore", *([] if new else ["sessionId"])]
    return all(found[name] == wanted[name] for name in names)


def drawing(side: int = 128) -> str:
    """A random curve as PNG (https://www.w3.org/TR/png/), in base64."""
    rows = [bytearray(b"\xff" * side) for _ in range(side)]
    x = y = side / 2
    turn, way = 0.0, complex(1, 0)
    for _ in range(4 * side):
        turn += _draw.uniform(-0.05, 0.05)
        way *= complex(1 - turn * turn / 2, turn)
        way /= abs(way)
        x, y = (x + way.real) % side, (y + way.imag) % side
        rows[int(y)][int(x)] = 0

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()
