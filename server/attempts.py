"""Who has tried to log in or to register too often lately, and has to wait before any password is hashed.

Counted over all nodes in Redis, and here as well, by which this node goes while Redis does not answer. Delays grow by
account and address together, so that an attacker elsewhere does not lock a player out; the rule by account alone begins
much later, and does not hold where the player has logged in before. Open logins are never touched. See
docs/decisions/0016-limits.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from protocol.errors import ErrorCode, RequestError
from server.limits import milliseconds
from server.log import Log
from storage.attempts import AttemptCounts, Counted, Escalation
from storage.postgres import StoreUnavailable

T = TypeVar("T")

#: Wrong passwords for an account from one address that are free: who has forgotten it tries some, and thirty of a
#: million guess nobody's. One is forgiven each minute.
FAILURES_PER_ACCOUNT: Final = 30
#: The same for an account from anywhere (NIST SP 800-63B, 3.2.2, has a hundred as the most).
FAILURES_PER_ACCOUNT_ANYWHERE: Final = 100
#: The same for an address, whatever the accounts: a school where everybody mistypes some times. One is forgiven in ten
#: seconds.
FAILURES_PER_ADDRESS: Final = 200
#: Accounts that an address may make at once, and then one each two seconds: some classes that begin together.
REGISTRATIONS_PER_ADDRESS: Final = 300
#: Seconds that a delay grows up to. Longer would help guessers little less, and hurt those who are no guessers more.
LONGEST_DELAY_SECONDS: Final = 300.0
#: Seconds for Redis to answer, which a login waits for at most twice; then this node goes by what it knows itself ...
PATIENCE_SECONDS: Final = 0.1
#: ... and does not ask for so long.
_REST_SECONDS: Final = 1.0
#: Seconds to wait for whoever has as many passwords under way as wrong ones are free.
_UNDER_WAY_SECONDS: Final = 1.0
#: How long an address counts as one where the player has logged in.
_KNOWN_SECONDS: Final = 30 * 24 * 3600
#: Counters that a node keeps for itself, some 300 bytes each.
_KEPT: Final = 10_000
_DIGEST_BYTES: Final = 16
#: What stands in for the address of clients of this machine.
_HERE: Final = "here"


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """See the constants for units and reasons."""

    account: int = FAILURES_PER_ACCOUNT
    account_anywhere: int = FAILURES_PER_ACCOUNT_ANYWHERE
    address: int = FAILURES_PER_ADDRESS
    registrations: int = REGISTRATIONS_PER_ADDRESS
    longest_delay_seconds: float = LONGEST_DELAY_SECONDS


class LocalCounts:
    """What storage/attempts.py does, for this node alone, by a clock in seconds; the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float], most: int = _KEPT) -> None:
        self._clock = clock
        self._most = most
        #: count, until
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._marks: OrderedDict[str, float] = OrderedDict()

    def look(self, counted: Sequence[Counted], mark: str | None) -> tuple[list[tuple[float, float]], bool]:
        """Of each: seconds to wait, and the count; and whether the mark is set."""
        now = self._clock()
        answers = []
        for one in counted:
            count, until = self._held.get(one.name, (0.0, now))
            answers.append((max(0.0, until - now), max(0.0, count - max(0.0, now - until) / one.rule.forgive_seconds)))
        return answers, mark is not None and self._marks.get(mark, now) > now

    def count(self, counted: Sequence[Counted]) -> list[float]:
        """One more try of each; gives the delays from now on, in seconds."""
        now = self._clock()
        delays = []
        for one, (_, count) in zip(counted, self.look(counted, None)[0], strict=True):
            over = count + 1 - one.rule.free
            delay = 0.0
            if over > 0:
                delay = min(one.rule.longest_seconds, one.rule.first_seconds * 2 ** min(over - 1, 30))
            _keep(self._held, one.name, (count + 1, now + delay), self._most)
            delays.append(delay)
        return delays

    def forget(self, name: str, mark: str, mark_seconds: int) -> None:
        """The counter starts from nothing, and the mark is set for so long."""
        self._held.pop(name, None)
        _keep(self._marks, mark, self._clock() + mark_seconds, self._most)

    def __len__(self) -> int:
        return len(self._held)


