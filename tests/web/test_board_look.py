"""How the pages look and move, measured in a real Chromium: nothing jumps, nothing overflows, motion has meaning."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.web.scripted_server import Entry, ScriptedServer, ladder
from tests.web.watched import LAPTOP, PHONE, WALL, Open, has_names, is_live

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = ["/", "/leaderboard"]
SIZES = [pytest.param(PHONE, id="phone"), pytest.param(LAPTOP, id="laptop"), pytest.param(WALL, id="wall")]
ODD_NAMES = ["<b>bold</b> & co", "محمد الفاتح " * 2, "🦊 Foxy 🦊", "W" * 32, "שרה", "Zo̶͇ë", "1", "👨‍👩‍👧‍👦"]
#: Notes every animation of an element: which one, what it changes, and for how many ms.
RECORD_ANIMATIONS = """() => {
    window.animated = [];
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (frames, options) {
        window.animated.push({what: this.className, properties: Object.keys(frames), duration: options.duration});
        return animate.call(this, frames, options);
    };
}"""


async def animations(page: Page, property_name: str) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = await page.evaluate("window.animated")
    return [animation for animation in recorded if property_name in animation["properties"]]


async def overflows(page: Page) -> tuple[bool, bool]:
    """Whether the page is wider, and higher, than the window."""
    width, height = await page.evaluate(
        "[document.documentElement.scrollWidth > innerWidth, document.documentElement.scrollHeight > innerHeight]"
    )
    return width, height


# Layout


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("players", [0, 3, 12])
async def test_nothing_jumps_when_the_board_arrives(
    open_page: Open, server: ScriptedServer, path: str, size: ViewportSize, players: int
) -> None:
    server.fill(*ladder(players))
    server.answering.clear()
    page = (await open_page(path, viewport=size)).page
    await expect(page.locator("#board > .skeleton")).to_have_count(10)
    await expect(page.locator("#status")).to_have_text("Connecting …")
    # Of a row, only its place: an empty board has one as high as ten.
    places = """() => [...document.querySelectorAll("h1, nav, #board, .legend, li:first-child")].map((element) => {
        const {x, y, width, height} = element.getBoundingClientRect();
        return element.matches("li") ? [x, y, width] : [x, y, width, height];
    })"""
    before: list[list[float]] = await page.evaluate(places)
    server.answering.set()
    await is_live(page)
    after = await page.evaluate(places)
    assert [pytest.approx(box, abs=0.5) for box in before] == after


@pytest.mark.parametrize("size", SIZES)
async def test_ten_rows_fill_the_screen_and_fit_it(open_page: Open, server: ScriptedServer, size: ViewportSize) -> None:
    server.fill(*ladder(12))
    page = (await open_page("/leaderboard", viewport=size)).page
    await is_live(page)
    assert await overflows(page) == (False, False)
    box = await page.locator("#board").bounding_box()
    assert box is not None
    assert box["height"] > size["height"] * 0.7
    heights = await page.evaluate("[...document.querySelectorAll('.row')].map((row) => row.offsetHeight)")
    assert len(heights) == 10
    assert max(heights) - min(heights) <= 1


async def test_twenty_five_rows_still_fit_a_wall(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(30))
    page = (await open_page("/leaderboard?limit=25", viewport=WALL)).page
    await expect(page.locator("#board .row")).to_have_count(25)
    assert await overflows(page) == (False, False)


async def test_hundred_rows_are_a_long_page(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(99))
    page = (await open_page("/leaderboard?limit=100", viewport=PHONE)).page
    await expect(page.locator("#board .row")).to_have_count(99)
    assert await overflows(page) == (False, True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", PAGES)
async def test_odd_names_stay_in_their_rows(
    open_page: Open, server: ScriptedServer, path: str, size: ViewportSize
) -> None:
    entries = [Entry(1_000_000 + index, name, 3_000_000 - index) for index, name in enumerate(ODD_NAMES)]
    server.fill(*entries)
    page = (await open_page(path, viewport=size)).page
    await has_names(page, *ODD_NAMES)
    assert (await overflows(page))[0] is False
    assert await page.locator("#board b").count() == 0
    for entry in entries:
        row = page.locator(f"[data-number='{entry.number}']")
        assert await row.locator(".name").get_attribute("title") == entry.username
        tops = await row.evaluate("(row) => [...row.children].map((part) => part.getBoundingClientRect().left)")
        assert tops == sorted(tops)  # position, name, mark, score: in this order also around a name from right to left
        assert await row.evaluate("(row) => row.scrollWidth <= row.clientWidth")
        assert await row.evaluate("(row) => row.scrollHeight <= row.clientHeight")
        await expect(row.locator(".tag")).to_be_in_viewport()


async def test_very_long_name_ends_in_an_ellipsis_before_its_number(open_page: Open, server: ScriptedServer) -> None:
    server.fill(Entry(1, "W" * 32, 5))
    page = (await open_page("/leaderboard", viewport=PHONE)).page
    name = page.locator("#board .name")
    await has_names(page, "W" * 32)
    assert await name.evaluate("(name) => name.scrollWidth > name.clientWidth")
    assert await name.evaluate("(name) => getComputedStyle(name).textOverflow") == "ellipsis"
    await expect(page.locator("#board .tag")).to_have_text("#1")
    await expect(page.locator("#board .tag")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("path", PAGES)
async def test_fingers_find_every_target(open_page: Open, server: ScriptedServer, path: str) -> None:
    page = (await open_page(path, viewport=PHONE)).page
    await is_live(page)
    for target in await page.locator("a:visible, button:visible").all():
        box = await target.bounding_box()
        assert box is not None
        assert box["height"] >= 44, await target.text_content()
        assert box["width"] >= 44


async def test_keyboard_reaches_everything_and_shows_where_it_is(open_page: Open, server: ScriptedServer) -> None:
    page = (await open_page("/leaderboard")).page
    await is_live(page)
    reached = []
    for _ in range(7):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == ["Brain Game", "All time", "This week", "Today", "level", "language", "theme"]


# States


@pytest.mark.parametrize("path", PAGES)
async def test_empty_board_greets_and_gives_way_to_the_first_player(
    open_page: Open, server: ScriptedServer, path: str
) -> None:
    page = (await open_page(path)).page
    await expect(page.locator("#board .empty")).to_contain_text("Nobody is here yet")
    await expect(page.locator("#total")).to_have_text("0 players")
    await server.change([Entry(1, "Ann", 7, passedAllGames=False)])
    await expect(page.locator("#board .row")).to_have_text([r"1Ann#1★7"])
    await expect(page.locator("#board .empty")).to_have_count(0)
    await expect(page.locator("#board > .open")).to_have_count(9)
    await expect(page.locator("#total")).to_have_text("1 player")
    await server.change(removals=[1])
    await expect(page.locator("#board .empty")).to_be_visible()
    await expect(page.locator("#board > li")).to_have_count(1)


async def test_mark_says_who_passed_all_games(open_page: Open, server: ScriptedServer) -> None:
    server.fill(Entry(1, "Ann", 7), Entry(2, "Bohdan", 900, passedAllGames=False))
    page = (await open_page()).page
    await has_names(page, "Ann", "Bohdan")
    marks = page.get_by_role("img", name="passed all games")
    await expect(marks).to_have_count(1)
    await expect(page.locator("[data-number='1'] .mark")).to_be_visible()
    await expect(page.locator("[data-number='2'] .mark")).to_be_hidden()


async def test_board_is_a_named_list_for_a_screen_reader(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(3))
    page = (await open_page("/leaderboard?board=weekly", viewport=PHONE)).page
    server.fill(*ladder(3), board="weekly")
    await is_live(page)
    await expect(page.get_by_role("list", name="This week")).to_be_visible()
    await expect(page.get_by_role("navigation", name="Boards")).to_be_visible()
    await expect(page.get_by_role("heading", level=1)).to_have_text("This week")


async def test_screen_reader_is_told_the_latest_but_not_at_every_change(
    open_page: Open, server: ScriptedServer
) -> None:
    server.fill(Entry(1, "Ann", 1))
    page = (await open_page(clock=True)).page
    summary = page.locator("#summary")
    await expect(summary).to_have_text("Ann leads with 1 points. 1 player.")
    for score in range(2, 9):
        await server.change([Entry(2, "Bohdan", score)])
    await expect(page.locator("#board .points").first).to_have_text("8")
    await expect(summary).to_have_text("Ann leads with 1 points. 1 player.")
    await page.clock.fast_forward(15_000)
    await expect(summary).to_have_text("Bohdan leads with 8 points. 2 players.")


# Motion


async def test_rows_slide_to_their_new_places_and_only_a_changed_score_lights_up(
    open_page: Open, server: ScriptedServer
) -> None:
    server.fill(*ladder(5))
    page = (await open_page()).page
    await is_live(page)
    await page.evaluate(RECORD_ANIMATIONS)
    await server.change([Entry(4, "Player 4", 9_850)])
    await has_names(page, "Player 1", "Player 4", "Player 2", "Player 3", "Player 5")
    slides = await animations(page, "transform")
    assert len(slides) == 3  # 2, 3 and 4; the first and the last have not moved
    assert all(150 <= slide["duration"] <= 300 for slide in slides)
    assert [light["what"] for light in await animations(page, "backgroundColor")] == ["points"]


async def test_rows_that_are_on_their_way_go_on_from_where_they_are(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(10))
    page = (await open_page()).page
    await is_live(page)
    for number in (10, 9, 8, 10, 7):
        await server.change([Entry(number, f"Player {number}", 20_000 + server.board().version)])
    await has_names(page, *(f"Player {number}" for number in (7, 10, 8, 9, 1, 2, 3, 4, 5, 6)))
    while await page.evaluate("document.querySelector('#board').getAnimations({subtree: true}).length") > 0:
        await page.wait_for_timeout(50)
    tops = await page.evaluate("[...document.querySelectorAll('.row')].map((row) => row.getBoundingClientRect().top)")
    assert tops == sorted(tops)


async def test_nothing_moves_for_those_who_want_stillness_but_a_changed_score_is_marked(
    open_page: Open, server: ScriptedServer
) -> None:
    server.fill(*ladder(5))
    page = (await open_page(reduced_motion="reduce")).page
    await is_live(page)
    await page.evaluate(RECORD_ANIMATIONS)
    await server.change([Entry(4, "Player 4", 9_850)])
    await expect(page.locator("[data-number='4'] .points")).to_have_class("points changed")
    await expect(page.locator("[data-number='4'] .points")).to_have_class("points")
    assert await page.evaluate("window.animated") == []


async def test_page_that_arrives_does_not_move(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(5))
    server.answering.clear()
    page = (await open_page()).page
    await page.evaluate(RECORD_ANIMATIONS)
    server.answering.set()
    await is_live(page)
    assert await page.evaluate("window.animated") == []


# Theme


@pytest.mark.parametrize(
    ("system", "stored", "shown"),
    [("dark", None, "dark"), ("light", None, "light"), ("dark", "light", "light"), ("light", "nonsense", "light")],
)
async def test_theme_is_right_before_the_page_is_drawn(
    open_page: Open, server: ScriptedServer, system: str, stored: str | None, shown: str
) -> None:
    page = (await open_page("/", color_scheme=system)).page
    if stored is not None:
        await page.evaluate("(theme) => localStorage.setItem('braingame.theme', theme)", stored)
    # What the root says when the body comes: the module with the switch runs only after that.
    await page.add_init_script("""new MutationObserver(() => {
        if (document.body !== null) window.atFirst ??= document.documentElement.dataset.theme;
    }).observe(document, {childList: true, subtree: true});""")
    await page.reload()
    await is_live(page)
    assert await page.evaluate("[window.atFirst, document.documentElement.dataset.theme]") == [shown, shown]


async def test_switch_of_the_theme_says_where_it_leads(open_page: Open, server: ScriptedServer) -> None:
    page = (await open_page("/", color_scheme="light")).page
    await page.get_by_role("button", name="Switch to dark").click()
    await page.get_by_role("button", name="Switch to light").click()
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate("document.documentElement.dataset.theme") == "light"
