"""Gathered reads: few statements, each key's own value, nothing older than the question."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from storage import gathered as module
from storage.gathered import Gathered
from storage.postgres import StoreUnavailable, one_request


class Table:
    """A table that is read when it is let, and notes what it was asked for."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.asked: list[list[int]] = []
        self.let = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, keys: list[int]) -> Mapping[int, str]:
        self.asked.append(keys)
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return {key: self.rows[key] for key in keys if key in self.rows}


async def asking(gathered: Gathered[int, str], *keys: int) -> list[asyncio.Task[str | None]]:
    tasks = [asyncio.create_task(gathered.get(key)) for key in keys]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_meanwhile_is_one_statement() -> None:
    table = Table()
    table.rows = {key: f"row {key}" for key in range(100)}
    gathered = Gathered(table.read)
    tasks = await asking(gathered, 1)
    tasks += await asking(gathered, *range(2, 50), 200, 2)
    table.let.set()
    assert await asyncio.gather(*tasks) == [f"row {key}" for key in range(1, 50)] + [None, "row 2"]
    assert [len(keys) for keys in table.asked] == [1, 49]
    assert await gathered.get(60) == "row 60"


async def test_value_is_read_after_it_was_asked_for() -> None:
    table = Table()
    gathered = Gathered(table.read)
    table.rows[1] = "old"
    first = await asking(gathered, 1)
    second = await asking(gathered, 1)
    table.let.set()
    table.rows[1] = "new"
    assert await asyncio.gather(*first, *second) == ["new", "new"]
    assert table.asked == [[1], [1]]  # not the answer to the one who came before


async def test_statement_is_never_longer_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    table = Table()
    gathered = Gathered(table.read)
    tasks = await asking(gathered, *range(8))
    table.let.set()
    assert await asyncio.gather(*tasks) == [None] * 8
    assert [len(keys) for keys in table.asked] == [3, 3, 2]


async def test_error_is_told_to_those_who_were_in_it_and_to_nobody_else() -> None:
    table = Table()
    table.error = StoreUnavailable("away")
    gathered = Gathered(table.read)
    tasks = await asking(gathered, 1, 2)
    tasks[0].cancel()
    table.let.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, StoreUnavailable]
    table.error = None
    assert await gathered.get(1) is None


async def test_patience_is_that_of_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    gathered = Gathered(table.read)
    monkeypatch.setattr("storage.postgres.PATIENCE_SECONDS", 0.05)
    with one_request(), pytest.raises(StoreUnavailable):
        await gathered.get(1)
    # Another one has more of it, and the statement that was given up is still its turn.
    patient = await asking(gathered, 1)
    table.let.set()
    assert await asyncio.gather(*patient) == [None]
