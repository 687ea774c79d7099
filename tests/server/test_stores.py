"""Connecting to both stores, and what is said when that fails. Whole starts that fail are in test_main.py."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from server.settings import Settings
from server.stores import CannotStart, Stores, prepare_database
from storage.postgres import StoreUnavailable
from tests.stores import Stores as Running


async def test_what_was_connected_is_closed_with_the_stack(stores: Running, database_url: str) -> None:
    async with AsyncExitStack() as stack:
        found = await Stores.connect(Settings(database_url=database_url, redis_url=stores.redis_url), stack)
        assert await found.postgres.fetchrow("SELECT 1") is not None
        await found.boards.ping()
    with pytest.raises(StoreUnavailable):
        await found.postgres.fetchrow("SELECT 1")


async def test_store_that_does_not_answer_is_named_by_its_setting(stores: Running, database_url: str) -> None:
    nowhere = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"
    for settings, named in (
        (Settings(database_url=nowhere, redis_url=stores.redis_url), "DATABASE_URL: "),
        (Settings(database_url=database_url, redis_url="redis://nobody:hunter2@127.0.0.1:1/0"), "REDIS_URL: "),
    ):
        async with AsyncExitStack() as stack:
            with pytest.raises(CannotStart, match=f"^{named}") as caught:
                await Stores.connect(settings, stack)
            assert "hunter2" not in str(caught.value)
    with pytest.raises(CannotStart, match=r"^DATABASE_URL: "):
        await prepare_database(nowhere, migrate=True)
