"""The unit of deploy/systemd, by systemd's own tools; and that it forbids nothing which the server does."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server.workers import STOP_SECONDS as WORKERS_SECONDS
from storage import supervised
from tests.debian import environment_of, file_of
from tests.server_process import PATIENCE, ROOT, ServerProcess, player
from tests.stores import Stores
from tests.whole.running import database_of

UNIT = ROOT / "deploy/systemd/braingame.service"
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
#: In tenths. Of the 1.2 that systemd 252 finds the most is the network, which a server cannot do without.
MOST_EXPOSED = 15


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze: the machine's, or Debian's."""
    program = shutil.which("systemd-analyze")
    environment = dict(os.environ)
    if program is None:
        program = str(file_of("systemd", "**/bin/systemd-analyze"))
        environment = environment_of("systemd")
    return subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it is, but for where the checkout and its Python are."""
    path = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    assert "/opt/braingame/.venv/bin/python" in text
    text = text.replace("/opt/braingame/.venv/bin/python", sys.executable).replace("/opt/braingame", str(ROOT))
    path.write_text(text, encoding="utf-8")
    return path


def values(name: str) -> list[str]:
    """What the unit says for a name, each time it does."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    found = analyze("verify", str(unit))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_systemd_finds_what_is_wrong_with_a_unit(unit: Path) -> None:
    unit.write_text(unit.read_text(encoding="utf-8").replace("ProtectClock=yes", "ProtectClocks=yes"), encoding="utf-8")
    assert "ProtectClocks" in analyze("verify", str(unit)).stderr


def exposure(unit: Path) -> tuple[bool, str]:
    """Whether it is low enough, and what it is."""
    found = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit))
    (level,) = re.findall(r"Overall exposure level for \S+ ([\d.]+)", found.stdout)
    return found.returncode == 0, level


def test_exposure_is_low_and_what_the_docs_say(unit: Path) -> None:
    low, level = exposure(unit)
    assert low, level
    documented = re.search(r"exposure level of ([\d.]+) by systemd (\d+)", " ".join(OPERATIONS.split()))
    assert documented is not None
    if f"systemd {documented[2]} " in analyze("--version").stdout:  # each version has looked at more
        assert level == documented[1]
    weaker = re.sub(r"^P(rotect|rivate)\w+=.*$", "", unit.read_text(encoding="utf-8"), flags=re.MULTILINE)
    unit.write_text(weaker, encoding="utf-8")
    assert not exposure(unit)[0]


def test_systemd_waits_longer_for_the_end_than_the_server_takes() -> None:
    # Workers first, then each of the two stores.
    longest = WORKERS_SECONDS + 2 * (supervised.STOP_SECONDS + supervised._KILL_SECONDS)
    (seconds,) = values("TimeoutStopSec")
    assert int(seconds.removesuffix("s")) > longest


def expanded(words: list[str]) -> set[str]:
    """The system calls of a filter's words, sets within sets."""
    calls: set[str] = set()
    for word in words:
        if word.startswith("@"):
            lines = analyze("syscall-filter", word).stdout.splitlines()[1:]
            calls |= expanded([line.strip() for line in lines if line.strip() and "#" not in line])
        else:
            calls.add(word)
    return calls


def allowed_calls() -> set[str]:
    calls: set[str] = set()
    for value in values("SystemCallFilter"):
        if value.startswith("~"):
            calls -= expanded(value.removeprefix("~").split())
        else:
            calls |= expanded(value.split())
    return calls


async def test_server_makes_no_system_call_that_the_unit_forbids(stores: Stores, tmp_path: Path) -> None:
    """The calls that are allowed are not looked at, and cost nothing; what strace writes down is what would fail."""
    strace = shutil.which("strace") or str(await asyncio.to_thread(file_of, "strace", "usr/bin/strace"))
    allowed, forbidden = allowed_calls(), tmp_path / "forbidden"
    assert {"epoll_wait", "futex", "setpriority"} < allowed
    assert not {"ptrace", "mount", "setuid", "sched_setaffinity"} & allowed
    traced = ",".join(f"?{call}" for call in sorted(allowed))
    command = [
        strace,
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        "signal=none",
        "-e",
        f"trace=!{traced}",
        "-o",
        str(forbidden),
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        async with database_of(stores) as settings:
            inherited = {name: value for name, value in os.environ.items() if not name.startswith("BRAINGAME_")}
            process = await asyncio.create_subprocess_exec(
                *command,
                *(sys.executable, str(ROOT / "run_server.py"), "--port", "0", "--bcrypt-cost", "4"),
                env=inherited | settings | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
                cwd=tmp_path,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            server = ServerProcess(process)
            try:
                await server.wait_until_ready()
                # As systemd does: it hears from the server that it is ready, and who the server is.
                assert b"READY=1" in await asyncio.to_thread(systemd.recv, 1000)
                async with player(server.port) as ada:
                    await ada.play(1, 2, 3)
                    assert (await ada.do("leaderboard.get"))["total"] == 1
                os.kill(traced_child(process.pid), signal.SIGTERM)
                assert await server.exit_code() == 0, server.log
                assert b"STOPPING=1" in await asyncio.to_thread(systemd.recv, 1000)
            finally:
                if process.returncode is None:
                    # strace ends with what it looks at.
                    os.kill(traced_child(process.pid), signal.SIGKILL)
                    await process.wait()
    assert forbidden.read_text(encoding="utf-8") == ""


def traced_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(child)
