"""Somebody who plays through the page: reads what was dealt from the page's socket, and taps, types and draws."""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

import aiohttp
from playwright.async_api import Browser, Page, WebSocket, expect

from game.stages.sums import solution
from tests.web.watched import Watched

#: Showing a long round takes some seconds.
PATIENCE_MS: Final = 20_000
PASSWORD: Final = "correct horse"


class PagePlayer:
    """One page at /play."""

    watched: Watched
    page: Page

    def __init__(self) -> None:
        self.name = f"Ada {secrets.token_hex(4)}"
        self.email = f"{secrets.token_hex(6)}@example.test"
        #: The data of each `stage` message, oldest first.
        self.stages: list[dict[str, Any]] = []
        #: Every type and error code that came.
        self.received: list[str] = []

    @classmethod
    async def open(cls, browser: Browser, origin: str, path: str = "/play", **options: Any) -> PagePlayer:
        """Open the page; its time can be moved on."""
        player = cls()

        def listen(page: Page) -> None:
            page.on("websocket", player._listen)

        player.watched = await Watched.open(browser, origin, path, clock=True, prepare=listen, **options)
        player.page = player.watched.page
        return player

    def _listen(self, socket: WebSocket) -> None:
        def received(frame: str | bytes) -> None:
            message = json.loads(frame)
            self.received.append(message["data"].get("code") or message["type"])
            if message["type"] == "stage":
                self.stages.append(message["data"])

        socket.on("framereceived", received)

    @property
    def puzzle(self) -> dict[str, Any]:
        """What was dealt last."""
        puzzle: dict[str, Any] = self.stages[-1]["puzzle"]
        return puzzle

    async def sees(self, scene: str) -> None:
        """Wait for a part of the play."""
        await expect(self.page.locator("main")).to_have_attribute("data-scene", scene, timeout=PATIENCE_MS)

    async def register(self) -> None:
        """From the form into the first game's introduction."""
        for name, value in (("username", self.name), ("email", self.email), ("password", PASSWORD)):
            await self.page.fill(f"#account-{name}", value)
        await self.page.click("form .primary")
        await self.sees("introduction")

    async def skip(self, origin: str, score: int = 100) -> None:
        """Another client of the same player passes the current stage; the page hears of it."""
        token = await self.page.evaluate("JSON.parse(localStorage.getItem('braingame.tokens')).token")
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{origin}/api/sessions/last/complete", json={"score": score}, headers=headers) as answer,
        ):
            assert answer.status == 200
        await self.sees("in-progress")
        await self.page.click("main .primary")
        await self.sees("introduction")

    async def begin(self) -> None:
        """From an introduction, or an outcome before it, into the game."""
        if await self.page.locator("main").get_attribute("data-scene") == "outcome":
            await self.page.click("main .primary")
        await self.sees("introduction")
        await self.page.click("main .primary")
        await self.sees("stage")

    async def tap_round(self, number: int, *, right: bool = True) -> None:
        """Repeat the round of that number, from 0, once it was shown; or make a mistake with its first tile."""
        await expect(self.page.locator("[data-phase=repeat]")).to_be_visible(timeout=PATIENCE_MS)
        tiles = self.puzzle["tiles"][: self.puzzle["firstLength"] + number]
        if not right:
            tiles = [(tiles[0] + 1) % 9]
        for tile in tiles:
            await self.page.locator(".tile").nth(tile).click()
        await expect(self.page.locator("[data-phase=repeat]")).to_have_count(0)

    async def play_sequence(self) -> None:
        """One round, and a mistake in the second."""
        await self.tap_round(0)
        await self.tap_round(1, right=False)
        await self.sees("outcome")

    async def type_results(self, count: int) -> None:
        """So many right results, a little faster than a human could."""
        for _ in range(count):
            await expect(self.page.locator(".typed")).to_be_empty(timeout=PATIENCE_MS)
            text = (await self.page.inner_text(".sum")).removesuffix(" =")
            for digit in str(solution(text)):
                await self.page.keyboard.press(digit)
            await self.page.wait_for_timeout(450)

    async def wait_for_the_end(self) -> None:
        """The page's time is over at once; the server has no objection to an answer that comes early."""
        await self.page.clock.fast_forward(60_000)
        await self.sees("outcome")

    async def play_sums(self, count: int = 4) -> None:
        """Some right results, then the time is over."""
        await self.type_results(count)
        await self.wait_for_the_end()

    async def draw(self) -> None:
        """The picture, once it is gone, a little beside where it was."""
        await expect(self.page.locator("canvas")).to_be_visible(timeout=PATIENCE_MS)
        box = await self.page.locator("canvas").bounding_box()
        assert box is not None
        mouse = self.page.mouse
        for stroke in self.puzzle["strokes"]:
            points = [
                (box["x"] + (x + 9) / 1000 * box["width"], box["y"] + (y - 9) / 1000 * box["height"])
                for x, y in zip(stroke[::2], stroke[1::2], strict=True)
            ]
            await mouse.move(*points[0])
            await mouse.down()
            for point in points[1:]:
                await mouse.move(*point, steps=2)
            await mouse.up()

    async def play_drawing(self) -> None:
        """Draw, and hand it in no sooner than a human could."""
        await self.draw()
        await self.page.wait_for_timeout(1500)
        await self.page.click(".drawing .primary")
        await self.sees("outcome")

    async def number(self, selector: str) -> int:
        """The digits of an element's text."""
        text = await self.page.locator(selector).first.inner_text()
        return int("".join(character for character in text if character.isdigit()))
