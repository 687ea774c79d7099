"""How long to wait before the next try. Pure: the random number is passed in."""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 15.0
#: After the server has thrown the client out for what it sent: the same again would be no better.
MISCONDUCT_SECONDS: Final = 30.0
#: Binary, not UTF-8, too big, malformed, flooding.
_MISCONDUCT: Final = frozenset({1003, 1007, 1009, 4400, 4429})


def pause_after(failures: int, draw: float) -> float:
    """Seconds before the next try, after so many failures in a row; `draw` is from 0 to 1.

    Full jitter: the clients of a server that was restarted must not all come at once.
    """
    ceiling: float = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures, 16))
    return draw * ceiling


def pause_after_close(code: int | None, failures: int, draw: float) -> float:
    """The same, after a connection that was closed with this code."""
    if code in _MISCONDUCT:
        return MISCONDUCT_SECONDS * (0.5 + draw / 2)
    return pause_after(failures, draw)
