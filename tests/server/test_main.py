"""Starting: what cannot work is one line and exit code 2, before anything listens. Running servers are looked at from
outside in tests/whole."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from server.main import EXIT_CANNOT_START, run


@pytest.fixture(autouse=True)
def empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRAINGAME_") or name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "eighty"], "BRAINGAME_PORT"),
        (["--workers", "2"], "BRAINGAME_WORKERS"),
        (["--jwt-secret", "hunter2"], "BRAINGAME_JWT_SECRET"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--database-url", "nonsense", "--redis-url", "redis://127.0.0.1:1"], "DATABASE_URL"),
        (["--database-url", "mysql://x/y", "--redis-url", "redis://127.0.0.1:1"], "DATABASE_URL"),
        (["--database-url", "postgresql://x@127.0.0.1:1/y", "--redis-url", "redis://127.0.0.1:1"], "DATABASE_URL"),
    ],
)
def test_server_that_cannot_start_says_why_in_one_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = io.StringIO()
    assert run(arguments, output) == EXIT_CANNOT_START
    assert output.getvalue() == ""
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("Brain Game cannot start: ")
    assert named in line
    assert "hunter2" not in line


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["--help"])
    assert stopped.value.code == 0
    assert "BRAINGAME_DATA_DIR" in capsys.readouterr().out
