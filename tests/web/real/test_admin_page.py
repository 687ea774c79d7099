"""The operators' page, in Chromium, on real servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from protocol.errors import CloseCode
from tests.server.clients import client_to
from tests.server_process import ROOT, ServerProcess, player, spectator
from tests.web.axe import expect_accessible
from tests.web.watched import LAPTOP, PHONE, WALL, Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "correct horse"


@pytest_asyncio.fixture(loop_scope="session")
async def server(settings: dict[str, str]) -> AsyncIterator[ServerProcess]:
    async with await ServerProcess.start(**settings) as server:
        async with spectator(server.port) as socket:
            for name in ("boss", "nosy"):
                await socket.do("auth.register", email=f"{name}@example.test", username=name, password=PASSWORD)
        command = [sys.executable, str(ROOT / "run_server.py"), "grant-admin", "boss@example.test"]
        granting = await asyncio.create_subprocess_exec(
            *command, env=settings, cwd=settings["BRAINGAME_DATA_DIR"], stdout=asyncio.subprocess.PIPE
        )
        await granting.communicate()
        assert granting.returncode == 0
        yield server


async def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    await page.fill("#account-email", f"{name}@example.test")
    await page.fill("#account-password", password)
    await page.click("form .primary")


async def as_boss(browser: Browser, server: ServerProcess, **options: Any) -> Watched:
    watched = await Watched.open(browser, server.origin, "/admin", **options)
    await log_in(watched.page, "boss")
    await expect(watched.page.locator("h1")).to_have_text("Operators")
    return watched


async def look_over(page: Page) -> None:
    """As it is shown now, in both themes, and as wide as on a phone, a laptop and a wall."""
    await expect_accessible(page)
    for size in (WALL, LAPTOP, PHONE):
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size


async def give_reason(page: Page, button: str, reason: str) -> None:
    await page.click(f"main >> text={button}")
    await page.fill("#reason", reason)
    await page.click("dialog .danger")
    await expect(page.locator("dialog")).to_have_count(0)


async def test_who_is_no_operator_is_told_so_and_can_log_in_as_one(browser: Browser, server: ServerProcess) -> None:
    watched = await Watched.open(browser, server.origin, "/admin", viewport=PHONE)
    page = watched.page
    await expect_accessible(page)
    await log_in(page, "boss", "battery staple")
    await expect(page.locator("#account-password-note")).to_have_text("Email or password is wrong.")
    await log_in(page, "nosy")
    await expect(page.locator("h1")).to_have_text("For operators only")
    await expect_accessible(page)
    await page.click("text=Log in as somebody else")
    await log_in(page, "boss")
    await expect(page.locator("h1")).to_have_text("Operators")
    await page.reload()
    await expect(page.locator("h1")).to_have_text("Operators")  # the login was kept
    assert [text for text in watched.complaints if "403" not in text] == []
    assert watched.foreign == []


async def test_operator_takes_a_cheater_off_every_screen_and_back(browser: Browser, server: ServerProcess) -> None:
    wall = await Watched.open(browser, server.origin, "/leaderboard", viewport=WALL)
    names = wall.page.locator("#board .name")
    async with client_to(f"ws://127.0.0.1:{server.port}/ws") as cheater, player(server.port, "Honest") as honest:
        await honest.play(1, 2, 3)
        await cheater.do("auth.register", email="c@example.test", username="שקרן 😀", password=PASSWORD)
        await cheater.play(999_999, 999_999, 999_999)
        await expect(names).to_have_text(["שקרן 😀", "Honest"])
        watched = await as_boss(browser, server, viewport=PHONE)
        page = watched.page
        await page.fill("#find", "שק")
        await page.click(".search button")
        await page.click("table a:has-text('שקרן')")
        await expect(page.locator("h1")).to_contain_text("שקרן 😀 #4")
        await look_over(page)

        await page.click("table a >> nth=0")
        await expect(page.locator("h1")).to_have_text("Session, step by step")
        steps = page.locator("tbody tr")
        await expect(steps).to_have_count(4)
        await expect(steps.nth(1)).to_contain_text("999,999")
        await expect(steps.nth(1)).to_contain_text("Complete, game 1")
        await expect(steps.nth(1)).to_contain_text("Client")
        await look_over(page)
        await page.go_back()
        await expect(page.locator("h1")).to_contain_text("שקרן 😀")

        await page.click("main >> text=Take off the boards")
        await page.click("dialog .danger")
        await expect(page.locator("#reason-note")).to_have_text("Please fill this in.")
        await expect_accessible(page)
        await page.click("dialog >> text=Cancel")
        await give_reason(page, "Take off the boards", "nobody has so many points")
        await expect(names).to_have_text(["Honest"])
        await expect(page.locator(".facts")).to_contain_text("off the boards")
        await expect_accessible(page)
        await give_reason(page, "Put back on the boards", "it was a test")
        await expect(names).to_have_text(["שקרן 😀", "Honest"])
        await give_reason(page, "End all logins", "to be sure")
        assert await cheater.closed() == CloseCode.UNAUTHENTICATED

        await page.click("text=← Overview")
        acts = page.locator("[aria-label='What operators have done'] tbody tr")
        await expect(acts).to_have_count(4)
        for at, (act, reason) in enumerate(
            [
                ("logins ended", "to be sure"),
                ("put back on the boards", "it was a test"),
                ("taken off the boards", "nobody has so many points"),
                ("made an operator", ""),
            ]
        ):
            await expect(acts.nth(at)).to_contain_text(act)
            await expect(acts.nth(at)).to_contain_text(reason)
        await expect(acts.nth(3)).to_contain_text("command line")
        await look_over(page)
        assert watched.complaints == []
        assert watched.foreign == []


async def test_figures_follow_what_the_server_does(browser: Browser, server: ServerProcess) -> None:
    watched = await as_boss(browser, server, viewport=LAPTOP)
    connections = watched.page.locator(".chart").nth(0)
    async with player(server.port) as one, spectator(server.port) as two:
        await two.do("leaderboard.subscribe")
        # The page's own socket is a player's, too.
        await expect(connections.locator("dd").nth(0)).to_have_text("2", timeout=10_000)
        await expect(connections.locator("dd").nth(1)).to_have_text("1", timeout=10_000)
        await one.play(1, 2, 3)
        commits = watched.page.locator(".chart").nth(2)
        await expect(commits.locator(".most")).not_to_have_text("↑ 1 ms", timeout=10_000)
        assert "M" in str(await commits.locator("path.line-1").get_attribute("d"))
    await expect(connections.locator("dd").nth(0)).to_have_text("1", timeout=10_000)
    assert watched.complaints == []


async def test_page_says_when_the_server_is_away_and_goes_on_by_itself(
    browser: Browser, settings: dict[str, str], server: ServerProcess
) -> None:
    watched = await as_boss(browser, server, viewport=PHONE)
    status = watched.page.locator("#status")
    await expect(status).to_have_text("Live")
    assert await server.stop() == 0
    await expect(status).to_contain_text("Not live since", timeout=15_000)
    async with await ServerProcess.start(**settings | {"BRAINGAME_PORT": str(server.port)}):
        await expect(status).to_have_text("Live", timeout=20_000)


async def test_address_of_nobody_says_so(browser: Browser, server: ServerProcess) -> None:
    watched = await as_boss(browser, server, viewport=PHONE)
    await watched.page.goto(f"{server.origin}/admin?player=4711")
    await expect(watched.page.locator("h1")).to_have_text("There is no such player or session.")
    await expect_accessible(watched.page)
    await watched.page.click("text=← Overview")
    await expect(watched.page.locator("h1")).to_have_text("Operators")
