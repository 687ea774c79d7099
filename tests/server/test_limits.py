"""Rate limits: never more than promised, never less, whatever the pattern of requests."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.limits import (
    MESSAGES_AT_ONCE,
    MESSAGES_PER_SECOND,
    REFUSALS_AT_ONCE,
    REFUSALS_PER_SECOND,
    Crowd,
    PlayerBuckets,
    TokenBucket,
    milliseconds,
)

pauses = st.lists(st.floats(0, 5, allow_nan=False), max_size=200)
rates = st.floats(0.5, 500)
bursts = st.integers(1, 50).map(float)


@given(rate=rates, burst=bursts, pauses=pauses)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: float, pauses: list[float]) -> None:
    bucket = TokenBucket.full(rate, burst, 0.0)
    now, taken_at = 0.0, []
    for pause in pauses:
        now += pause
        if bucket.take(now) == 0:
            taken_at.append(now)
    for first in range(len(taken_at)):
        for last in range(first, len(taken_at)):
            window = taken_at[last] - taken_at[first]
            assert last - first + 1 <= burst + window * rate + 1e-6


@given(rate=rates, burst=bursts, pauses=pauses)
def test_who_waits_as_told_is_not_refused_again(rate: float, burst: float, pauses: list[float]) -> None:
    bucket = TokenBucket.full(rate, burst, 0.0)
    now = 0.0
    for pause in pauses:
        now += pause
        wait = bucket.take(now)
        if wait:
            now += milliseconds(wait) / 1000 + 1e-9
            assert bucket.take(now) == 0


@given(rate=rates, burst=bursts, count=st.integers(0, 60))
def test_burst_is_free_and_the_next_is_not(rate: float, burst: float, count: int) -> None:
    bucket = TokenBucket.full(rate, burst, 7.0)
    answers = [bucket.take(7.0) for _ in range(count)]
    assert [answer == 0 for answer in answers] == [index < burst for index in range(count)]


@given(rate=rates, burst=bursts, times=st.lists(st.floats(0, 100, allow_nan=False), max_size=50))
def test_clock_that_goes_back_gives_nothing_away(rate: float, burst: float, times: list[float]) -> None:
    bucket = TokenBucket.full(rate, burst, 0.0)
    latest = 0.0
    for now in times:
        bucket.take(now)
        latest = max(latest, now)
        assert 0 <= bucket.tokens <= burst


@given(rate=rates, burst=bursts)
def test_refusal_takes_nothing(rate: float, burst: float) -> None:
    # Asking far too often, a client still gets the rate in the long run: each fourth time, with 0.3 a time.
    bucket = TokenBucket.full(rate, burst, 0.0)
    for _ in range(int(burst)):
        bucket.take(0.0)
    now, step = 0.0, 0.3 / rate
    taken = 0
    for _ in range(40):
        now += step
        taken += bucket.take(now) == 0
    assert taken >= 10


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 0), (0.001, 1), (0.0011, 2), (0.5, 500), (1.0, 1000)])
def test_wait_is_rounded_up_to_milliseconds(seconds: float, expected: int) -> None:
    assert milliseconds(seconds) == expected


def test_limits_of_the_contract() -> None:
    assert (MESSAGES_AT_ONCE, MESSAGES_PER_SECOND) == (400, 200)


@given(messages_per_second=st.integers(1_000, 100_000))
def test_flood_of_any_speed_is_ended(messages_per_second: int) -> None:
    bucket = TokenBucket.full(MESSAGES_PER_SECOND, MESSAGES_AT_ONCE, 0.0)
    refusals = TokenBucket.full(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, 0.0)
    for index in range(5_000):
        now = index / messages_per_second
        if bucket.take(now) and refusals.take(now):
            break
    else:
        raise AssertionError("the flood goes on")
    assert index >= MESSAGES_AT_ONCE + REFUSALS_AT_ONCE


# Shared by many


def test_player_has_one_bucket_and_the_least_used_are_forgotten() -> None:
    buckets = PlayerBuckets(1, 2, most=2)
    first = buckets.of(1, 0.0)
    assert buckets.of(1, 5.0) is first
    second = buckets.of(2, 0.0)
    buckets.of(1, 0.0)
    buckets.of(3, 0.0)
    assert buckets.of(1, 0.0) is first
    assert buckets.of(2, 0.0) is not second


def test_crowd_never_has_more_inside_than_it_may_and_forgets_who_is_gone() -> None:
    chance = random.Random(3)
    crowd, inside = Crowd(3), [0, 0, 0]
    for _ in range(2000):
        who = chance.randrange(3)
        if chance.random() < 0.5:
            let_in = inside[who] < 3
            assert crowd.enter(str(who)) is let_in
            inside[who] += let_in
        elif inside[who]:
            crowd.leave(str(who))
            inside[who] -= 1
        assert len(crowd) == sum(count > 0 for count in inside)
