"""What was committed is read as it was committed."""

from __future__ import annotations

import random

import pytest

from game.session import NEVER_PLAYED, Cancel, Complete
from storage.commits import Change, Commits
from storage.sessions import PlayerUnknown, SessionStore
from tests.storage.playing import Sql, add_players, apply, change, event_of, game, random_command, random_time, start


async def test_unknown_player_has_no_state(sessions: SessionStore, sql: Sql) -> None:
    await add_players(sql, 1)
    with pytest.raises(PlayerUnknown):
        await sessions.state(2)


async def test_player_who_never_played_has_no_session(sessions: SessionStore, sql: Sql) -> None:
    await add_players(sql, 1)
    assert await sessions.state(1) == NEVER_PLAYED
    assert await sessions.history(1) == []


async def test_state_and_history_are_what_was_committed(sessions: SessionStore, commits: Commits, sql: Sql) -> None:
    numbers = await add_players(sql, 4)
    for seed, number in enumerate(numbers):
        draw, state = random.Random(seed), NEVER_PLAYED
        done: list[Change] = []
        for _ in range(25):
            done.append(change(number, random_command(draw, state), state, at=random_time(draw)))
            state = await apply(commits, done[-1])
            assert await sessions.state(number) == state
        assert await sessions.history(number) == [event_of(each) for each in done]


async def test_largest_values_survive(sessions: SessionStore, commits: Commits, sql: Sql) -> None:
    await add_players(sql, 1)
    played = game(1, 0, 2**40 - 1, passed=True)
    state = await apply(commits, *played)
    assert state.session is not None
    assert state.session.total_score == 2**40 - 1
    assert await sessions.state(1) == state
    assert (await sessions.history(1))[-1].score == 2**40 - 1


async def test_event_is_found_by_its_players_key(sessions: SessionStore, commits: Commits, sql: Sql) -> None:
    await add_players(sql, 2)
    begun = change(1, start(), key="a key of one")
    completed = change(1, Complete(5), begun.state, key="another key")
    await apply(commits, begun, completed, change(1, Cancel(), completed.state, key="the last key"))
    # The state in it is that of its own moment, not the current one.
    assert await sessions.event_by_key(1, "a key of one") == event_of(begun)
    assert await sessions.event_by_key(1, "another key") == event_of(completed)
    assert await sessions.event_by_key(2, "a key of one") is None
    assert await sessions.event_by_key(1, "A KEY OF ONE") is None
    assert await sessions.event_by_key(1, "") is None
