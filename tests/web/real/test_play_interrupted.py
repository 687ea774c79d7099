"""Games through the page that are interrupted: the network, the page, the server, another day. On real servers."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.server.gate import Gate
from tests.server_process import ServerProcess
from tests.web.axe import expect_accessible
from tests.web.page_player import PagePlayer
from tests.web.real.test_play_page import has_no_complaints, standing
from tests.web.watched import LAPTOP, PHONE

pytestmark = pytest.mark.asyncio(loop_scope="session")

OFFLINE = "No connection. What you do is kept, and the clock goes on."


async def test_connection_is_cut_in_the_middle_of_a_stage(browser: Browser, server: ServerProcess) -> None:
    async with Gate(server.origin) as gate:
        ada = await PagePlayer.open(browser, gate.url.rstrip("/"), viewport=PHONE)
        await ada.register()
        await ada.skip(server.origin)
        await ada.begin()
        await ada.type_results(3)
        await gate.shut()
        await expect(ada.page.locator("#banner")).to_have_text(OFFLINE)
        await expect_accessible(ada.page)
        await ada.type_results(3)  # the game goes on
        await ada.page.clock.fast_forward(60_000)
        await ada.sees("sending")
        await gate.open()
        await ada.page.clock.fast_forward(15_000)  # the pause before the next try is over
        await ada.sees("outcome")
        await expect(ada.page.locator("main")).to_contain_text("6 right, 0 wrong or skipped.")
        await expect(ada.page.locator(".overline")).to_have_text("Sums")
        assert await ada.number(".earned") == 3 * 20 + 3 * 25
        has_no_complaints(ada.watched)


async def test_page_is_reloaded_in_the_middle_of_a_stage(browser: Browser, server: ServerProcess) -> None:
    ada = await PagePlayer.open(browser, server.origin, viewport=PHONE)
    await ada.register()
    await ada.begin()
    await ada.tap_round(0)
    await ada.page.reload()
    await ada.sees("stage")  # at once, without asking
    assert ada.stages[0] == ada.stages[-1]
    assert len(ada.stages) > 1
    await ada.tap_round(1)  # the first round was kept
    await ada.tap_round(2, right=False)
    await ada.sees("outcome")
    await expect(ada.page.locator("main")).to_contain_text("You repeated 4 tiles in a row.")
    has_no_complaints(ada.watched)


async def test_server_is_restarted_in_the_middle_of_a_stage(browser: Browser, settings: dict[str, str]) -> None:
    server = await ServerProcess.start(**settings)
    ada = await PagePlayer.open(browser, server.origin, viewport=LAPTOP)
    await ada.register()
    for _ in range(2):
        await ada.skip(server.origin)
    await ada.begin()
    await ada.draw()
    assert await server.stop() == 0
    async with await ServerProcess.start(**settings | {"BRAINGAME_PORT": str(server.port)}) as again:
        await ada.page.clock.fast_forward(5000)
        await ada.page.click("text=Clear")
        await ada.play_drawing()
        await expect(ada.page.locator("h1")).to_have_text("All games passed")
        assert (await standing(again))["1"]["totalScore"] == await ada.number(".total dd")
    has_no_complaints(ada.watched)


async def test_who_comes_back_another_day_finds_the_session_and_can_give_it_up(
    browser: Browser, server: ServerProcess
) -> None:
    ada = await PagePlayer.open(browser, server.origin, viewport=PHONE)
    await ada.register()
    await ada.skip(server.origin, 320)
    points = 320
    later = await ada.page.context.new_page()
    await later.goto(f"{server.origin}/play")
    await expect(later.locator("h1")).to_have_text("Your game is not over")
    await expect(later.locator("main")).to_contain_text(f"You are at game 2 of 3, with {points} points so far.")
    await expect_accessible(later)
    await later.click("text=Give up")
    await expect_accessible(later)
    await later.click("dialog >> text=Give up")
    await expect(later.locator("h1")).to_have_text("Given up")
    # The other tab hears of it.
    await expect(ada.page.locator("h1")).to_have_text("Given up")
    assert await standing(server) == {}
    has_no_complaints(ada.watched)
