"""Logs: one JSON object a line on standard error, nothing on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

PROGRAM = """
import logging
from server.log import configure
log = configure()
log.info("draining", connections=3)
log.debug("not for operators")
try:
    raise ValueError("a line\\nand another")
except ValueError:
    log.exception("it failed", part="commits")
logging.getLogger("library").warning("chatter")
logging.getLogger("library").error("trouble")
"""


def test_log_is_json_lines_on_standard_error() -> None:
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout == ""
    *lines, of_library = result.stderr.splitlines()
    first, second = (json.loads(line) for line in lines)
    assert (first["level"], first["event"], first["connections"]) == ("info", "draining", 3)
    assert datetime.fromisoformat(first["timestamp"]).utcoffset() is not None
    assert (second["level"], second["event"], second["part"]) == ("error", "it failed", "commits")
    assert "ValueError: a line\nand another" in second["exception"]
    assert of_library == "library: trouble"
