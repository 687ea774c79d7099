"""Each fault once, with a few players; `make faults` does it with more, and often."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults import arena as arenas
from tests.faults.arena import Arena
from tests.faults.faults import FAULTS, ON_A_SMALL_DISK, WITH_A_CLOCK, Fault
from tests.faults.run import run

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAYERS = 9
SECONDS = 0.4
AWAY = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena() -> AsyncIterator[Arena]:
    async with arenas.arena() as found:
        yield found


async def is_survived(arena: Arena, fault: Fault) -> None:
    result = await run(arena, fault, players=PLAYERS, seconds=SECONDS, away=AWAY, seed=1)
    assert result.violations == [], f"the history is in {result.history}"
    assert result.acknowledged > PLAYERS


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_loses_and_repeats_nothing(arena: Arena, fault: str) -> None:
    await is_survived(arena, FAULTS[fault])


async def test_full_disk_loses_and_repeats_nothing() -> None:
    async with arenas.arena_on_a_small_disk() as arena:
        await is_survived(arena, ON_A_SMALL_DISK["full disk"])


async def test_steps_of_the_clock_lose_and_repeat_nothing() -> None:
    async with arenas.arena_with_a_clock() as arena:
        await is_survived(arena, WITH_A_CLOCK["clock steps"])
