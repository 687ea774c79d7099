"""When Python looks for garbage: seldom, since nearly all of ours is freed without being looked for.

Reference counts free what an action leaves behind. What the collector finds beside that is a little, of cycles in
exceptions and tasks; but each time it looks, everything on the server stands still, and by default it looks some
hundred times a second under load, at all that is under way. Figures in docs/decisions/0013.
"""

from __future__ import annotations

import gc
from typing import Final

#: Objects more than there were before the youngest are looked at; looks at those for one at the older ones, twice.
_THRESHOLDS: Final = (50_000, 20, 20)


def look_seldom() -> None:
    """For this process, from now on. What is there already, modules above all, is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
