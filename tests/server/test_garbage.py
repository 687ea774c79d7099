"""The collector still collects, only seldom."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc, weakref
from server.garbage import look_seldom

class Knot:
    def __init__(self):
        self.own = self

look_seldom()
frozen = gc.get_freeze_count()
first = weakref.ref(Knot())
knots = 0
while first() is not None and knots < 1_000_000:
    Knot()
    knots += 1
print(frozen > 1000, 10_000 < knots < 1_000_000)
"""


def test_cycles_are_found_in_the_end_and_modules_are_not_looked_at() -> None:
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]
