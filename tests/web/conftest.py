"""Chromium and the scripted server. Tests with these run on the session's event loop: the browser belongs to the loop
that started it, and starting one for each test would take longer than many a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.web.scripted_server import ScriptedServer
from tests.web.watched import ARGUMENTS, Open, Watched


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser_of_all(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(browser_of_all: Browser) -> AsyncIterator[Browser]:
    """A browser without a page, also afterwards: what a test leaves open would go on connecting."""
    yield browser_of_all
    for context in browser_of_all.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer.running() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, server: ScriptedServer) -> AsyncIterator[Open]:
    """Open pages; at the end none of them may have complained, or asked another host for anything."""
    opened: list[Watched] = []

    async def open_page(path: str = "/leaderboard", **options: Any) -> Watched:
        watched = await Watched.open(browser, server.origin, path, **options)
        opened.append(watched)
        return watched

    yield open_page
    for watched in opened:
        await watched.page.context.close()
        # Chromium itself reports each try to connect that fails; that is what those tests are about.
        assert [text for text in watched.complaints if not text.startswith("WebSocket connection to ")] == []
        assert watched.foreign == []
