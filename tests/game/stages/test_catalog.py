from __future__ import annotations

from game.stages.catalog import STAGES, stage_at


def test_three_games_are_dealt_in_turn() -> None:
    assert [stage_at(number).name for number in range(7)] == [
        *("sequence", "sums", "drawing"),
        *("sequence", "sums", "drawing"),
        "sequence",
    ]


def test_games_are_found_by_the_names_of_the_wire() -> None:
    assert list(STAGES) == ["sequence", "sums", "drawing"]
    assert all(stage.name == name for name, stage in STAGES.items())
