"""Pages and what they are made of: served, and nothing beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import aiohttp
import pytest

from server import pages as module
from tests.server.edge import Edge, Raw, edge_on, raw_to
from tests.stores import Stores


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages of our own in place of web/, with something beside them that nobody may read."""
    found = tmp_path / "web"
    found.mkdir()
    for name in ("index.html", "play.html", "leaderboard.html", "admin.html"):
        (found / name).write_text(f"<title>{name}</title>")
    (found / "app.js").write_text("export {};")
    (tmp_path / "secret.txt").write_text("a secret of ours")
    (found / "way_out.txt").symlink_to(tmp_path / "secret.txt")
    shutil.copytree(found, tmp_path / "web-of-somebody-else")
    monkeypatch.setattr(module, "FOLDER", found)
    return found


async def test_pages_are_served(pages: Path, stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url) as edge, aiohttp.ClientSession() as session:
        javascript = {"text/javascript", "application/javascript"}  # which one is the machine's choice
        for path, kinds, text in (
            ("/", {"text/html"}, "<title>index.html</title>"),
            ("/leaderboard?board=daily", {"text/html"}, "<title>leaderboard.html</title>"),
            ("/play", {"text/html"}, "<title>play.html</title>"),
            ("/admin?player=7", {"text/html"}, "<title>admin.html</title>"),
            ("/static/app.js", javascript, "export {};"),
        ):
            async with session.get(edge.http + path) as answer:
                assert (answer.status, await answer.text()) == (200, text)
                assert answer.content_type in kinds
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def get(raw: Raw, edge: Edge, path: str) -> tuple[int, bytes]:
    raw.send(f"GET {path} HTTP/1.1", f"Host: {edge.netloc}")
    answer = await raw.answer()
    return answer.status, answer.body


async def test_nothing_beside_the_pages_can_be_read(pages: Path, stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url) as edge:
        outside = pages.parent / "secret.txt"
        for path in (
            "/static/../secret.txt",
            "/static/%2e%2e/secret.txt",
            "/static/..%2fsecret.txt",
            "/static/%2e%2e%2fsecret.txt",
            "/static/..%5csecret.txt",
            "/static/..\\secret.txt",
            "/static/./../secret.txt",
            "/static/x/../../secret.txt",
            "/static/....//secret.txt",
            f"/static/{outside}",
            f"/static/%2f{str(outside).lstrip('/')}",
            "/static/../web-of-somebody-else/app.js",
            "/static/way_out.txt",
            "/static/%00",
            "/static/app.js%00.png",
            "/../secret.txt",
            "/static/",
            "/static",
        ):
            async with raw_to(edge) as raw:
                status, body = await get(raw, edge, path)
                assert status in (400, 403, 404), path
                assert b"secret of ours" not in body
        async with raw_to(edge) as raw:
            assert await get(raw, edge, "/static/app.js") == (200, b"export {};")


async def test_code_to_join_leads_to_the_host_that_was_asked(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url) as edge, aiohttp.ClientSession() as session:
        async with session.get(f"{edge.http}/qr.svg", params={"url": f"{edge.http}/"}) as answer:
            assert (answer.status, answer.content_type) == (200, "image/svg+xml")
            assert (await answer.text()).startswith("<svg ")
        async with session.get(f"{edge.http}/qr.svg", params={"url": "https://elsewhere.example/"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "invalid")
