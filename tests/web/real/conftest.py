"""A server of its own for each test, beside the browser of all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.server_process import ServerProcess
from tests.stores import Stores


@pytest.fixture
async def settings(database_url: str, stores: Stores, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": stores.redis_url,
        "BRAINGAME_DATA_DIR": str(tmp_path),
        "BRAINGAME_JWT_SECRET": "a secret for tests that is long enough",
    }


@pytest_asyncio.fixture(loop_scope="session")
async def server(settings: dict[str, str]) -> AsyncIterator[ServerProcess]:
    async with await ServerProcess.start(**settings) as server:
        yield server
