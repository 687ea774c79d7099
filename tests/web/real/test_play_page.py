"""Whole games through the page, in Chromium, on real servers."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from tests.server_process import ServerProcess, player
from tests.web.axe import expect_accessible
from tests.web.page_player import PASSWORD, PagePlayer
from tests.web.watched import LAPTOP, PHONE, WALL, Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def nothing_sticks_out(page: Page) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def targets_are_large_enough(page: Page) -> None:
    sizes = await page.eval_on_selector_all(
        "main button, main a, main input, main select",
        """all => all.filter((one) => one.checkVisibility()).map((one) => {
            const { width, height } = one.getBoundingClientRect();
            return [one.textContent || one.id, Math.min(width, height)];
        })""",
    )
    assert [size for size in sizes if size[1] < 44] == []


async def look_over(page: Page) -> None:
    """What holds for every part of the play."""
    await expect_accessible(page)
    await nothing_sticks_out(page)
    await targets_are_large_enough(page)


async def standing(server: ServerProcess) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{server.origin}/api/leaderboard") as answer:
        rows: dict[str, Any] = await answer.json()
        return rows


def has_no_complaints(*watched: Watched) -> None:
    for one in watched:
        # Chromium itself reports each try to connect that fails.
        assert [text for text in one.complaints if not text.startswith("WebSocket connection to ")] == []
        assert one.foreign == []


async def test_whole_game_from_the_first_visit_to_the_board(browser: Browser, settings: dict[str, str]) -> None:
    async with await ServerProcess.start(**settings, BRAINGAME_SCORING="judged") as server:
        await play_a_whole_game(browser, server)


async def play_a_whole_game(browser: Browser, server: ServerProcess) -> None:
    wall = await Watched.open(browser, server.origin, "/leaderboard", viewport=WALL)
    ada = await PagePlayer.open(browser, server.origin, "/", viewport=PHONE)
    page = ada.page
    await page.click("text=Play")
    await ada.sees("entrance")
    await look_over(page)
    await ada.register()
    await look_over(page)
    await ada.begin()
    await look_over(page)
    await ada.play_sequence()
    await expect(page.locator("main")).to_contain_text("You repeated 3 tiles in a row.")
    await expect(page.locator(".outlook")).to_contain_text("you are number 1 today")
    await look_over(page)
    await ada.begin()
    await look_over(page)
    await ada.play_sums()
    await expect(page.locator("main")).to_contain_text("4 right, 0 wrong or skipped.")
    await ada.begin()
    await look_over(page)
    await ada.draw()
    await look_over(page)
    await ada.play_drawing()
    await expect(page.locator("h1")).to_have_text("All games passed")
    await expect(page.locator(".three dd")).to_have_text(["1 of 1"] * 3)
    await expect(page.locator(".around .own")).to_contain_text(ada.name)
    await look_over(page)

    total = await ada.number(".total dd")
    rows = await standing(server)
    assert (rows["1"]["username"], rows["1"]["totalScore"], rows["1"]["passedAllGames"]) == (ada.name, total, True)
    assert await ada.number(".earned") > 700
    await expect(wall.page.locator("#board .name")).to_have_text([ada.name])
    await expect(wall.page.locator("#board .points")).to_have_text([f"{total:,}"])
    await page.click("text=Play again")
    await ada.sees("ready")
    await look_over(page)
    has_no_complaints(ada.watched, wall)


async def test_player_sees_the_own_place_move_while_playing(browser: Browser, server: ServerProcess) -> None:
    ada = await PagePlayer.open(browser, server.origin, viewport=LAPTOP)
    await ada.register()
    await ada.skip(server.origin)
    await ada.begin()
    await ada.page.click("text=Stop here")
    await ada.page.click("dialog .danger")
    await expect(ada.page.locator(".three dd").first).to_have_text("1 of 1")
    async with player(server.port, "Ben") as ben, player(server.port, "Eve") as eve:
        await ben.play(10_000, 1, 1)
        await expect(ada.page.locator(".three dd").first).to_have_text("2 of 2")
        await expect(ada.page.locator(".around .player")).to_have_text(["Ben", ada.name])
        await ada.page.click("text=Play again")
        await ada.page.click("main .primary")
        await ada.begin()
        await expect(ada.page.locator(".hud .place")).to_have_text("#2")
        await eve.play(20_000, 1, 1)
        await expect(ada.page.locator(".hud .place")).to_have_text("#3")
    has_no_complaints(ada.watched)


async def test_stage_that_fails_ends_the_session_and_counts(browser: Browser, server: ServerProcess) -> None:
    ada = await PagePlayer.open(browser, server.origin, viewport=PHONE)
    await ada.register()
    await ada.skip(server.origin, 320)
    points = 320
    await ada.begin()
    await ada.wait_for_the_end()  # without a single result
    await expect(ada.page.locator("h1")).to_have_text("That was it for this time")
    await expect(ada.page.locator("main")).to_contain_text("This game was not passed")
    row = (await standing(server))["1"]
    assert (row["totalScore"], row["passedAllGames"]) == (points, False)
    has_no_complaints(ada.watched)


async def test_mistakes_in_the_form_are_told_beside_the_fields(browser: Browser, server: ServerProcess) -> None:
    async with player(server.port, "Taken"):
        ada = await PagePlayer.open(browser, server.origin, viewport=PHONE)
        page = ada.page
        note = {name: page.locator(f"#account-{name}-note") for name in ("username", "email", "password")}
        await page.click("form .primary")
        await expect(note["username"]).to_have_text("Please fill this in.")
        await expect(page.locator("#account-username")).to_be_focused()
        await expect_accessible(page)
        await page.fill("#account-username", "taken")
        await page.fill("#account-email", "nonsense")
        await page.fill("#account-password", "short")
        await page.click("form .primary")
        await expect(note["email"]).to_have_text("This is not a complete email address.")
        await expect(note["password"]).to_have_text("At least 8 characters, please, and not more than 72.")
        await expect(note["username"]).to_be_empty()
        await page.fill("#account-email", ada.email)
        await page.fill("#account-password", PASSWORD)
        await page.click("form .primary")
        await expect(note["username"]).to_have_text("This name is taken. Try another one.")
        await ada.register()
        await page.click("text=Give up")
        await page.click("dialog >> text=Give up")
        await page.click("text=Log out")
        await page.click("text=I have played before")
        await page.fill("#account-email", ada.email)
        await page.fill("#account-password", "battery staple")
        await page.click("form .primary")
        await expect(note["password"]).to_have_text("Email or password is wrong.")
        await page.fill("#account-password", PASSWORD)
        await page.click("form .primary")
        await ada.sees("ready")
        await expect(page.locator("#who")).to_have_text(ada.name)
        has_no_complaints(ada.watched)


async def test_game_is_played_with_the_keyboard_alone(browser: Browser, server: ServerProcess) -> None:
    ada = await PagePlayer.open(browser, server.origin, viewport=LAPTOP)
    keyboard = ada.page.keyboard
    await ada.sees("entrance")
    for text in (ada.name, ada.email, PASSWORD):
        await keyboard.press("Tab")
        await keyboard.type(text)
    await keyboard.press("Enter")
    await ada.sees("introduction")
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    for number in range(2):
        await expect(ada.page.locator("[data-phase=repeat]")).to_be_visible(timeout=20_000)
        tiles = ada.puzzle["tiles"][: ada.puzzle["firstLength"] + number]
        for tile in tiles if number == 0 else [(tiles[0] + 1) % 9]:
            await keyboard.press(str(tile + 1))
        await expect(ada.page.locator("[data-phase=repeat]")).to_have_count(0)
    await ada.sees("outcome")
    for _ in range(2):
        await keyboard.press("Tab")
        await keyboard.press("Enter")
    await ada.sees("stage")
    await ada.play_sums()
    for _ in range(2):
        await keyboard.press("Tab")
        await keyboard.press("Enter")
    await expect(ada.page.locator("canvas")).to_be_focused(timeout=20_000)
    await keyboard.press("Space")
    for _ in range(12):
        await keyboard.press("ArrowRight")
    await keyboard.press("Space")
    await ada.page.wait_for_timeout(1500)
    for _ in range(3):
        await keyboard.press("Tab")
    await keyboard.press("Enter")
    await ada.sees("outcome")
    assert "stage" in ada.received
    has_no_complaints(ada.watched)


async def test_who_does_not_see_the_tiles_is_told_them(browser: Browser, server: ServerProcess) -> None:
    ada = await PagePlayer.open(browser, server.origin, viewport=PHONE)
    await ada.register()
    await ada.page.evaluate(
        """() => {
            window.heard = [];
            const told = document.getElementById("told");
            new MutationObserver(() => heard.push(told.textContent)).observe(told, { childList: true });
        }"""
    )
    await ada.begin()
    await expect(ada.page.locator("[data-phase=repeat]")).to_be_visible(timeout=20_000)
    heard = await ada.page.evaluate("heard")
    assert heard == ["Watch", *(str(tile + 1) for tile in ada.puzzle["tiles"][:3]), "Your turn"]


async def test_page_speaks_ukrainian_to_who_reads_it_and_remembers_a_choice(
    browser: Browser, server: ServerProcess
) -> None:
    ada = await PagePlayer.open(browser, server.origin, "/", viewport=PHONE, locale="uk-UA")
    page = ada.page
    await expect(page.locator("html")).to_have_attribute("lang", "uk")
    await page.click("text=Грати")
    await expect(page.locator("h1")).to_have_text("Хто грає?")
    await look_over(page)
    await ada.register()
    await look_over(page)
    await page.click("#language")
    await expect(page.locator("h1")).to_have_text("Your game is not over")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await page.goto(server.origin)
    await expect(page.locator(".invitation")).to_have_text("Play")
    has_no_complaints(ada.watched)


async def test_other_pages_have_nothing_that_axe_finds(browser: Browser, server: ServerProcess) -> None:
    for path in ("/", "/leaderboard", "/leaderboard?board=nonsense", "/docs"):
        watched = await Watched.open(browser, server.origin, path, viewport=PHONE)
        if path in ("/", "/leaderboard"):
            await expect(watched.page.locator("#status")).to_have_text("Live")
        for size in (LAPTOP, WALL, PHONE):
            await watched.page.set_viewport_size(size)  # type: ignore[arg-type]
            await nothing_sticks_out(watched.page)
        await expect_accessible(watched.page)
        await watched.page.set_viewport_size(WALL)  # type: ignore[arg-type]
        await expect_accessible(watched.page)
        has_no_complaints(watched)


async def test_code_on_the_wall_leads_here(browser: Browser, server: ServerProcess) -> None:
    watched = await Watched.open(browser, server.origin, "/leaderboard", viewport=WALL)
    image = watched.page.locator("#join img")
    await expect(image).to_be_visible()
    assert await image.get_attribute("alt") == f"{server.origin}/"
    assert await image.evaluate("image => image.complete && image.naturalWidth > 0")
    async with aiohttp.ClientSession() as http:
        for url in ("https://elsewhere.example/", "javascript:alert(1)", "", f"{server.origin}/{'x' * 200}"):
            async with http.get(f"{server.origin}/qr.svg", params={"url": url}) as answer:
                assert answer.status == 400, url
    has_no_complaints(watched)
