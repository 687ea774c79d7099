"""Commands find the stores of the settings. Embedded ones, with and without a server, are in tests/whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.command_line import Refused
from server.command_stores import postgres_of, stores_of
from server.settings import Settings
from storage.data_folder import EmbeddedStoresError
from storage.ladders import Ladders
from storage.postgres import StoreUnavailable
from tests.stores import Stores


def settings(tmp_path: Path, database_url: str | None, redis_url: str | None) -> Settings:
    return Settings(data_dir=tmp_path / "var", database_url=database_url, redis_url=redis_url)


async def test_stores_of_the_settings_are_used(tmp_path: Path, stores: Stores, database_url: str) -> None:
    async with stores_of(settings(tmp_path, database_url, stores.redis_url)) as found:
        assert (found.database_url, found.redis_url, found.no_redis) == (database_url, stores.redis_url, "")
        assert await Ladders(found.postgres).deployment()
    async with postgres_of(settings(tmp_path, database_url, None)) as postgres:
        assert await Ladders(postgres).deployment()
    assert not (tmp_path / "var").exists()


async def test_postgresql_without_a_redis_is_enough(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_self: object) -> None:
        raise EmbeddedStoresError("the data folder is in use")

    monkeypatch.setattr("storage.embedded.EmbeddedStores.start", refuse)
    async with stores_of(settings(tmp_path, database_url, None)) as found:
        assert (found.redis_url, found.no_redis) == (None, "the data folder is in use")


async def test_database_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="DATABASE_URL"):
        async with stores_of(settings(tmp_path, "mysql://x/y", "redis://127.0.0.1:1")):
            pass
    with pytest.raises(StoreUnavailable):
        async with stores_of(settings(tmp_path, "postgresql://x@127.0.0.1:1/y", "redis://127.0.0.1:1")):
            pass


async def test_refusal_shows_no_part_of_a_password_that_was_not_encoded(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="DATABASE_URL") as refused:
        async with postgres_of(settings(tmp_path, "postgresql://game:s3cret/of-ours@db/x", None)):
            pass
    assert "s3cret" not in str(refused.value)
    assert "of-ours" not in str(refused.value)
