"""Passwords: the loop goes on, the queue ends, and an unknown email costs what a wrong password costs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator

import bcrypt
import pytest

from protocol.errors import ErrorCode, RequestError
from server.passwords import MAX_WAITING, MAX_WAITING_OF_ONE, Passwords
from tests.server.fakes import DEADLINE, until

COST = 5


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    found = Passwords(COST, threads=1)
    yield found
    found.close()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that bcrypt was really called with."""
    hashes: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, known: bytes) -> bool:
        hashes.append(known)
        return real(password, known)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return hashes


def cost_of(known: bytes) -> int:
    return int(known.split(b"$")[2])


class Work:
    """bcrypt that works until it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.started = threading.Semaphore(0)
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, password: bytes, _known: bytes) -> bool:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.started.release()
        let_go = self.go_on.wait(DEADLINE)
        with self._lock:
            self.running -= 1
        return let_go


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    found = Work()
    monkeypatch.setattr(bcrypt, "checkpw", found)
    yield found
    found.go_on.set()


async def test_password_matches_its_own_hash_only(passwords: Passwords) -> None:
    kept = await passwords.hash("correct horse")
    assert await passwords.check("correct horse", kept)
    assert not await passwords.check("correct horsf", kept)
    assert not await passwords.check("", kept)


async def test_hash_has_the_cost_of_the_setting_and_a_salt_of_its_own(passwords: Passwords) -> None:
    one, other = await passwords.hash("correct horse"), await passwords.hash("correct horse")
    assert cost_of(one.encode()) == COST
    assert one != other


async def test_unknown_email_costs_what_a_wrong_password_costs(passwords: Passwords, checked: list[bytes]) -> None:
    kept = await passwords.hash("correct horse")
    assert not await passwords.check("wrong horse", kept)
    assert not await passwords.check("wrong horse", None)
    assert [cost_of(known) for known in checked] == [COST, COST]


@pytest.mark.parametrize("password", ["x" * 73, "ä" * 37, "with\0nul", ""])
async def test_password_that_cannot_be_anybodys_costs_the_same(
    passwords: Passwords, checked: list[bytes], password: str
) -> None:
    kept = await passwords.hash("correct horse")
    assert not await passwords.check(password, kept)
    assert not await passwords.check(password, None)
    assert [cost_of(known) for known in checked] == [COST, COST]


async def test_longer_password_is_not_cut_to_one_that_matches(passwords: Passwords) -> None:
    kept = await passwords.hash("x" * 72)
    assert await passwords.check("x" * 72, kept)
    assert not await passwords.check("x" * 73, kept)


async def test_nobodys_hash_is_no_door(passwords: Passwords) -> None:
    for password in ("", "x", "password", "nobody"):
        assert not await passwords.check(password, None)


async def test_loop_goes_on_while_bcrypt_works(passwords: Passwords, work: Work) -> None:
    checking = asyncio.create_task(passwords.check("password", "hash"))
    await asyncio.to_thread(work.started.acquire)
    beats = 0
    while beats < 1000:
        await asyncio.sleep(0)
        beats += 1
    # Only a loop that was never blocked gets here to let bcrypt go; a blocked one finds it timed out.
    assert not checking.done()
    work.go_on.set()
    assert await checking


async def test_no_more_run_at_once_than_there_are_threads(work: Work) -> None:
    passwords = Passwords(COST, threads=2)
    checks = [asyncio.create_task(passwords.check("password", "hash")) for _ in range(10)]
    for _ in range(2):
        await asyncio.to_thread(work.started.acquire)
    work.go_on.set()
    assert all(await asyncio.gather(*checks))
    assert work.most == 2
    passwords.close()


async def test_queue_is_bounded_and_works_again_afterwards(passwords: Passwords, work: Work) -> None:
    checks = [asyncio.create_task(passwords.check("password", "hash")) for _ in range(MAX_WAITING + 1)]
    await asyncio.sleep(0)
    with pytest.raises(RequestError) as caught:
        await passwords.check("password", "hash")
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.retryable
    assert caught.value.retry_after_ms
    work.go_on.set()
    assert all(await asyncio.gather(*checks))
    assert await passwords.check("password", "hash")


async def test_client_that_goes_away_leaves_its_place_in_the_queue(passwords: Passwords, work: Work) -> None:
    checks = [asyncio.create_task(passwords.check("password", "hash")) for _ in range(MAX_WAITING + 1)]
    await asyncio.sleep(0)
    for check in checks[1:]:
        check.cancel()
    await asyncio.gather(*checks[1:], return_exceptions=True)
    waiting = asyncio.create_task(passwords.check("password", "hash"))
    await asyncio.sleep(0)
    assert not waiting.done()  # it waits for its turn; a full queue would have refused it
    work.go_on.set()
    assert await waiting
    assert await checks[0]


async def test_flood_from_one_address_does_not_shut_the_others_out(passwords: Passwords, work: Work) -> None:
    flood = [asyncio.create_task(passwords.check("password", None, "203.0.113.7")) for _ in range(MAX_WAITING + 100)]
    await asyncio.sleep(0)
    assert passwords.waiting() == MAX_WAITING_OF_ONE
    honest = asyncio.create_task(passwords.check("password", "hash", "198.51.100.1"))
    await asyncio.sleep(0)
    work.go_on.set()
    assert await honest
    assert passwords.waiting() > MAX_WAITING_OF_ONE - 10  # it was not behind them
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(outcome, RequestError) for outcome in outcomes) == MAX_WAITING + 100 - MAX_WAITING_OF_ONE - 1


async def test_threads_yield_to_play(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    def niceness(_password: bytes, _known: bytes) -> bool:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) > os.getpriority(os.PRIO_PROCESS, os.getpid())

    monkeypatch.setattr(bcrypt, "checkpw", niceness)
    assert await passwords.check("password", "hash")


async def test_close_drops_what_waits(work: Work) -> None:
    passwords = Passwords(COST, threads=1)
    checks: list[asyncio.Task[bool]] = [asyncio.create_task(passwords.check("password", "hash")) for _ in range(3)]
    await asyncio.to_thread(work.started.acquire)
    passwords.close()
    done: Callable[[], bool] = lambda: all(check.done() for check in checks[1:])  # noqa: E731
    await until(done, "what waited is dropped")
    assert all(check.cancelled() for check in checks[1:])
    work.go_on.set()
    assert await checks[0]
