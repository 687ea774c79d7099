"""Tries counted in Redis: by the rules of one node, for all nodes together, and gone when they do not matter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from server.attempts import LocalCounts
from storage.attempts import AttemptCounts, Counted, Escalation
from storage.postgres import StoreUnavailable
from storage.redis_server import Request
from tests.stores import Stores

#: So slow to forgive that a test takes no part of it.
RULE = Escalation(free=3, forgive_seconds=10_000, first_seconds=10, longest_seconds=60)


@pytest.fixture
async def counts(stores: Stores) -> AsyncIterator[AttemptCounts]:
    found = AttemptCounts.connect(stores.redis_url, str(uuid4()))
    yield found
    await found.close()


async def test_delays_grow_as_they_do_on_one_node(counts: AttemptCounts) -> None:
    local = LocalCounts(lambda: 0.0)
    one = Counted("one", RULE)
    for expected in (0, 0, 0, 10, 20, 40, 60, 60):
        (shared,) = await counts.count([one])
        assert local.count([one]) == [expected]
        assert shared == pytest.approx(expected, rel=0.05)
        ((wait, count),), marked = await counts.look([one], "mark")
        assert 0 <= expected - wait < 5
        assert count == pytest.approx(local.look([one], None)[0][0][1], abs=0.05)
        assert not marked


async def test_another_node_sees_what_was_counted(counts: AttemptCounts, stores: Stores) -> None:
    other = AttemptCounts.connect(stores.redis_url, counts._prefix.split(":")[1])
    for _ in range(4):
        await counts.count([Counted("one", RULE), Counted("two", RULE)])
    states, _ = await other.look([Counted(name, RULE) for name in ("one", "two", "three")], None)
    assert [wait > 0 for wait, _ in states] == [True, True, False]
    await other.close()


async def test_what_is_forgotten_begins_anew_and_the_mark_is_set(counts: AttemptCounts) -> None:
    for _ in range(5):
        await counts.count([Counted("one", RULE)])
    await counts.forget("one", "mark", 100)
    assert await counts.look([Counted("one", RULE)], "mark") == ([(0, 0)], True)
    assert await counts.look([Counted("one", RULE)], "other mark") == ([(0, 0)], False)


async def test_tries_are_forgiven_with_time(counts: AttemptCounts) -> None:
    quick = Escalation(free=3, forgive_seconds=0.000001, first_seconds=10, longest_seconds=60)
    for _ in range(10):
        assert await counts.count([Counted("one", quick)]) == [0]


async def test_nothing_is_kept_for_ever(counts: AttemptCounts) -> None:
    await counts.count([Counted("one", RULE)])
    await counts.forget("two", "mark", 100)
    names = [key async for key in counts._redis.keys(f"{counts._prefix}:*", 100)]
    assert len(names) == 2
    for ttl in await counts._redis.all_of([Request(name, ("TTL", name)) for name in names]):
        assert 0 < ttl <= 10_000


async def test_redis_that_is_away_is_said_to_be_so() -> None:
    nowhere = AttemptCounts.connect("redis://127.0.0.1:1/0", "x")
    with pytest.raises(StoreUnavailable):
        await nowhere.look([Counted("one", RULE)], None)
    with pytest.raises(StoreUnavailable):
        await nowhere.count([Counted("one", RULE)])
    await nowhere.close()