class Attempts:
    """Asked before a password is looked at, and told what came of it."""

    def __init__(
        self,
        shared: AttemptCounts | None,
        secret: str,
        log: Log,
        hit: Callable[[str], None],
        limits: AttemptLimits | None = None,
        *,
        clock: Callable[[], float] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`secret` keys the digests that stand for emails and addresses; `hit` is told the name of each limit that has
        refused somebody; `clock` gives seconds, of the loop by default."""
        limits = limits or AttemptLimits()
        longest = limits.longest_delay_seconds
        self._shared = shared
        self._key = hmac.digest(secret.encode(), b"attempts", "sha256")
        self._log = log
        self._hit = hit
        self._clock = clock or asyncio.get_running_loop().time
        self._patience = patience_seconds
        self._local = LocalCounts(self._clock)
        self._rest_until = 0.0
        self._under_way: Counter[str] = Counter()
        self._here = Escalation(limits.account, 60.0, 1.0, longest)
        self._anywhere = Escalation(limits.account_anywhere, 30.0, 1.0, longest)
        self._address = Escalation(limits.address, 10.0, 1.0, longest)
        self._registrations = Escalation(limits.registrations, 2.0, 1.0, longest)

    @asynccontextmanager
    async def password(self, email: str, address: str | None) -> AsyncIterator[Try]:
        """Around looking at a password for the account of this email, for a client of that address. Raises RequestError
        (`rate_limited`) when it has to wait first; a right password is not looked at then either. What is neither
        called right nor wrong inside is not counted."""
        account = email.strip().casefold()
        pair = self._digest("pair", account, address or _HERE)
        known = self._digest("known", account, address or _HERE)
        counted = [Counted(pair, self._here), Counted(self._digest("account", account), self._anywhere)]
        names = ["login_account", "login_account"]
        if address is not None:
            counted.append(Counted(self._digest("logins", address), self._address))
            names.append("login_address")
        states, is_known = await self._look(counted, known)
        if is_known:
            # Whoever guesses elsewhere does not keep the player out here.
            states[1] = (0.0, 0.0)
        self._refuse(names, [wait for wait, _ in states])
        # What is under way may all be wrong. What this node has counted while Redis answered is not in that answer yet.
        here, _ = self._local.look(counted, None)
        for index, (one, name) in enumerate(zip(counted, names, strict=True)):
            count = max(states[index][1], here[index][1])
            exempt = is_known and index == 1
            if not exempt and self._under_way[one.name] >= max(1, one.rule.free - count):
                self._refuse([name], [_UNDER_WAY_SECONDS])
        for one in counted:
            self._under_way[one.name] += 1
        attempt = Try()
        try:
            yield attempt
        finally:
            for one in counted:
                self._under_way[one.name] -= 1
                if not self._under_way[one.name]:
                    del self._under_way[one.name]
        if attempt.right:
            await self._forget(pair, known)
        elif attempt.right is False:
            delays = await self._count(counted)
            if max(delays) > 0:
                self._log.warning(
                    "wrong passwords are slowed down",
                    account=counted[1].name,
                    address=address,
                    seconds=round(max(delays), 1),
                )

    async def registration(self, address: str | None) -> None:
        """A client of this address wants to register. Raises RequestError (`rate_limited`) when it has to wait."""
        if address is None:
            return
        counted = [Counted(self._digest("registrations", address), self._registrations)]
        states, _ = await self._look(counted, None)
        self._refuse(["register_address"], [wait for wait, _ in states])
        (delay,) = await self._count(counted)
        if delay > 0:
            self._log.warning("registrations are slowed down", address=address, seconds=round(delay, 1))

    def _refuse(self, names: Sequence[str], waits: Sequence[float]) -> None:
        wait, name = max(zip(waits, names, strict=True))
        if wait > 0:
            self._hit(name)
            raise RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=milliseconds(wait))

    async def _look(self, counted: Sequence[Counted], mark: str | None) -> tuple[list[tuple[float, float]], bool]:
        if self._shared is not None and self._clock() >= self._rest_until:
            try:
                async with asyncio.timeout(self._patience):
                    return await self._shared.look(counted, mark)
            except (StoreUnavailable, TimeoutError):
                self._rest_until = self._clock() + _REST_SECONDS
        return self._local.look(counted, mark)

    async def _count(self, counted: Sequence[Counted]) -> list[float]:
        # Always here, too: Redis may go away at any time.
        delays = self._local.count(counted)
        if self._shared is not None and self._clock() >= self._rest_until:
            try:
                async with asyncio.timeout(self._patience):
                    return await self._shared.count(counted)
            except (StoreUnavailable, TimeoutError):
                self._rest_until = self._clock() + _REST_SECONDS
        return delays

    async def _forget(self, name: str, mark: str) -> None:
        self._local.forget(name, mark, _KNOWN_SECONDS)
        if self._shared is not None and self._clock() >= self._rest_until:
            try:
                async with asyncio.timeout(self._patience):
                    await self._shared.forget(name, mark, _KNOWN_SECONDS)
            except (StoreUnavailable, TimeoutError):
                self._rest_until = self._clock() + _REST_SECONDS

    def _digest(self, kind: str, *parts: str) -> str:
        # Redis is to hold no email and no address that could be read, or guessed without the secret.
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        keyed = hashlib.blake2b(text, digest_size=_DIGEST_BYTES, key=self._key, person=kind.encode())
        return f"{kind}:{keyed.hexdigest()}"


class Try:
    """What became of a password: right, wrong, or (None) it was not found out."""

    right: bool | None = None


def _keep(held: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    held[name] = value
    held.move_to_end(name)
    if len(held) > most:
        held.popitem(last=False)
