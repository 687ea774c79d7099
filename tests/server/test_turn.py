"""A turn: one at a time, in the order of asking."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from server.turn import Turn


async def test_only_one_has_it() -> None:
    turn = Turn()
    assert turn.take_at_once()
    assert not turn.take_at_once()
    turn.give_back()
    assert turn.take_at_once()


async def test_nobody_overtakes_who_waits() -> None:
    turn = Turn()
    await turn.take()
    waiting = asyncio.create_task(turn.take())
    await asyncio.sleep(0)
    turn.give_back()
    # It was handed over, though the one who waits does not know yet.
    assert not turn.take_at_once()
    await waiting
    turn.give_back()
    assert turn.take_at_once()


async def test_turn_of_one_who_went_away_as_it_came_goes_on_to_the_next() -> None:
    turn = Turn()
    await turn.take()
    gone, next_one = asyncio.create_task(turn.take()), asyncio.create_task(turn.take())
    await asyncio.sleep(0)
    turn.give_back()
    gone.cancel()
    await next_one
    turn.give_back()
    assert turn.take_at_once()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_all_who_stay_have_it_once_each_in_their_order(stays: list[bool]) -> None:
    async def run() -> None:
        turn, had, inside = Turn(), list[int](), 0

        async def use(index: int) -> None:
            nonlocal inside
            await turn.take()
            inside += 1
            assert inside == 1
            had.append(index)
            await asyncio.sleep(0)
            inside -= 1
            turn.give_back()

        await turn.take()
        tasks = [asyncio.create_task(use(index)) for index in range(len(stays))]
        await asyncio.sleep(0)
        for task, stay in zip(tasks, stays, strict=True):
            if not stay:
                task.cancel()
        turn.give_back()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert had == [index for index, stay in enumerate(stays) if stay]
        assert turn.take_at_once()

    asyncio.run(run())
