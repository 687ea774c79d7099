"""The pages in a real Chromium, on a server that does on command what a real one does rarely: gaps, new epochs, lost
connections, silence, draining."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import expect

from tests.web.scripted_server import Entry, ScriptedServer, ladder
from tests.web.watched import Open, has_names, is_live

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_LIVE = re.compile(r"^Not live since \d\d:\d\d$")
#: Longer than any pause between two tries.
PAUSE_MS = 16_000


# Following a board


async def test_page_asks_for_what_its_address_says(open_page: Open, server: ScriptedServer) -> None:
    for path in ("/", "/leaderboard?board=daily:3&limit=25", "/leaderboard?board=weekly&limit=11"):
        await is_live((await open_page(path)).page)
    assert server.subscriptions == [
        {"board": "all-time", "limit": 10},
        {"board": "daily:3", "limit": 25},
        {"board": "weekly", "limit": 10},
    ]


async def test_delta_moves_rows_and_drops_who_is_no_longer_among_the_first(
    open_page: Open, server: ScriptedServer
) -> None:
    server.fill(*ladder(10))
    page = (await open_page()).page
    await is_live(page)
    await server.change([Entry(11, "Eleven", 9_950), Entry(7, "Player 7", 20_000)])
    ranked = [7, 1, 2, 3, 4, 5, 6, 8, 9]  # and number 11 behind the first one
    await has_names(page, "Player 7", "Eleven", *(f"Player {number}" for number in ranked[1:]))
    await expect(page.locator("#board .position")).to_have_text([str(position) for position in range(1, 11)])
    await expect(page.locator("#board .points").first).to_have_text("20,000")
    await expect(page.locator("#total")).to_have_text("11 players")
    await server.change(removals=[7])
    await has_names(page, "Eleven", *(f"Player {number}" for number in (*ranked[1:], 10)))
    assert len(server.subscriptions) == 1


async def test_gap_in_the_versions_makes_the_page_subscribe_again(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(3))
    page = (await open_page()).page
    await is_live(page)
    await server.change([Entry(4, "Missed", 50_000)], told=False)
    await server.change([Entry(5, "Seen", 40_000)])
    await has_names(page, "Missed", "Seen", "Player 1", "Player 2", "Player 3")
    assert server.subscriptions[1:] == [
        {"board": "all-time", "limit": 10, "since": {"epoch": "epoch-1", "version": 1}},
    ]
    await is_live(page)
    await server.change([Entry(3, "Player 3", 60_000)])
    await has_names(page, "Player 3", "Missed", "Seen", "Player 1", "Player 2")
    assert len(server.subscriptions) == 2


async def test_new_epoch_makes_the_page_subscribe_again(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(3))
    page = (await open_page()).page
    await is_live(page)
    server.board().epoch = "epoch-2"
    server.fill(Entry(9, "Renamed", 5))
    await server.change([Entry(8, "Somebody", 4)])
    await has_names(page, "Renamed", "Somebody")
    assert len(server.subscriptions) == 2


async def test_full_state_that_is_pushed_replaces_what_is_shown(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(3))
    page = (await open_page()).page
    await is_live(page)
    board = server.board()
    board.version = 9
    server.fill(Entry(2, "New name", 12, passedAllGames=False))
    await server.push("leaderboard", board.snapshot(10))
    await has_names(page, "New name")
    await expect(page.locator("#board .row .mark")).to_be_hidden()
    await server.push("leaderboard", server.board("weekly").snapshot(10))
    await server.push("player.waved", {"a push": "of later"})
    await server.change([Entry(3, "Next", 11, passedAllGames=False)])
    await has_names(page, "New name", "Next")
    assert len(server.subscriptions) == 1


async def test_board_that_is_away_for_a_moment_is_asked_for_again(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(1))
    server.errors = [{"code": "unavailable", "message": "Later.", "retryable": True, "retryAfterMs": 50}] * 2
    page = (await open_page()).page
    await is_live(page)
    assert len(server.subscriptions) == 3
    assert server.connections == 1


# Losing and finding the connection


async def test_lost_connection_is_said_calmly_and_comes_back_right(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(2))
    page = (await open_page(clock=True)).page
    await is_live(page)
    server.refusing = True
    await server.drop()
    await expect(page.locator("#status")).to_have_text(NOT_LIVE)
    await has_names(page, "Player 1", "Player 2")
    tries = server.connections
    await page.clock.fast_forward(PAUSE_MS)
    await expect(page.locator("#status")).to_have_text(NOT_LIVE)

    await server.change([Entry(3, "Meanwhile", 70_000)])
    server.refusing = False
    while server.connections <= tries or not await page.locator("[data-state=live]").count():
        await page.clock.fast_forward(PAUSE_MS)
        await page.wait_for_timeout(20)
    await is_live(page)
    await has_names(page, "Meanwhile", "Player 1", "Player 2")
    assert server.subscriptions[-1]["since"] == {"epoch": "epoch-1", "version": 1}


async def test_since_is_when_the_server_was_last_heard_with_the_day_when_it_is_another(
    open_page: Open, server: ScriptedServer
) -> None:
    page = (await open_page(clock=True)).page
    await is_live(page)
    heard = await page.evaluate("new Date().toTimeString().slice(0, 5)")
    server.refusing = True
    server.answering.clear()
    await page.clock.fast_forward(11 * 60_000)  # asleep; then the connection turns out to be dead
    await server.drop()
    await expect(page.locator("#status")).to_have_text(NOT_LIVE)
    said = await page.locator("#status").text_content()
    minutes = [int(hour) * 60 + int(minute) for hour, minute in re.findall(r"(\d\d):(\d\d)", f"{heard} {said}")]
    assert (minutes[1] - minutes[0]) % (24 * 60) <= 1  # the minute may have turned in between
    await page.clock.fast_forward(24 * 3_600_000)
    await expect(page.locator("#status")).to_have_text(re.compile(r"^Not live since .*[A-Z][a-z]{2}.*, \d\d:\d\d$"))


async def test_page_that_has_missed_nothing_keeps_its_rows(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(3))
    page = (await open_page(clock=True)).page
    await is_live(page)
    await page.evaluate("document.querySelector('#board .row').mine = true")
    await server.drop()
    await page.clock.fast_forward(PAUSE_MS)
    while len(server.subscriptions) < 2:
        await page.wait_for_timeout(10)
    await is_live(page)
    await has_names(page, "Player 1", "Player 2", "Player 3")
    assert await page.evaluate("document.querySelector('#board .row').mine")
    await server.change([Entry(4, "New", 1)])
    await has_names(page, "Player 1", "Player 2", "Player 3", "New")


async def test_draining_server_is_left_alone_for_as_long_as_it_said(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(1))
    page = (await open_page(clock=True)).page
    await is_live(page)
    await server.drain(60_000)
    await page.clock.fast_forward(2_000)
    await expect(page.locator("#status")).to_have_text(NOT_LIVE)
    await page.clock.fast_forward(50_000)
    await page.evaluate("dispatchEvent(new Event('online'))")  # no reason to come earlier than asked
    await page.wait_for_timeout(100)
    assert server.connections == 1
    await page.clock.fast_forward(10_000)
    await is_live(page)
    assert server.connections == 2


async def test_silent_connection_is_asked_for_a_sign_and_kept_when_it_gives_one(
    open_page: Open, server: ScriptedServer
) -> None:
    page = (await open_page(clock=True)).page
    await is_live(page)
    for pings in (1, 2, 3):
        await page.clock.fast_forward(26_000)
        while server.pings < pings:
            await page.wait_for_timeout(10)
        await page.wait_for_timeout(50)
    await is_live(page)
    assert server.connections == 1


async def test_connection_that_gives_no_sign_is_given_up(open_page: Open, server: ScriptedServer) -> None:
    server.fill(*ladder(1))
    page = (await open_page(clock=True)).page
    await is_live(page)
    server.answering.clear()
    await page.clock.fast_forward(26_000)
    await page.clock.fast_forward(9_000)
    await page.clock.fast_forward(PAUSE_MS)
    await expect(page.locator("#status")).to_have_text(NOT_LIVE)
    server.answering.set()
    await is_live(page)
    assert server.connections == 2


async def test_server_that_cannot_be_reached_at_all_is_said(open_page: Open, server: ScriptedServer) -> None:
    server.refusing = True
    page = (await open_page()).page
    await expect(page.locator("#status")).to_have_text("Not connected, trying again")
    server.refusing = False
    await expect(page.locator("#status")).to_have_text("Live", timeout=20_000)


# Addresses


@pytest.mark.parametrize("board", ["monthly", "daily:10", "daily:x", "", "ALL-TIME", "daily:3:3"])
async def test_unknown_board_is_answered_kindly(open_page: Open, server: ScriptedServer, board: str) -> None:
    page = (await open_page(f"/leaderboard?board={board}")).page
    await expect(page.locator("#message")).to_contain_text("There is no such board")
    await expect(page.locator("#board")).to_be_hidden()
    assert server.connections == 0
    await page.locator("#message a").click()
    await is_live(page)
    await expect(page.locator("h1")).to_have_text("All time")


async def test_board_that_the_server_does_not_know_ends_the_connection(open_page: Open, server: ScriptedServer) -> None:
    server.errors = [{"code": "unknown_board", "message": "There is no board of this name.", "retryable": False}]
    page = (await open_page(clock=True)).page
    await expect(page.locator("#message")).to_contain_text("There is no such board")
    await page.clock.fast_forward(120_000)
    await page.wait_for_timeout(50)
    assert server.connections == 1


async def test_switch_keeps_the_difficulty_and_the_length(open_page: Open, server: ScriptedServer) -> None:
    page = (await open_page("/leaderboard?board=daily:3&limit=25")).page
    await expect(page.locator("h1")).to_have_text("Today, difficulty 3")
    await expect(page).to_have_title("Today, difficulty 3 – Brain Game")
    await expect(page.locator("[aria-current=page]")).to_have_text("Today")
    await page.get_by_role("link", name="This week").click()
    await expect(page.locator("h1")).to_have_text("This week, difficulty 3")
    await is_live(page)
    assert server.subscriptions[-1] == {"board": "weekly:3", "limit": 25}


async def test_first_page_leads_to_the_wall_with_the_same_board(open_page: Open, server: ScriptedServer) -> None:
    page = (await open_page("/?board=daily")).page
    await page.locator("#wall").click()
    await expect(page.locator("h1")).to_have_text("Today")
    await is_live(page)


async def test_example_for_developers_works_as_it_stands(open_page: Open, server: ScriptedServer) -> None:
    server.fill(Entry(1, "Ann", 5))
    page = (await open_page("/")).page
    await is_live(page)
    async with page.expect_console_message(lambda message: '"leaderboard"' in message.text) as heard:
        await page.evaluate(f"{{ {await page.locator('pre').text_content()} undefined }}")
    assert json.loads((await heard.value).text)["data"]["entries"][0]["username"] == "Ann"
    assert server.subscriptions[-1] == {}
