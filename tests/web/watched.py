"""A page in Chromium, with everything that would be wrong about it written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

from playwright.async_api import Browser, ConsoleMessage, Page, Request, Response, expect

#: How the installed Chromium starts: as root in a container too, and without a call to anybody.
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE: Final = {"width": 390, "height": 844}
LAPTOP: Final = {"width": 1280, "height": 800}
WALL: Final = {"width": 1920, "height": 1080}


class Watched:
    """`complaints`: errors and warnings on the console (a breach of the content security policy is one), exceptions and
    failed requests. `foreign`: requests to other origins."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self._origin = origin
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)
        page.on("response", self._answered)

    @classmethod
    async def open(
        cls,
        browser: Browser,
        origin: str,
        path: str,
        *,
        clock: bool = False,
        prepare: Callable[[Page], None] = lambda _page: None,
        **options: Any,
    ) -> Self:
        """Open a page in a context of its own; with `clock`, its time can be moved on. `prepare` gets it empty."""
        context = await browser.new_context(**options)
        page = await context.new_page()
        if clock:
            await page.clock.install()
        watched = cls(page, origin)
        prepare(page)
        await page.goto(f"{origin}{path}")
        return watched

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self._origin}/", "data:")):
            self.foreign.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")


#: Open a page by its path, with options of a browser context; see `open_page`.
Open = Callable[..., Awaitable[Watched]]


async def is_live(page: Page) -> None:
    """Wait until the page says so."""
    await expect(page.locator("#status")).to_have_text("Live")


async def has_names(page: Page, *names: str) -> None:
    """Wait until these are on the board, best first."""
    await expect(page.locator("#board .name")).to_have_text(list(names))
