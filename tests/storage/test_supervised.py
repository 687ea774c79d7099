from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
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

    async def is_ready(pid: int) -> bool:
        return ready.exists() and ready.read_text() == str(pid)

    return Recipe(
        name="Store",
        command=[sys.executable, "-c", program, str(ready)],
        folder=folder,
        log_file=folder / "store.log",
        stop_signal=signal.SIGTERM,
        is_ready=is_ready,
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


async def test_store_that_dies_again_and_again_is_started_at_once_and_then_less_often(tmp_path: Path) -> None:
    notes = Notes()
    store = Supervised(_recipe(tmp_path, _WELL), None, [], notes)
    await store.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for times in range(1, 5):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        await _until(lambda times=times: notes.events.count("a store is back") == times)
    assert loop.time() - began >= 0 + 0.05 + 0.1 + 0.2
    await store.stop()


_REFUSES_TWICE = "import pathlib, sys; f = pathlib.Path('tries'); f.open('a').write('x'); n = f.stat().st_size\n"
_REFUSES_TWICE += f"if n in (2, 3): sys.exit('not yet')\n{_WELL}"


async def test_store_that_refuses_to_start_for_a_moment_comes_back(tmp_path: Path) -> None:
    """As PostgreSQL does while backends of a killed postmaster linger."""
    notes = Notes()
    store = Supervised(_recipe(tmp_path, _REFUSES_TWICE), None, [], notes)
    await store.start()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    await _until(lambda: "a store is back" in notes.events)
    assert notes.events.count("a store could not be started again") == 2
    await store.stop()


async def test_store_that_never_answers_is_reported_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.supervised.START_SECONDS", 0.3)
    store = Supervised(_recipe(tmp_path, "import time; print('busy', flush=True); time.sleep(600)"), None, [], Notes())
    with pytest.raises(EmbeddedStoresError, match=r"Store takes too long to start: (busy|it says nothing)"):
        await store.start()
    await store.stop()


async def test_only_the_last_run_is_quoted_and_only_its_end(tmp_path: Path) -> None:
    (tmp_path / "store.log").write_text("FATAL: of last week\n")
    program = "print(*range(20), sep='\\n'); raise SystemExit(1)"
    store = Supervised(_recipe(tmp_path, program), None, [], Notes())
    with pytest.raises(EmbeddedStoresError) as caught:
        await store.start()
    assert str(caught.value) == "Store does not start: 15 | 16 | 17 | 18 | 19"


async def test_log_that_has_grown_long_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.supervised._LOG_BYTES", 100)
    for size, aside in ((100, False), (101, True)):
        (tmp_path / "store.log").write_text("x" * size)
        store = Supervised(_recipe(tmp_path, _WELL), None, [], Notes())
        await store.start()
        await store.stop()
        assert (tmp_path / "store.log.1").exists() is aside
    assert (tmp_path / "store.log").read_text() == ""


async def test_store_inherits_nothing_of_ours_but_the_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    inherited, ours = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    before = os.umask(0o000)
    with (tmp_path / "said").open("wb") as said:
        program = "env | cut -d= -f1 | sort; pwd; umask; readlink /proc/$$/fd/0; ls /proc/$$/fd | sort -n"
        process = spawn(["/bin/sh", "-c", program], tmp_path, said.fileno(), None, signal.SIGTERM, [inherited])
        assert await wait_for_exit(process) == 0
    os.umask(before)
    os.close(inherited)
    os.close(ours)
    said_lines = (tmp_path / "said").read_text().split("\n")
    lines = [line for line in said_lines if line and line not in ("PWD", "SHLVL", "_", "OLDPWD")]  # the shell's own
    assert lines == ["LC_ALL", "PATH", "TZ", str(tmp_path), "0077", "/dev/null", "0", "1", "2", str(inherited)]


async def test_store_is_not_started_from_a_thread_that_may_end_before_the_server(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(spawn, ["/bin/true"], tmp_path, 2, None, signal.SIGTERM, [])


async def test_end_is_noticed_without_a_descriptor_to_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError("Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    process = spawn(["/bin/sh", "-c", "exit 3"], tmp_path, 2, None, signal.SIGTERM, [])
    assert await wait_for_exit(process) == 3


async def test_program_that_is_not_there_is_reported(tmp_path: Path) -> None:
    recipe = replace(_recipe(tmp_path, _WELL), command=["/nowhere/store"])
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
