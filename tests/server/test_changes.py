"""Which ladders have changed: no change is lost between the one who writes it and the one who waits."""

from __future__ import annotations

import asyncio

from server.changes import ChangedLadders
from tests.server.fakes import DEADLINE


async def test_waiter_gets_what_was_added_before() -> None:
    changes = ChangedLadders()
    changes.add(["all-time", "daily@2026-11-23"])
    changes.add(["all-time"])
    assert await changes.wait(DEADLINE) == {"all-time", "daily@2026-11-23"}


async def test_waiter_is_woken_by_what_is_added_later() -> None:
    changes = ChangedLadders()
    waiting = asyncio.create_task(changes.wait(DEADLINE))
    await asyncio.sleep(0)
    changes.add(["all-time"])
    assert await waiting == {"all-time"}


async def test_change_is_given_once() -> None:
    changes = ChangedLadders()
    changes.add(["all-time"])
    assert await changes.wait(DEADLINE) == {"all-time"}
    assert await changes.wait(0.001) == set()


async def test_nothing_wakes_nobody() -> None:
    changes = ChangedLadders()
    changes.add([])
    assert await changes.wait(0.001) == set()


async def test_change_after_a_wait_in_vain_is_not_lost() -> None:
    changes = ChangedLadders()
    assert await changes.wait(0.001) == set()
    changes.add(["weekly@2026-11-23"])
    assert await changes.wait(DEADLINE) == {"weekly@2026-11-23"}


async def test_waiter_learns_when_the_oldest_change_was_committed() -> None:
    changes = ChangedLadders()
    changes.add(["all-time", "weekly@2026-11-23"], {"all-time": 7.0})
    changes.add(["all-time"], {"all-time": 5.0})
    changes.add(["all-time"])
    assert changes.taken_since("all-time") is None  # not taken yet
    await changes.wait(DEADLINE)
    assert changes.taken_since("all-time") == 5.0
    assert changes.taken_since("weekly@2026-11-23") is None
    # What was taken before is no news of the next one.
    changes.add(["all-time"])
    await changes.wait(DEADLINE)
    assert changes.taken_since("all-time") is None
