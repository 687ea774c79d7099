"""A follower's board: deltas, as the server makes them, lead to what a snapshot would say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from client.board_state import BoardState, apply_delta, from_leaderboard
from game.ranking import Entry, ranked
from game.standings import Row, Standings, difference
from protocol.server_messages import EntryData, RankedEntryData

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIMIT = 3

boards = st.dictionaries(
    st.integers(1, 8),
    st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 2)),
    max_size=8,
)


def standings(version: int, board: dict[int, tuple[bool, int, int]]) -> Standings:
    entries = [
        Entry(number, passed, score, NOON + timedelta(milliseconds=at)) for number, (passed, score, at) in board.items()
    ]
    rows = tuple(Row(entry, f"player {entry.number}") for entry in ranked(entries))
    return Standings("all-time", "e", version, len(rows), rows)


def wire(model: Any) -> Any:
    return json.loads(model.model_dump_json())


def snapshot(state: Standings) -> dict[str, Any]:
    rows = state.top(LIMIT)
    entries = [wire(RankedEntryData.at(position, row)) for position, row in enumerate(rows, start=1)]
    return {"board": "all-time", "epoch": "e", "version": state.version, "total": state.total, "entries": entries}


@given(st.lists(boards, min_size=1, max_size=5))
def test_deltas_lead_to_what_a_snapshot_says(states: list[dict[int, tuple[bool, int, int]]]) -> None:
    held = from_leaderboard(snapshot(standings(0, {})), None)
    before = standings(0, {})
    for version, board in enumerate(states, start=1):
        after = standings(version, board)
        changed = difference(before.top(LIMIT), after.top(LIMIT))
        delta = {
            "board": "all-time",
            "epoch": "e",
            "from": before.version,
            "version": version,
            "total": after.total,
            "upserts": [{**wire(EntryData.of(row)), "fromTheFuture": 1} for row in changed.upserts],
            "removals": list(changed.removals),
        }
        assert held is not None
        held = apply_delta(held, delta, LIMIT)
        assert held == from_leaderboard(snapshot(after), None)
        before = after


def test_delta_for_another_state_does_not_apply() -> None:
    held = BoardState("all-time", "e", 4, 0, ())
    fits = {"board": "all-time", "epoch": "e", "from": 4, "version": 5, "total": 0, "upserts": [], "removals": [9]}
    assert apply_delta(held, fits, LIMIT) == BoardState("all-time", "e", 5, 0, ())
    for change in ({"from": 3}, {"from": 5}, {"epoch": "f"}, {"board": "daily"}):
        assert apply_delta(held, {**fits, **change}, LIMIT) is None


def test_answer_without_entries_confirms_what_is_held_and_nothing_else() -> None:
    held = BoardState("all-time", "e", 4, 0, ())
    answer = {"board": "all-time", "epoch": "e", "version": 4, "total": 0, "entries": None}
    assert from_leaderboard(answer, held) is held
    assert from_leaderboard(answer, None) is None
    assert from_leaderboard({**answer, "version": 5}, held) is None
    assert from_leaderboard({**answer, "epoch": "f"}, held) is None
