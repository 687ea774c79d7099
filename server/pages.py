"""The pages on which people play, watch and operate, and what they are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from server.join_code import join_code

FOLDER: Final = Path(__file__).parent.parent / "web"
#: The JavaScript client, for the pages and for everybody else's.
CLIENT: Final = Path(__file__).parent.parent / "client" / "js"
#: What is asked for again each time (304 when it is the same): modules of two releases do not fit together.
PARTS: Final = ("/static/", "/client/")
_PAGES: Final = {
    "/": "index.html",
    "/play": "play.html",
    "/leaderboard": "leaderboard.html",
    "/admin": "admin.html",
}


def page_routes() -> list[web.AbstractRouteDef]:
    """Routes that are for people, and in no contract."""
    return [
        *(web.get(path, _page(name)) for path, name in _PAGES.items()),
        web.get("/qr.svg", _join_code),
        web.static("/static", FOLDER),
        web.static("/client", CLIENT),
    ]


def _page(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    file = FOLDER / name

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers={"Cache-Control": "no-cache"})

    return serve


async def _join_code(request: web.Request) -> web.StreamResponse:
    code = join_code(request.query.get("url", ""), request.headers.get("Host"))
    return web.Response(body=code, content_type="image/svg+xml", headers={"Cache-Control": "max-age=3600"})
