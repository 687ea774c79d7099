"""Logs: one JSON object a line on standard error, or a line for people, and nothing on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN = """
import asyncio, logging
from server.log import configure
log = configure({arguments})
"""
PROGRAM = """
log.info("draining", connections=3)
log.debug("for whoever looks closely")
try:
    raise ValueError("a line\\nand another")
except ValueError:
    log.exception("it failed", part="commits")
logging.getLogger("library").warning("chatter")
logging.getLogger("library").debug("chatter")
logging.getLogger("library").error("trouble with %s", "ada@example.com")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("library").exception("more")
"""


def logged(program: str, arguments: str = "", code: int = 0) -> list[str]:
    """The lines that it logs."""
    result = subprocess.run(
        [sys.executable, "-c", BEGIN.format(arguments=arguments) + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_log_is_json_lines_on_standard_error_those_of_libraries_too() -> None:
    first, second, third, fourth = map(json.loads, logged(PROGRAM))
    assert (first["level"], first["event"], first["connections"]) == ("info", "draining", 3)
    assert datetime.fromisoformat(first["timestamp"]).utcoffset() is not None
    assert (second["level"], second["event"], second["part"]) == ("error", "it failed", "commits")
    assert "ValueError: a line\nand another" in second["exception"]
    assert (third["level"], third["event"], third["logger"]) == ("error", "trouble with [redacted]", "library")
    assert third.keys() == {"level", "event", "logger", "timestamp"}
    assert "ZeroDivisionError" in fourth["exception"]


def test_level_is_as_set_but_libraries_stay_quiet() -> None:
    events = [json.loads(line)["event"] for line in logged(PROGRAM, "'debug'")]
    assert events == ["draining", "for whoever looks closely", "it failed", "trouble with [redacted]", "more"]
    assert [json.loads(line)["event"] for line in logged(PROGRAM, "'warning'")] == events[2:]


def test_console_format_is_for_people() -> None:
    lines = logged(PROGRAM, "form='console'")
    assert "draining" in lines[0]
    assert "connections=3" in lines[0]
    assert any(line.startswith("ValueError: a line") for line in lines)
    assert not any(line.startswith("{") for line in lines)


@pytest.mark.parametrize("form", ["json", "console"])
def test_local_variables_and_secrets_of_the_settings_are_not_shown(form: str) -> None:
    program = """
def fail(password):
    raise ValueError("the store says s3cret-of-ours")
try:
    fail("correct horse")
except ValueError:
    log.exception("it failed s3cret-of-ours", token="abc")
"""
    text = "\n".join(logged(program, f"form={form!r}, secrets=['s3cret-of-ours']"))
    assert "ValueError: the store says [redacted]" in text
    assert "s3cret" not in text
    assert "horse" not in text.replace('fail("correct horse")', "")
    assert "abc" not in text


def test_what_nobody_foresaw_is_logged_like_the_rest() -> None:
    ending = logged("raise ValueError('postgresql://u:pw@h is away')", code=1)
    line = json.loads(ending[0])
    assert (len(ending), line["level"], line["event"]) == (1, "critical", "the process fails")
    assert "postgresql://[redacted]@h" in line["exception"]
    program = """
async def main():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
asyncio.run(main())
"""
    (text,) = logged(program)
    assert json.loads(text)["logger"] == "asyncio"
    assert "ZeroDivisionError" in json.loads(text)["exception"]
