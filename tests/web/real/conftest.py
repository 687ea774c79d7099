"""Chromium and a server of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.server_process import ServerProcess
from tests.stores import Stores
from tests.web.watched import ARGUMENTS


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def settings(database_url: str, stores: Stores, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": stores.redis_url,
        "BRAINGAME_DATA_DIR": str(tmp_path),
    }


@pytest.fixture
async def server(settings: dict[str, str]) -> AsyncIterator[ServerProcess]:
    async with await ServerProcess.start(**settings) as server:
        yield server
