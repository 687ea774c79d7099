"""Pauses between tries."""

from __future__ import annotations

from client.backoff import FIRST_SECONDS, LONGEST_SECONDS, MISCONDUCT_SECONDS, pause_after, pause_after_close


def test_pauses_grow_up_to_the_longest_and_are_drawn_from_nought() -> None:
    ceilings = [pause_after(failures, 1.0) for failures in range(12)]
    assert ceilings[0] == FIRST_SECONDS
    assert ceilings == sorted(ceilings)
    assert ceilings[-1] == pause_after(10_000, 1.0) == LONGEST_SECONDS
    assert pause_after(5, 0.0) == 0
    assert pause_after(5, 0.5) == pause_after(5, 1.0) / 2


def test_who_was_thrown_out_for_what_it_sent_waits_long() -> None:
    assert pause_after_close(4429, 0, 0.0) == MISCONDUCT_SECONDS / 2
    for code in (None, 1001, 1006, 4401, 4408):
        assert pause_after_close(code, 0, 1.0) == FIRST_SECONDS
