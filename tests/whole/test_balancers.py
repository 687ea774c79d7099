"""The load balancers of docs/, as they are there but for addresses and folders, in front of real servers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from server.socket import PING_SECONDS
from tests.debian import environment_of, file_of
from tests.faults.arena import Arena, arena_in
from tests.faults.faults import Fault, kill_server, nothing, rolling_restart
from tests.faults.run import run
from tests.server.clients import client_to
from tests.server_process import PATIENCE, ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAMS = {"nginx": "usr/sbin/nginx", "haproxy": "usr/sbin/haproxy"}
FILES = {"nginx": ROOT / "docs/nginx.conf", "haproxy": ROOT / "docs/haproxy.cfg"}


@dataclass
class Balancer:
    """Where it listens."""

    netloc: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def settled(name: str, folder: Path, netlocs: list[str], port: int) -> str:
    """The file of docs/ with other addresses and folders, and nothing else."""
    text = FILES[name].read_text()
    for example, netloc in zip(("127.0.0.1:8081", "127.0.0.1:8082"), netlocs, strict=True):
        assert example in text
        text = text.replace(example, netloc)
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    for example in ("/run/nginx", "/var/log/nginx", "/var/lib/nginx"):
        text = text.replace(example, f"{folder}{example}")
    # 30,000 sockets are more than a machine for tests lets one process have.
    text = re.sub(r"worker_connections \d+", "worker_connections 1000", text)
    text = re.sub(r"worker_rlimit_nofile \d+", "worker_rlimit_nofile 2048", text)
    text = re.sub(r"maxconn \d+", "maxconn 1000", text)
    return text if os.geteuid() == 0 else text.replace("user www-data;", "")


async def status_of(url: str) -> int:
    """The answer to a GET."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status


@asynccontextmanager
async def balancer(name: str, netlocs: list[str]) -> AsyncIterator[Balancer]:
    # In a thread, since the gates before the stores go on meanwhile.
    program = await asyncio.to_thread(file_of, name, PROGRAMS[name])
    environment = await asyncio.to_thread(environment_of, name)
    with tempfile.TemporaryDirectory(prefix="bg-balancer-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        for needed in ("run", "var/log/nginx", "var/lib/nginx"):
            (folder / needed).mkdir(parents=True)
        port = free_port()
        configuration = folder / "configuration"
        configuration.write_text(settled(name, folder, netlocs, port))
        flags = {
            "nginx": ["-p", str(folder), "-c", str(configuration), "-g", "daemon off;"],
            "haproxy": ["-db", "-f", str(configuration)],
        }
        command = [str(program), *flags[name]]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    assert process.poll() is None, (folder / "output").read_text()
                    with suppress(aiohttp.ClientError):
                        if await status_of(f"http://127.0.0.1:{port}/readyz") == 200:
                            break
                    await asyncio.sleep(0.05)
            yield Balancer(f"127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[Arena]:
    with tempfile.TemporaryDirectory(prefix="bg-whole-") as name:
        async with arena_in(Path(name)) as found:
            yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(PROGRAMS))
async def arena(request: pytest.FixtureRequest, nodes: Arena) -> AsyncIterator[Arena]:
    """Two servers behind a balancer, by which all clients come in."""
    async with balancer(request.param, [node.netloc for node in nodes.nodes]) as found:
        nodes.balancers[:] = [found]
        yield nodes
        nodes.balancers.clear()


async def test_pages_sockets_and_large_requests_pass(arena: Arena) -> None:
    (entrance,) = arena.balancers
    here = f"http://{entrance.netloc}"
    large, small = picture(900), picture(32)
    assert len(large) > 3 * 2**20
    async with aiohttp.ClientSession(here) as http, client_to(f"ws://{entrance.netloc}/ws") as client:
        async with http.get("/play") as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
        token = (await client.register(f"balanced{os.urandom(4).hex()}"))["token"]
        body = io.BytesIO(json.dumps({"originalImage": large, "drawnImage": small}).encode())
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with http.post("/api/images/compare", data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        # A page of this address, and one of another that nobody has named.
        for origin, status in ((here, 101), ("http://elsewhere.example", 403)):
            upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": origin}
            upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
            async with http.get("/ws", headers=upgrade) as answer:
                assert answer.status == status


def picture(side: int) -> str:
    """Noise, which does not compress, as PNG in base64."""
    noise = np.random.default_rng(7).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("fault", [nothing, rolling_restart, kill_server], ids=lambda fault: fault.__name__)
async def test_players_and_spectators_of_all_servers_play_one_game(arena: Arena, fault: Fault) -> None:
    result = await run(arena, fault, players=9, seconds=0.5, away=1.0, seed=2)
    assert result.violations == [], f"the history is in {result.history}"
    assert result.acknowledged > 9
    async with asyncio.timeout(PATIENCE):
        url = f"http://{arena.balancers[0].netloc}/readyz"
        while {await status_of(url) for _ in range(6)} != {200}:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("nginx", ("proxy_read_timeout", "proxy_send_timeout")),
        ("haproxy", ("timeout client", "timeout server", "timeout tunnel")),
    ],
)
async def test_silent_socket_outlives_the_time_limits(name: str, limits: tuple[str, ...]) -> None:
    """The server's pings come often enough, even when one is lost."""
    text = FILES[name].read_text()
    for limit in limits:
        found = re.search(rf"^\s*{limit} (\d+)s", text, re.MULTILINE)
        assert found is not None, limit
        assert int(found[1]) > 2 * PING_SECONDS
