"""The pages in a real Chromium, on the real server."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.server_process import ServerProcess, player
from tests.web.watched import PHONE, WALL, Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def _open(browser: Browser, server: ServerProcess, path: str, **options: Any) -> Watched:
    return await Watched.open(browser, server.origin, path, **options)


@pytest.mark.parametrize("path", ["/", "/leaderboard"])
async def test_spectator_sees_players_arrive_and_overtake(browser: Browser, server: ServerProcess, path: str) -> None:
    watched = await _open(browser, server, path, viewport=PHONE)
    page = watched.page
    await expect(page.locator("#status")).to_have_text("Live")
    await expect(page.locator("#board .empty")).to_be_visible()

    async with player(server.port, "Ann") as ann, player(server.port, "Bohdan") as bohdan:
        await ann.play(100, 200, 300)
        await expect(page.locator("#board .row")).to_have_count(1)
        await bohdan.play(100, 200, 301)
        await expect(page.locator("#board .name")).to_have_text(["Bohdan", "Ann"])
        await ann.play(1000, 200, 300)
        await expect(page.locator("#board .name")).to_have_text(["Ann", "Bohdan"])

    await expect(page.locator("#board .position")).to_have_text(["1", "2"])
    await expect(page.locator("#board .points")).to_have_text(["1,500", "601"])
    await expect(page.locator("#total")).to_have_text("2 players")
    assert watched.complaints == []
    assert watched.foreign == []


async def test_rows_slide_to_their_new_places_but_not_for_those_who_want_stillness(
    browser: Browser, server: ServerProcess
) -> None:
    moving = await _open(browser, server, "/leaderboard")
    still = await _open(browser, server, "/leaderboard", reduced_motion="reduce")
    counter = """() => {
        window.slides = 0;
        const animate = Element.prototype.animate;
        Element.prototype.animate = function (...given) { window.slides += 1; return animate.apply(this, given); };
    }"""
    async with player(server.port, "Ann") as ann, player(server.port, "Bohdan") as bohdan:
        await ann.play(1, 1, 1)
        for watched in (moving, still):
            await expect(watched.page.locator("#board .name")).to_have_text(["Ann"])
            await watched.page.evaluate(counter)
        await bohdan.play(2, 2, 2)
        for watched in (moving, still):
            await expect(watched.page.locator("#board .name")).to_have_text(["Bohdan", "Ann"])
    assert await moving.page.evaluate("window.slides") > 0
    assert await still.page.evaluate("window.slides") == 0


async def test_page_says_since_when_it_is_not_live_and_heals_after_a_restart(
    browser: Browser, settings: dict[str, str]
) -> None:
    async with await ServerProcess.start(**settings) as server:
        port = server.port
        watched = await _open(browser, server, "/leaderboard")
        page = watched.page
        async with player(port, "Ann") as ann:
            await ann.play(5, 5, 5)
        await expect(page.locator("#board .name")).to_have_text(["Ann"])
        assert await server.stop() == 0

    await expect(page.locator("#status")).to_have_text(re.compile(r"Not live since \d\d:\d\d"))
    await expect(page.locator("#board .name")).to_have_text(["Ann"])

    async with await ServerProcess.start(**settings | {"BRAINGAME_PORT": str(port)}):
        async with player(port, "Bohdan") as bohdan:
            await bohdan.play(9, 9, 9)
        await expect(page.locator("#status")).to_have_text("Live", timeout=20_000)
        await expect(page.locator("#board .name")).to_have_text(["Bohdan", "Ann"])


async def test_page_that_was_cut_off_shows_what_happened_meanwhile(browser: Browser, server: ServerProcess) -> None:
    watched = await _open(browser, server, "/leaderboard")
    page = watched.page
    await expect(page.locator("#status")).to_have_text("Live")
    async with player(server.port, "Ann") as ann:
        await page.evaluate("dispatchEvent(new Event('offline'))")
        await page.context.set_offline(True)
        await ann.play(7, 7, 7)
        await page.context.set_offline(False)
    await expect(page.locator("#board .name")).to_have_text(["Ann"], timeout=20_000)


async def test_names_are_text_whatever_is_in_them(browser: Browser, server: ServerProcess) -> None:
    names = ["<b>bold</b>", "محمد الفاتح", "🦊 Foxy 🦊", "W" * 32]
    for index, name in enumerate(names):
        async with player(server.port, name) as somebody:
            await somebody.play(1, 1, 100 - index)
    watched = await _open(browser, server, "/leaderboard", viewport=PHONE)
    await expect(watched.page.locator("#board .name")).to_have_text(names)
    wide = await watched.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wide
    assert await watched.page.locator("#board b").count() == 0


async def test_ten_rows_fill_a_wall_and_fit_it(browser: Browser, server: ServerProcess) -> None:
    for index in range(11):
        async with player(server.port, f"Player {index}") as somebody:
            await somebody.play(1, 1, index)
    watched = await _open(browser, server, "/leaderboard?board=daily", viewport=WALL)
    await expect(watched.page.locator("#board .row .name")).to_have_count(10)
    await expect(watched.page.locator("#board-name")).to_have_text("Today")
    box = await watched.page.locator("#board").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= WALL["height"]
    assert box["height"] > WALL["height"] * 0.7
    await watched.page.get_by_role("link", name="This week").click()
    await expect(watched.page.locator("#board-name")).to_have_text("This week")
    await expect(watched.page.locator("#board .row .name")).to_have_count(10)


async def test_unknown_board_is_answered_kindly(browser: Browser, server: ServerProcess) -> None:
    watched = await _open(browser, server, "/leaderboard?board=monthly")
    await expect(watched.page.locator("#message")).to_contain_text("There is no such board")
    await watched.page.get_by_role("link", name="All time").last.click()
    await expect(watched.page.locator("#status")).to_have_text("Live")
    assert watched.complaints == []


async def test_theme_follows_the_system_until_somebody_chooses(browser: Browser, server: ServerProcess) -> None:
    watched = await _open(browser, server, "/", color_scheme="dark")
    theme = "document.documentElement.dataset.theme"
    assert await watched.page.evaluate(theme) == "dark"
    await watched.page.get_by_role("button", name="Light").click()
    assert await watched.page.evaluate(theme) == "light"
    await watched.page.reload()
    assert await watched.page.evaluate(theme) == "light"
