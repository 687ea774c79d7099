"""The hash of a board: as docs/operations.md says it is reckoned, and another one for every other board."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from game.fingerprint import Fingerprint, PackedBoard
from game.ranking import Entry, ranked

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOARD = [Entry(12, True, 300, NOON), Entry(3, False, 450, NOON + timedelta(milliseconds=7))]


def fingerprint(entries: list[Entry]) -> str:
    found = Fingerprint()
    for entry in entries:
        found.add(entry)
    assert found.entries == len(entries)
    return found.hexdigest()


def test_hash_is_the_documented_one() -> None:
    lines = "12 1 300 1795435200000\n3 0 450 1795435200007\n"
    assert fingerprint(BOARD) == hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()
    assert fingerprint([]) == "cae66941d9efbd404e4d88758ea67670"


def test_every_other_board_has_another_hash() -> None:
    first, second = BOARD
    others = [
        [],
        [first],
        [second, first],
        [first._replace(number=1), second],
        [first._replace(passed_all_games=False), second],
        [first._replace(total_score=301), second],
        [first._replace(achieved_at=first.achieved_at + timedelta(milliseconds=1)), second],
    ]
    assert len({fingerprint(board) for board in [BOARD, *others]}) == len(others) + 1


boards = st.lists(
    st.builds(
        Entry,
        number=st.integers(1, 2**63 - 1),
        passed_all_games=st.booleans(),
        # Damaged logs may lead anywhere.
        total_score=st.one_of(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1)),
        achieved_at=st.one_of(
            st.integers(0, 2).map(lambda ms: NOON + timedelta(milliseconds=ms)),
            st.datetimes(timezones=st.just(UTC)),
        ),
    ),
    unique_by=lambda entry: entry.number,
    max_size=20,
)


@settings(max_examples=50)
@given(boards)
def test_board_packed_in_any_order_has_the_hash_of_the_board(entries: list[Entry]) -> None:
    packed = PackedBoard()
    for entry in entries:
        packed.add(entry)
    assert len(packed) == len(entries)
    assert packed.fingerprint().hexdigest() == fingerprint(ranked(entries))
    assert packed.fingerprint().entries == len(entries)
