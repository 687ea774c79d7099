"""The main job, seen by a client in another language that was written from the contract."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.server_process import PATIENCE, ROOT, ServerProcess
from tests.stores import Stores


async def test_two_players_and_a_spectator_in_node_agree_on_the_board(
    database_url: str, stores: Stores, tmp_path: Path
) -> None:
    local = ROOT / ".venv/bin/node"
    node = str(local) if local.exists() else shutil.which("node")
    if node is None or not (ROOT / "node_modules/ws").is_dir():
        pytest.skip("NOT RUN: Node and its package ws are not here; make setup-dev installs both")
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": stores.redis_url,
        "BRAINGAME_DATA_DIR": str(tmp_path),
        "BRAINGAME_JWT_SECRET": "a secret for tests that is long enough",
    }
    async with await ServerProcess.start(**settings) as server:
        client = await asyncio.create_subprocess_exec(
            node,
            str(Path(__file__).parent / "foreign_client.mjs"),
            str(server.port),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(PATIENCE):
            output, _ = await client.communicate()
        assert client.returncode == 0, f"{output.decode()}\n{server.log}"
        assert b"the board and its deltas agree" in output
