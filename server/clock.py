"""The time of day as it goes into answers and tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], datetime]


_NANOSECONDS: Final = 1_000_000
_last = (0, datetime.fromtimestamp(0, UTC))


def utc_now() -> datetime:
    """Now, UTC, cut to the milliseconds that the wire and the boards can tell apart."""
    global _last
    milliseconds = time.time_ns() // _NANOSECONDS
    if milliseconds != _last[0]:
        # Made once a millisecond: under load many ask in each.
        seconds, rest = divmod(milliseconds, 1000)
        _last = (milliseconds, datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000))
    return _last[1]
