from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storage.data_folder import EmbeddedStoresError
from storage.supervised import Recipe, Supervised, spawn, wait_for_exit

_PATIENCE = 20.0


class Notes:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **_values: Any) -> None:
        self.events.append(event)

    warning = info


def _recipe(folder: Path, program: str) -> Recipe:
    """A made-up store: it is ready when it has written its process id."""
    ready = folder / "pid"
    return Recipe(
        name="Store",
        command=[sys.executable, "-c", program, str(ready)],
        folder=folder,
        log_file=folder / "store.log",
        stop_signal=signal.SIGTERM,
        is_ready=lambda pid: ready.exists() and ready.read_text() == str(pid),
    )


_WELL = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _WELL


async def _until(condition: Any) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_store_is_ready_when_start_returns_and_gone_when_stop_does(tmp_path: Path) -> None:
    store = Supervised(_recipe(tmp_path, _WELL), None, [], Notes())
    await store.start()
    pid = int((tmp_path / "pid").read_text())
    assert _alive(pid)
    await store.stop()
    await store.stop()
    assert not _alive(pid)


async def test_store_that_dies_is_started_again(tmp_path: Path) -> None:
    notes = Notes()
    store = Supervised(_recipe(tmp_path, _WELL), None, [], notes)
    await store.start()
    first = int((tmp_path / "pid").read_text())
    os.kill(first, signal.SIGKILL)
    await _until(lambda: "a store is back" in notes.events)
    assert int((tmp_path / "pid").read_text()) != first
    await store.stop()


async def test_store_that_does_not_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    store = Supervised(_recipe(tmp_path, "raise SystemExit('the disk is made of cheese')"), None, [], Notes())
    with pytest.raises(EmbeddedStoresError, match="the disk is made of cheese"):
        await store.start()
    await store.stop()


async def test_store_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.supervised.STOP_SECONDS", 0.2)
    notes = Notes()
    store = Supervised(_recipe(tmp_path, _STUBBORN), None, [], notes)
    await store.start()
    pid = int((tmp_path / "pid").read_text())
    await store.stop()
    assert not _alive(pid)
    assert notes.events == ["a store did not stop in time and is killed"]


async def test_program_that_is_not_there_is_reported(tmp_path: Path) -> None:
    recipe = Recipe("Store", ["/nowhere/store"], tmp_path, tmp_path / "log", signal.SIGTERM, lambda _: True)
    with pytest.raises(EmbeddedStoresError, match="Store cannot be run"):
        await Supervised(recipe, None, [], Notes()).start()


async def test_store_dies_with_a_server_that_is_killed(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, signal, time\n"
            "from pathlib import Path\n"
            "from storage.supervised import spawn\n"
            "child = spawn(['/bin/sleep', '600'], Path('/'), 2, None, signal.SIGTERM, [])\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(600)\n",
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
        text=True,
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    assert _alive(pid)
    server.kill()
    server.wait()
    server.stdout.close()
    await _until(lambda: not _alive(pid))


async def test_store_is_out_of_reach_of_the_terminals_ctrl_c(tmp_path: Path) -> None:
    process = spawn(["/bin/sleep", "600"], tmp_path, 2, None, signal.SIGTERM, [])
    assert os.getsid(process.pid) == process.pid
    process.kill()
    assert await wait_for_exit(process) == -signal.SIGKILL
    assert await wait_for_exit(process) == -signal.SIGKILL
