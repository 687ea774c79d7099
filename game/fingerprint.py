"""The hash of a board: short enough to be compared by eye, and exact enough to find one point too many.

The format is written down in docs/operations.md, so that another tool can reckon it.
"""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Final

from game.ranking import Entry

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Not passed, what is missing to the largest score, microseconds, number.
_RECORD: Final = struct.Struct(">?QQQ")
#: What a bigint holds at most.
_MAX_SCORE: Final = 2**63 - 1
#: Microseconds added to every time, so that none of this calendar is negative.
_BEFORE_EPOCH: Final = 2**62


class Fingerprint:
    """BLAKE2b with 16 bytes over the entries of one ladder, one after the other, in the order of the board.

    Each is a line of ASCII: number, 1 or 0 for passedAllGames, totalScore, achievedAt in milliseconds since 1970, with
    one space between them and a line feed at the end. Whoever is taken off is no part of it.
    """

    def __init__(self) -> None:
        self.entries = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, entry: Entry) -> None:
        """The next entry."""
        self.entries += 1
        self._hash.update(line_of(entry))

    def hexdigest(self) -> str:
        """The hash of the entries so far, 32 characters."""
        return self._hash.hexdigest()


def line_of(entry: Entry) -> bytes:
    """The line that stands for an entry."""
    milliseconds = (entry.achieved_at - _EPOCH) // timedelta(milliseconds=1)
    return b"%d %d %d %d\n" % (entry.number, entry.passed_all_games, entry.total_score, milliseconds)


class PackedBoard:
    """Entries of one ladder in any order, one of each player, 25 bytes each until the hash is asked for.

    That takes some 75 bytes more an entry while it is reckoned.
    """

    def __init__(self) -> None:
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // _RECORD.size

    def add(self, entry: Entry) -> None:
        """One more entry."""
        achieved_at = (entry.achieved_at - _EPOCH) // timedelta(microseconds=1)
        # So that the bytes are sorted as a board is.
        self._packed += _RECORD.pack(
            not entry.passed_all_games, _MAX_SCORE - entry.total_score, achieved_at + _BEFORE_EPOCH, entry.number
        )

    def fingerprint(self) -> Fingerprint:
        """The hash of the entries in the order of the board."""
        size = _RECORD.size
        found = Fingerprint()
        for record in sorted(bytes(self._packed[at : at + size]) for at in range(0, len(self._packed), size)):
            not_passed, score, achieved_at, number = _RECORD.unpack(record)
            moment = _EPOCH + timedelta(microseconds=achieved_at - _BEFORE_EPOCH)
            found.add(Entry(number, not not_passed, _MAX_SCORE - score, moment))
        return found
