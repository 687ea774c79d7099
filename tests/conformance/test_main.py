"""The kit's command: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import sys

import aiohttp
import pytest

from conformance.main import run
from conformance.scenarios import SCENARIOS
from tests.server_process import ROOT

KIT = (sys.executable, str(ROOT / "run_server.py"), "conformance")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_kit_lists_its_scenarios_and_ends_with_a_signal(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(*KIT, "--port", "0", stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    ready = (await process.stdout.readline()).decode()
    assert ready.startswith("Brain Game's conformance kit is ready on http://127.0.0.1:")
    async with aiohttp.ClientSession(ready.split()[-1]) as http:
        async with http.get("/") as answer:
            listed = json.loads(await answer.text())["scenarios"]
        assert [one["name"] for one in listed] == list(SCENARIOS)
        assert all(one["task"] and one["why"] for one in listed)
        for path, status in (("/nothing", 404), ("/play/mine/verdict", 200), ("/play/verdict", 404)):
            async with http.get(path) as answer:
                assert answer.status == status
    process.send_signal(number)
    await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    "request_head",
    ["", "GET /play/mine/verdict?wait=60 HTTP/1.1\r\nHost: kit\r\n\r\n"],
    ids=["says nothing", "waits for a verdict"],
)
async def test_kit_ends_while_somebody_is_connected_who(request_head: str) -> None:
    process = await asyncio.create_subprocess_exec(*KIT, "--port", "0", stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().split("//")[-1].split(":")
    _, writer = await asyncio.open_connection(address[0], int(address[1]))
    writer.write(request_head.encode())
    # Asked after it, and answered: the kit has seen the other by now.
    reader, other = await asyncio.open_connection(address[0], int(address[1]))
    other.write(b"GET / HTTP/1.1\r\nHost: kit\r\n\r\n")
    await reader.read()
    process.terminate()
    async with asyncio.timeout(10):
        await process.communicate()
    assert process.returncode == 0
    writer.close()
    other.close()


def test_list_says_what_each_scenario_is_about() -> None:
    output = io.StringIO()
    assert run(["--list"], output) == 0
    for name, scenario in SCENARIOS.items():
        assert f"\n{name}\n" in f"\n{output.getvalue()}"
        assert scenario.task.split()[0] in output.getvalue()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--nonsense"], "--nonsense"),
        (["--port", "x"], "--port"),
        (["--port", "70000"], "--port"),
        (["--scenario", "nonsense"], "nonsense"),
        (["--patience", "0"], "--patience"),
        (["--host", "192.0.2.1", "--port", "0"], "192.0.2.1"),
    ],
)
def test_kit_that_cannot_start_says_why_in_one_line(
    flags: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = io.StringIO()
    assert run(flags, output) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert output.getvalue() == ""


def test_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run(["--port", port], io.StringIO()) == 2
    assert port in capsys.readouterr().err


def test_page_for_authors_names_every_scenario_as_it_is() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text("utf-8")
    missing = [name for name, one in SCENARIOS.items() if f"| `{name}` | {one.task} | {one.why} |" not in text]
    assert missing == []
