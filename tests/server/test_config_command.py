"""`config` says what is set, where, and what is wrong with it; no secret among it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from server.config_command import example
from server.operator import run
from server.settings import facts
from tests.server_process import ROOT

SECRETS = {
    "DATABASE_URL": "postgresql://u:hunter2@h/d?sslpassword=hunter2",
    "REDIS_URL": "redis+sentinel://:hunter2@h/main/0?sentinel_password=hunter2",
    "BRAINGAME_JWT_SECRET": "hunter2 and more, for it has to be long",
    "BRAINGAME_DEEPAI_KEY": "hunter2",
    "BRAINGAME_DEEPAI_URL": "https://u:hunter2@h/",
}


@pytest.fixture(autouse=True)
def empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from the machine that the tests run on."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BRAINGAME_") or name in ("DATABASE_URL", "REDIS_URL", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name)


def config(*arguments: str, code: int = 0) -> str:
    output = io.StringIO()
    assert run(["config", *arguments], output) == code
    return output.getvalue()


def test_every_setting_is_a_line_with_value_and_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("# ours\n\nexport BRAINGAME_STAGES=5\nBRAINGAME_HOST=::1\n", encoding="utf-8")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/braingame_jwt_secret").write_text("a secret of this test, long enough\n", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.setenv("BRAINGAME_HOST", "::")
    head, *lines = config("--port", "9").splitlines()
    assert head.split() == ["setting", "value", "source"]
    rows = {row[0]: tuple(row[1:]) for row in (line.split(maxsplit=2) for line in lines)}
    assert list(rows) == [fact.variable for fact in facts().values()]
    assert rows["BRAINGAME_PORT"] == ("9", "flag --port")
    assert rows["BRAINGAME_HOST"] == ("::", "environment")
    assert rows["BRAINGAME_STAGES"] == ("5", ".env line 3")
    assert rows["BRAINGAME_JWT_SECRET"] == ("***", "file in CREDENTIALS_DIRECTORY")
    assert rows["BRAINGAME_WORKERS"] == ("1", "default")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize("flags", [(), ("--verbose",), ("--json",)])
def test_no_secret_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    place: str,
) -> None:
    if place == "environment":
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
    else:
        text = "".join(f"{name}='{value}'\n" for name, value in SECRETS.items())
        (tmp_path / ".env").write_text(text, encoding="utf-8")
    # As much when something is wrong as when all is well.
    shown = config(*flags) + config(*flags, "--jwt-secret", "hunter2", "--workers", "0", code=2)
    said = capsys.readouterr().err
    assert "hunter2" not in shown + said
    assert shown.count("***") >= 2 * len(SECRETS)
    assert "u:***@h" in shown


def test_json_has_what_the_table_has_and_the_bounds() -> None:
    found = json.loads(config("--json", "--stages", "7"))
    (stages,) = [one for one in found["settings"] if one["variable"] == "BRAINGAME_STAGES"]
    assert stages == {
        "variable": "BRAINGAME_STAGES",
        "flag": "--stages",
        "value": "7",
        "source": "flag --stages",
        "bounds": "1 to 1000",
        "unit": "stages",
        "default": "3",
        "secret": "nothing",
        "description": "Stages of a session.",
    }
    assert (found["unknown"], found["wrong"]) == ([], [])


def test_each_wrong_setting_is_a_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRAINGAME_PORT", "70000")
    shown = config("--stages", "0", code=2)
    assert "70000" in shown
    assert capsys.readouterr().err.splitlines() == [
        "Brain Game: BRAINGAME_PORT: 70000 is not between 0 and 65535 (TCP port)",
        "Brain Game: BRAINGAME_STAGES: 0 is not between 1 and 1000 (stages)",
    ]


def test_mistyped_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BRAINGAME_PROT", "1")
    assert json.loads(config("--json"))["unknown"] == [
        "BRAINGAME_PROT in the environment is no setting; is BRAINGAME_PORT meant?"
    ]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Brain Game: warning: BRAINGAME_PROT in the environment is no setting")


def test_dotenv_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_bytes(b"BRAINGAME_PORT=\xff\n")
    config(code=2)
    assert len(capsys.readouterr().err.splitlines()) == 1


# .env.example


def test_example_file_is_what_the_model_says() -> None:
    written = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert written == example(), "write it anew: python run_server.py config --example > .env.example"
    assert config("--example") == written


def test_example_without_its_marks_sets_every_default(tmp_path: Path) -> None:
    lines = [line.removeprefix("#") for line in example().splitlines() if not line.startswith("# ")]
    assert len([line for line in lines if line]) == len(facts())
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    shown = json.loads(config("--json"))["settings"]
    assert [one["value"] for one in shown] == [one["default"] for one in shown]
