"""Measured figures, a file for each measurement, of its last complete run."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.machine import description

FOLDER: Final = Path(__file__).parent / "results"


def keep(name: str, figures: Any) -> None:
    """Write them, with the machine and the day that they were measured on, and the flags of the command."""
    FOLDER.mkdir(exist_ok=True)
    held = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": description(),
        "flags": sys.argv[1:],
        "figures": figures,
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(held, indent=2) + "\n")


def kept(name: str) -> Any:
    """The figures of the last complete run of a measurement. Raises FileNotFoundError where there was none."""
    return json.loads((FOLDER / f"{name}.json").read_text())["figures"]
