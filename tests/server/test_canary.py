"""The canary lands when all parts work together, and not when one of them only looks as if it did."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import aiohttp
import pytest

from server import canary
from server.live_board import LiveBoards
from server.nodes import OtherNodes
from server.socket import Connection
from storage.notices import Notices
from tests.server.clients import client_of
from tests.server.edge import Edge, edge_on
from tests.server.fakes import until
from tests.stores import Stores


@pytest.fixture(autouse=True)
def quick_flights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(canary, "FLIGHT_SECONDS", 0.2)
    monkeypatch.setattr(canary, "PROVEN_SECONDS", 0.6)


async def down(edge: Edge) -> list[str]:
    """What /readyz names."""
    async with aiohttp.ClientSession(edge.http) as http, http.get("/readyz") as answer:
        said = await answer.json()
    assert answer.status == (503 if "down" in said else 200)
    found: list[str] = said.get("down", [])
    return found


async def test_ready_server_has_proven_that_it_delivers(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url) as edge:
        assert await down(edge) == []
        async with aiohttp.ClientSession(edge.http) as http, http.get("/metrics") as answer:
            text = await answer.text()
        figures = dict(line.split() for line in text.splitlines() if not line.startswith("#") and "{" not in line)
        assert 0 < float(figures["braingame_canary_seconds"]) < canary.FLIGHT_SECONDS
        assert float(figures["braingame_canary_landed_timestamp_seconds"]) > 0


async def test_canary_is_nobody_that_is_counted(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url) as edge, client_of(edge):
        async with aiohttp.ClientSession(edge.http) as http, http.get("/metrics") as answer:
            text = await answer.text()
        assert 'braingame_connections{role="spectator"} 1.0' in text


PARTS = {
    "the notice is not published": (Notices, "publish"),
    "what is heard is not acted upon": (OtherNodes, "_act"),
    "the live boards stand still": (LiveBoards, "_look"),
}


@pytest.mark.parametrize("part", PARTS)
async def test_part_that_stands_still_is_noticed_and_so_is_its_return(
    part: str, stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, method = PARTS[part]
    works = asyncio.Event()
    original: Any = getattr(kind, method)

    async def stands_still(*arguments: object) -> Any:
        await works.wait()
        return await original(*arguments)

    works.set()
    monkeypatch.setattr(kind, method, stands_still)
    async with edge_on(stores, database_url) as edge:
        assert await down(edge) == []
        works.clear()
        await until(lambda: _is(edge, ["delivery"]), "delivery is named")
        works.set()
        await until(lambda: _is(edge, []), "the server is ready again")


async def _is(edge: Edge, expected: Collection[str]) -> bool:
    return await down(edge) == expected


async def test_frames_that_do_not_reach_the_wire_are_noticed(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with edge_on(stores, database_url) as edge:
        monkeypatch.setattr(Connection, "push_board", lambda *_: None)
        await until(lambda: _is(edge, ["delivery"]), "delivery is named")
        monkeypatch.undo()
        await until(lambda: _is(edge, []), "the server is ready again")


async def test_lost_connection_of_the_canary_is_replaced(stores: Stores, database_url: str) -> None:
    async with edge_on(stores, database_url) as edge:
        (held,) = [
            task.get_coro().cr_frame.f_locals["self"]  # type: ignore[union-attr]
            for task in asyncio.all_tasks()
            if task.get_name() == "canary"
        ]
        (member,) = held._hub
        member.abort()
        await until(lambda: len(held._hub) == 1 and member not in held._hub, "another socket is there")
        before = held._flight
        await until(lambda: held._heard > before and held._landed.is_set(), "and a canary has landed on it")
        assert await down(edge) == []
