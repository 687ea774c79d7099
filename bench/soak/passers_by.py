"""Who comes to a server beside its players: spectators, some of whom do not read, and strangers who do wrong."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from bench.soak.players import House
from bench.soak.visitor import PATIENCE, Unexpected, Visitor, enter

#: Seconds that a spectator stays, in the mean.
STAY_SECONDS: Final = 18.0
#: Longer than the server bears a reader that is stuck (30 s), once its buffers are full.
_STUCK_SECONDS: Final = 50.0
_BOARDS: Final = [
    f"{period}{difficulty}" for period in ("all-time", "weekly", "daily") for difficulty in ("", ":3", ":7")
]
_MASK: Final = b"\0\0\0\0"
_draw: Final = random.Random()  # noqa: S311


async def spectate(house: House) -> None:
    """Follow some boards; read all the time, or with a pause, or not at all for long; go."""
    (how,) = _draw.choices(("reads", "stalls", "is stuck"), (70, 27, 3))
    visitor = await enter(house.url, house.tally, stalls=how != "reads")
    house.tally.done[f"spectator {how}"] += 1
    try:
        boards = ["all-time", *_draw.sample(_BOARDS[1:], _draw.randint(0, 3))]
        for board in boards:
            limit = 100 if how == "is stuck" else _draw.choice((10, 25, 50, 100))
            state = await visitor.request("leaderboard.subscribe", board=board, limit=limit)
            if state["board"] != board or len(state["entries"]) > limit:
                raise Unexpected(f"subscribed to {limit} of {board}, got {state['board']}")
        if how == "is stuck":
            visitor.stall()
            await asyncio.sleep(_STUCK_SECONDS)
            visitor.wake()
            await _is_told_or_gone(house, visitor)
            return
        await asyncio.sleep(_draw.expovariate(1 / STAY_SECONDS))
        if how == "stalls":
            visitor.stall()
            await asyncio.sleep(_draw.uniform(1, 8))
            visitor.wake()
            await visitor.request("ping")
        if _draw.random() < 0.3:
            await visitor.request("leaderboard.unsubscribe", board=boards[-1])
        if _draw.random() < 0.5:
            visitor.goodbye()
            await visitor.closed_with(1000)
    finally:
        visitor.drop()


async def _is_told_or_gone(house: House, visitor: Visitor) -> None:
    try:
        # Its close frame stands behind what was not read, and may be cut off.
        await visitor.closed_with(4508, None, within=1)
        house.tally.done["stuck reader was closed"] += 1
    except TimeoutError:
        await visitor.push()


async def stand_around(house: House) -> None:
    """Say nothing, and be closed for it."""
    visitor = await enter(house.url, house.tally)
    await visitor.closed_with(4408, within=15 + PATIENCE)


async def babble(house: House) -> None:
    """Ten messages that are none."""
    visitor = await enter(house.url, house.tally)
    for text in ("nonsense", "[]", "{", '"text"', "7") * 2:
        payload = text.encode()
        visitor.say(bytes((0x81, 0x80 | len(payload))) + _MASK + payload)
    await visitor.closed_with(4400)
    if not visitor.pushes or any(b'"malformed"' not in text for text in visitor.pushes):
        raise Unexpected(f"malformed messages were answered with {list(visitor.pushes)}")


async def send_binary(house: House) -> None:
    """A binary frame."""
    visitor = await enter(house.url, house.tally)
    visitor.say(b"\x82\x82" + _MASK + b"ab")
    await visitor.closed_with(1003)


async def send_latin_1(house: House) -> None:
    """Text that is not UTF-8."""
    visitor = await enter(house.url, house.tally)
    visitor.say(b"\x81\x82" + _MASK + b"\xe9a")
    await visitor.closed_with(1007)


async def send_too_much(house: House) -> None:
    """The head of a message of 16 MB."""
    visitor = await enter(house.url, house.tally)
    visitor.say(b"\x81\xff" + (16 * 2**20).to_bytes(8, "big") + _MASK + b" " * 1000)
    await visitor.closed_with(1009)


def _nobody() -> str:
    # Another one each time: guesses at one account are slowed down.
    return f"nobody-{secrets.token_hex(4)}@soak.test"


async def ask_wrongly(house: House) -> None:
    """Requests of a spectator that are refused."""
    visitor = await enter(house.url, house.tally)
    try:
        await visitor.is_refused("unknown_type", "session.win")
        await visitor.is_refused("unauthenticated", "session.start")
        await visitor.is_refused("unknown_board", "leaderboard.subscribe", board="monthly")
        await visitor.is_refused("invalid", "leaderboard.get", limit=0)
        await visitor.is_refused("invalid_credentials", "auth.login", email=_nobody(), password="guessed")
    finally:
        visitor.drop()


async def ask_wrongly_over_http(house: House) -> None:
    """The same over HTTP, and what is no JSON."""
    await house.post("/login", 401, email=_nobody(), password="guessed wrong")
    await house.post("/api/sessions", 401)
    await house.post("/nowhere", 404)
    await house.post("/register", 400, email="no address", username="", password="short")
    async with house.https[1].post(
        f"{house.url}/login", data="{", headers={"Content-Type": "application/json"}
    ) as response:
        if response.status != 400:
            raise Unexpected(f"half an object is {response.status}")


async def look_over_http(house: House) -> None:
    """A board, as a page reads it."""
    if not await house.get("/api/leaderboard?board=daily&limit=50"):
        raise Unexpected("nobody is on the board")


async def stay_in_the_doorway(house: House) -> None:
    """Connect, say half a head or nothing, and vanish or be sent away."""
    parts = urlsplit(house.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(_draw.choice((b"", b"GE", b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgr")))
        if _draw.random() < 0.5:
            async with asyncio.timeout(10 + PATIENCE):
                with suppress(ConnectionError):
                    if await reader.read():
                        raise Unexpected("half a head was answered")
    finally:
        writer.transport.abort()


#: What strangers do, and how often.
STRANGERS: Final[Mapping[Callable[[House], Awaitable[None]], int]] = {
    stand_around: 3,
    babble: 2,
    send_binary: 1,
    send_latin_1: 1,
    send_too_much: 1,
    ask_wrongly: 3,
    ask_wrongly_over_http: 3,
    look_over_http: 4,
    stay_in_the_doorway: 3,
}
