"""Numbers that look random and are the same for the same seed, in every release of Python and of this server.

`random.Random` promises that for `random()` only, and a session that is replayed from its log has to see the puzzles
that were played.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_BYTES: Final = 8


class Dice:
    """Draws from a seed; `labels` set one use apart from another."""

    def __init__(self, seed: int, *labels: object) -> None:
        self._name = "/".join(map(str, (seed, *labels)))
        self._drawn = 0

    def below(self, end: int) -> int:
        """From 0 to below `end`. With `end` far below 2^64, as here, all are as good as equally likely."""
        self._drawn += 1
        digest = hashlib.blake2b(f"{self._name}#{self._drawn}".encode(), digest_size=_BYTES).digest()
        return int.from_bytes(digest) % end

    def between(self, least: int, most: int) -> int:
        """From `least` to `most`, both included."""
        return least + self.below(most - least + 1)

    def pick(self, things: Sequence[T]) -> T:
        """One of them."""
        return things[self.below(len(things))]
