"""Takes the pictures of every page for docs/screens: `make screens`, some minutes.

Each page at three sizes, in both themes, on a server of its own with a board that somebody has played on.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.server_process import ROOT, Player, ServerProcess, spectator
from tests.web.page_player import PASSWORD, PagePlayer
from tests.web.watched import ARGUMENTS, LAPTOP, PHONE, WALL

FOLDER: Final = ROOT / "docs" / "screens"
SIZES: Final = {"phone": PHONE, "laptop": LAPTOP, "wall": WALL}
THEMES: Final = ("light", "dark")
#: Long, from right to left, emoji: names as people choose them.
NAMES: Final = (
    "Ada",
    "Боб",
    "A name as long as a name may be",
    "שרה",
    "🦊 Renard",
    "Chidi",
    "Ольга",
    "Jürgen",
    "محمد",
    "Li Wei",
    "Grace",
    "Øyvind",
)

Shot = Callable[[str], Awaitable[None]]


async def take_all() -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bg-"))
        Path(folder).chmod(0o755)
        server = await stack.enter_async_context(await ServerProcess.start("--data-dir", folder))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        players = await _fill(stack, server)
        await _grant(folder)
        for size in SIZES:
            for theme in THEMES:
                await _take(browser, server, size, theme)
                await players[0].play(1200, 900, 700)
        await browser.close()


async def _fill(stack: AsyncExitStack, server: ServerProcess) -> list[Player]:
    players = []
    for at, name in enumerate(NAMES):
        found = await stack.enter_async_context(spectator(server.port))
        await found.do("auth.register", email=f"player{at}@example.test", username=name, password=PASSWORD)
        await found.play(900 - 40 * at, 700 - 17 * at, 800 - 31 * at)
        players.append(found)
    return players


async def _grant(folder: str) -> None:
    command = [sys.executable, str(ROOT / "run_server.py"), "grant-admin", "player0@example.test"]
    granting = await asyncio.create_subprocess_exec(*command, env=os.environ | {"BRAINGAME_DATA_DIR": folder})
    assert await granting.wait() == 0


async def _take(browser: Browser, server: ServerProcess, size: str, theme: str) -> None:
    options = {"viewport": SIZES[size], "color_scheme": theme}
    ada = await PagePlayer.open(browser, server.origin, "/", **options)
    page = ada.page

    async def shot(name: str) -> None:
        picture = Image.open(io.BytesIO(await page.screenshot(animations="disabled")))
        picture.convert("RGB").save(FOLDER / f"{name}-{size}-{theme}.webp", quality=60, method=6)

    await expect(page.locator("#status")).to_have_text("Live")
    await shot("home")
    await page.goto(f"{server.origin}/leaderboard?board=daily")
    await expect(page.locator("#status")).to_have_text("Live")
    await shot("leaderboard")
    await page.goto(f"{server.origin}/play")
    await ada.sees("entrance")
    await shot("entrance")
    await ada.register()
    await shot("introduction")
    await ada.begin()
    await ada.tap_round(0)
    await expect(page.locator(".lit")).to_have_count(1)
    await shot("sequence")
    await ada.tap_round(1, right=False)
    await ada.sees("outcome")
    await shot("outcome")
    await ada.begin()
    await ada.type_results(3)
    await shot("sums")
    await ada.wait_for_the_end()
    await ada.begin()
    await ada.draw()
    await shot("drawing")
    await page.wait_for_timeout(1500)
    await page.click(".drawing .primary")
    await ada.sees("outcome")
    await expect(page.locator(".around .own")).to_be_visible()
    await shot("end")
    await page.click("text=Play again")
    await shot("ready")
    await page.click("text=Log out")
    await _take_admin(page, server, shot)
    await page.goto(f"{server.origin}/docs")
    await shot("docs")
    await page.context.close()


async def _take_admin(page: Page, server: ServerProcess, shot: Shot) -> None:
    await page.goto(f"{server.origin}/admin")
    await page.fill("#account-email", "player0@example.test")
    await page.fill("#account-password", PASSWORD)
    await page.click("form .primary")
    await expect(page.locator("h1")).to_have_text("Operators")
    await page.fill("#find", "a")
    await page.click(".search button")
    await expect(page.locator("table").first).to_be_visible()
    await shot("admin")
    await page.goto(f"{server.origin}/admin?player=2")
    await expect(page.locator("h1")).to_contain_text("#2")
    await shot("admin-player")
    await page.click("table a >> nth=0")
    await expect(page.locator("h1")).to_have_text("Session, step by step")
    await shot("admin-session")


if __name__ == "__main__":
    asyncio.run(take_all())
