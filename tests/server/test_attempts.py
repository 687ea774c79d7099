"""Who has to wait before a password is looked at: guessers, and not those whom they want to keep out."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import pytest
from structlog.testing import LogCapture

from protocol.errors import ErrorCode, RequestError
from server.attempts import AttemptLimits, Attempts, LocalCounts
from server.log import Log
from storage.attempts import AttemptCounts, Counted, Escalation
from tests.server.gate import Gate
from tests.stores import Stores

SECRET = "a secret for tests that is long enough"
LIMITS = AttemptLimits(account=3, account_anywhere=6, address=8, registrations=4, longest_delay_seconds=60)
HOME, ELSEWHERE, THIRD = "203.0.113.7", "198.51.100.1", "198.51.100.2"


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def hits() -> Counter[str]:
    return Counter()


@pytest.fixture
def attempts(seconds: Seconds, hits: Counter[str], log: Log) -> Attempts:
    """Of one node alone, by a clock that stands still."""
    return Attempts(None, SECRET, log, lambda limit: hits.update([limit]), LIMITS, clock=seconds)


async def tried(attempts: Attempts, *, right: bool, email: str = "ada@example.test", address: str | None = HOME) -> int:
    """One password; gives the milliseconds that it was told to wait instead, 0 if it was looked at."""
    try:
        async with attempts.password(email, address) as attempt:
            attempt.right = right
        return 0
    except RequestError as error:
        refusal = error
    assert refusal.code is ErrorCode.RATE_LIMITED
    assert refusal.retry_after_ms
    return refusal.retry_after_ms


async def test_some_wrong_passwords_are_free_and_then_delays_double(attempts: Attempts, seconds: Seconds) -> None:
    for _ in range(3):
        assert await tried(attempts, right=False) == 0
    for delay in (1, 2, 4, 8, 16, 32, 60, 60):
        assert await tried(attempts, right=False) == 0
        assert await tried(attempts, right=False) == delay * 1000
        seconds.now += delay


async def test_right_password_has_to_wait_as_well_and_then_clears_the_account(
    attempts: Attempts, seconds: Seconds, hits: Counter[str]
) -> None:
    for _ in range(5):
        await tried(attempts, right=False)
    assert await tried(attempts, right=True) == 1000
    assert hits == {"login_account": 2}
    seconds.now += 1
    assert await tried(attempts, right=True) == 0
    for _ in range(3):
        assert await tried(attempts, right=False) == 0


async def test_right_passwords_are_never_slowed_down(attempts: Attempts) -> None:
    for _ in range(500):
        assert await tried(attempts, right=True) == 0


async def test_wrong_passwords_are_forgiven_one_by_one(attempts: Attempts, seconds: Seconds) -> None:
    for _ in range(100):
        assert await tried(attempts, right=False) == 0
        seconds.now += 60


async def test_email_counts_in_whatever_case(attempts: Attempts) -> None:
    for email in ("ada@example.test", "ADA@example.test", " Ada@Example.test ", "ada@EXAMPLE.test"):
        await tried(attempts, right=False, email=email)
    assert await tried(attempts, right=False)
    assert await tried(attempts, right=False, email="bob@example.test") == 0


async def test_guesser_elsewhere_does_not_keep_out_a_player_where_it_has_logged_in_before(
    attempts: Attempts, hits: Counter[str]
) -> None:
    assert await tried(attempts, right=True) == 0
    for address in (ELSEWHERE, THIRD):
        for _ in range(4):
            await tried(attempts, right=False, address=address)
    assert await tried(attempts, right=False, address="198.51.100.3")
    assert await tried(attempts, right=True) == 0
    assert hits == {"login_account": 2}


async def test_guesser_with_many_addresses_is_slowed_down_by_the_account(attempts: Attempts) -> None:
    for number in range(7):
        assert await tried(attempts, right=False, address=f"198.51.100.{number}") == 0
    assert await tried(attempts, right=False, address="198.51.100.99") == 1000


async def test_guesser_with_many_accounts_is_slowed_down_by_its_address(attempts: Attempts, hits: Counter[str]) -> None:
    for number in range(9):
        assert await tried(attempts, right=False, email=f"{number}@example.test") == 0
    assert await tried(attempts, right=False, email="another@example.test") == 1000
    assert hits == {"login_address": 1}
    assert await tried(attempts, right=False, email="another@example.test", address=ELSEWHERE) == 0


async def test_clients_of_this_machine_are_counted_by_account_alone(attempts: Attempts) -> None:
    for number in range(100):
        assert await tried(attempts, right=False, email=f"{number}@example.test", address=None) == 0
        await attempts.registration(None)
    for _ in range(4):
        await tried(attempts, right=False, address=None)
    assert await tried(attempts, right=False, address=None)


async def test_who_guesses_on_many_connections_at_once_gets_no_more_than_are_free(attempts: Attempts) -> None:
    go_on = asyncio.Event()
    looked_at = 0

    async def guess() -> None:
        nonlocal looked_at
        async with attempts.password("ada@example.test", HOME) as attempt:
            looked_at += 1
            await go_on.wait()
            attempt.right = False

    guesses = [asyncio.create_task(guess()) for _ in range(200)]
    for _ in range(5):
        await asyncio.sleep(0)
    go_on.set()
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert looked_at == 3
    assert sum(isinstance(outcome, RequestError) for outcome in outcomes) == 197


async def looked_at_together(attempts: Attempts, asking: list[tuple[str, str]], *, right: bool) -> int:
    """How many of these emails and addresses that come at once are looked at."""
    go_on = asyncio.Event()

    async def ask(email: str, address: str) -> None:
        async with attempts.password(email, address) as attempt:
            await go_on.wait()
            attempt.right = right

    tasks = [asyncio.create_task(ask(*one)) for one in asking]
    for _ in range(5):
        await asyncio.sleep(0)
    go_on.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, RequestError) for outcome in outcomes)
    return outcomes.count(None)


async def test_address_that_tries_many_accounts_at_once_gets_no_more_than_are_free(attempts: Attempts) -> None:
    asking = [(f"{number}@example.test", HOME) for number in range(500)]
    assert await looked_at_together(attempts, asking, right=False) == 8


async def test_many_addresses_that_try_one_account_at_once_get_no_more_than_are_free(attempts: Attempts) -> None:
    asking = [("ada@example.test", f"198.51.100.{number}") for number in range(250)]
    assert await looked_at_together(attempts, asking, right=False) == 6


async def test_class_and_tabs_log_in_at_once(log: Log, seconds: Seconds) -> None:
    attempts = Attempts(None, SECRET, log, lambda _limit: None, clock=seconds)
    pupils = [(f"{number}@example.test", HOME) for number in range(40)]
    assert await looked_at_together(attempts, pupils, right=True) == 40
    assert await looked_at_together(attempts, [("ada@example.test", HOME)] * 10, right=True) == 10


async def test_after_the_free_ones_passwords_are_looked_at_one_by_one(attempts: Attempts, seconds: Seconds) -> None:
    for _ in range(4):
        await tried(attempts, right=False)
    seconds.now += 1
    async with attempts.password("ada@example.test", HOME):
        assert await tried(attempts, right=False) == 1000
    assert await tried(attempts, right=False) == 0


async def test_what_was_not_found_out_is_not_counted(attempts: Attempts) -> None:
    for _ in range(20):
        with suppress(ZeroDivisionError):
            async with attempts.password("ada@example.test", HOME):
                raise ZeroDivisionError
    assert await tried(attempts, right=False) == 0


async def test_registrations_of_an_address_are_slowed_down_and_forgiven(
    attempts: Attempts, seconds: Seconds, hits: Counter[str]
) -> None:
    for _ in range(5):
        await attempts.registration(HOME)
    with pytest.raises(RequestError) as caught:
        await attempts.registration(HOME)
    assert (caught.value.code, caught.value.retry_after_ms) == (ErrorCode.RATE_LIMITED, 1000)
    assert hits == {"register_address": 1}
    await attempts.registration(ELSEWHERE)
    seconds.now += 10
    for _ in range(4):
        await attempts.registration(HOME)


async def test_class_behind_one_address_registers_and_logs_in_without_waiting(
    seconds: Seconds, hits: Counter[str], log: Log
) -> None:
    attempts = Attempts(None, SECRET, log, lambda limit: hits.update([limit]), clock=seconds)
    for pupil in range(40):
        for mistyped in (False, False, True):
            await attempts.registration(HOME)
            assert await tried(attempts, right=mistyped, email=f"{pupil}@example.test") == 0
    assert not hits


async def test_log_names_address_and_digest_and_no_email(attempts: Attempts, capture: LogCapture) -> None:
    for _ in range(4):
        await tried(attempts, right=False)
    (line,) = capture.entries
    assert (line["event"], line["address"], line["seconds"]) == ("wrong passwords are slowed down", HOME, 1.0)
    assert "ada" not in str(line)


# A node's own counters


def test_counters_of_a_node_are_bounded() -> None:
    counts = LocalCounts(lambda: 0.0, most=100)
    for number in range(1000):
        counts.count([Counted(str(number), Escalation(1, 60, 1, 60))])
        counts.forget(f"gone {number}", f"mark {number}", 60)
    assert len(counts) == 100
    assert len(counts._marks) == 100


def test_delay_is_never_longer_than_the_longest_nor_shorter_with_more_tries() -> None:
    chance = random.Random(5)
    for _ in range(200):
        rule = Escalation(chance.randrange(5), 1e9, chance.uniform(0.1, 5), chance.uniform(5, 100))
        counts = LocalCounts(lambda: 0.0)
        delays = [counts.count([Counted("one", rule)])[0] for _ in range(60)]
        assert delays == sorted(delays)
        assert delays[: rule.free] == [0] * rule.free
        assert max(delays) == rule.longest_seconds


# Over all nodes


@pytest.fixture
async def shared(stores: Stores) -> AsyncIterator[AttemptCounts]:
    found = AttemptCounts.connect(stores.redis_url, str(uuid4()))
    yield found
    await found.close()


async def test_nodes_count_together(shared: AttemptCounts, hits: Counter[str], log: Log) -> None:
    one, other = (
        Attempts(shared, SECRET, log, lambda limit: hits.update([limit]), LIMITS, patience_seconds=10) for _ in range(2)
    )
    for node in (one, other, one, other):
        assert await tried(node, right=False) == 0
    assert 0 < await tried(one, right=False) <= 1000
    assert 0 < await tried(other, right=False) <= 1000


async def test_redis_holds_no_email_and_no_address(shared: AttemptCounts, log: Log) -> None:
    attempts = Attempts(shared, SECRET, log, lambda _limit: None, LIMITS, patience_seconds=10)
    await tried(attempts, right=False)
    await tried(attempts, right=True)
    await attempts.registration(HOME)
    keys = [key async for key in shared._redis.keys(f"{shared._prefix}:*", 100)]
    assert len(keys) == 4  # by account, by address, where the player is known, registrations
    assert not any("ada" in key or HOME in key for key in keys)


async def test_node_goes_by_what_it_knows_while_redis_hangs(
    redis_gate: Gate, hits: Counter[str], log: Log, seconds: Seconds
) -> None:
    counts = AttemptCounts.connect(redis_gate.url, str(uuid4()))
    attempts = Attempts(
        counts, SECRET, log, lambda limit: hits.update([limit]), LIMITS, clock=seconds, patience_seconds=0.02
    )
    redis_gate.hold()
    for _ in range(4):
        assert await tried(attempts, right=False) == 0
    assert await tried(attempts, right=False) == 1000
    redis_gate.let_pass()
    await redis_gate.shut()
    seconds.now += 10
    assert await tried(attempts, right=False, email="bob@example.test") == 0
    await counts.close()


async def test_redis_that_hangs_is_not_asked_again_for_a_while(redis_gate: Gate, log: Log, seconds: Seconds) -> None:
    counts = AttemptCounts.connect(redis_gate.url, str(uuid4()))
    asked = 0

    class Counting(AttemptCounts):
        async def look(self, *_: object) -> tuple[list[tuple[float, float]], bool]:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()
            raise AssertionError

    counting = Counting(counts._redis, counts._prefix)
    attempts = Attempts(counting, SECRET, log, lambda _limit: None, LIMITS, clock=seconds, patience_seconds=0.01)
    for _ in range(50):
        await tried(attempts, right=True)
    assert asked == 1
    seconds.now += 2
    await tried(attempts, right=True)
    assert asked == 2
    await counts.close()
