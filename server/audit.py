"""The whole audit: the log against the tables, and those against the boards in Redis; and what rebuilds them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from game.fingerprint import Fingerprint, PackedBoard
from game.ranking import BOARDS, Entry, has_period
from server.clock import Clock
from server.nodes import notice_of
from storage.audit import Moment, one_moment
from storage.board_audit import BoardAudit, Suspects
from storage.boards import Boards, LadderMissing
from storage.findings import Difference, Part
from storage.kept_boards import KeptBoards
from storage.ladders import Ladders
from storage.mending import mend
from storage.notices import Notices
from storage.postgres import Postgres, StoreUnavailable
from storage.redis_nodes import RedisUnavailable

#: Who differs at each of so many looks, with so many seconds between two, differs. The boards are a second behind at
#: most, on a busy machine some more.
LOOKS: Final = 3
PAUSE_SECONDS: Final = 2.0
#: Differences that are kept to be shown; the others are counted.
MAX_SHOWN: Final = 1000
_TRIES: Final = 10


class Standing(StrEnum):
    """How a ladder in Redis stands to PostgreSQL."""

    AGREES = "agree"
    CHANGED = "agree, changed while it was read"
    DIFFERS = "differ"
    NOT_BUILT = "not built"
    MISSING = "not in Redis"
    NOT_LOOKED_AT = "not looked at"


@dataclass(slots=True)
class LadderReport:
    """One ladder: the hashes of its board by the log, by PostgreSQL, and by Redis (None where it has none)."""

    ladder: str
    log: Fingerprint
    postgres: Fingerprint
    redis: Fingerprint | None = None
    standing: Standing = Standing.NOT_LOOKED_AT


@dataclass(slots=True)
class Report:
    """What an audit has found. `differences` are the first of `count`; `no_redis` says why Redis was not looked at."""

    players: int = 0
    events: int = 0
    sessions: int = 0
    entries: int = 0
    ladders: list[LadderReport] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    no_redis: str | None = None
    seconds: float = 0.0

    def add(self, differences: Collection[Difference]) -> None:
        """More of them."""
        self.count += len(differences)
        self.differences += list(differences)[: MAX_SHOWN - len(self.differences)]


@dataclass(frozen=True, slots=True)
class RedisSide:
    """What the audit needs of Redis."""

    boards: KeptBoards
    notices: Notices


class Audit:
    """One audit of the whole database. Raises StoreUnavailable when PostgreSQL cannot be looked at; where Redis cannot,
    its part is left out and the report says so."""

    def __init__(
        self,
        database_url: str,
        postgres: Postgres,
        redis: RedisSide | None,
        clock: Clock,
        *,
        ladder: str | None = None,
        no_redis: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Of entries and boards only those of `ladder` are compared, if it is given. `no_redis`: why there is none."""
        self._sleep = sleep
        self._database_url = database_url
        self._ladders = Ladders(postgres)
        self._redis = redis
        self._clock = clock
        self._only = ladder
        self._report = Report(no_redis=None if redis is not None else no_redis)
        self._suspects: dict[str, Suspects] = {}
        self._by_name: dict[str, LadderReport] = {}

    async def run(self) -> Report:
        """Look at everything."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with one_moment(self._database_url) as moment:
            expected = await self._replay(moment)
            names = {*expected, *await moment.ladders(), *await self._ladders_in_redis()}
            for name in sorted(names if self._only is None else names & {self._only}):
                board = LadderReport(name, expected.pop(name, PackedBoard()).fingerprint(), Fingerprint())
                await self._compare(moment, board)
                self._report.ladders.append(board)
                self._by_name[name] = board
        await self._look_again()
        self._report.seconds = loop.time() - begun
        return self._report

    async def _replay(self, moment: Moment) -> dict[str, PackedBoard]:
        """Replay every log; gives the boards that they lead to."""
        report, expected = self._report, dict[str, PackedBoard]()
        async for found in moment.players():
            report.players += found.account is not None
            report.events += found.events
            report.sessions += found.account is not None and found.account.row is not None
            report.entries += len(found.kept)
            report.add([each for each in found.differences if self._only in (None, each.ladder) or each.ladder is None])
            for ladder, kept in found.expected.items():
                if not kept.removed and self._only in (None, ladder):
                    expected.setdefault(ladder, PackedBoard()).add(kept.entry)
        return expected

    async def _ladders_in_redis(self) -> list[str]:
        if self._redis is None:
            return []
        try:
            return await self._redis.boards.ladders()
        except RedisUnavailable as error:
            self._lost(error)
            return []

    def _lost(self, error: StoreUnavailable) -> None:
        self._redis = None
        self._report.no_redis = str(error)

    async def _compare(self, moment: Moment, board: LadderReport) -> None:
        async def truth() -> AsyncIterator[list[Entry]]:
            async for chunk in moment.board(board.ladder):
                for entry in chunk:
                    board.postgres.add(entry)
                yield chunk

        chunks = truth()
        if self._redis is not None:
            look = BoardAudit(self._redis.boards, self._ladders)
            try:
                removed = await moment.removed(board.ladder)
                board.redis, suspects = await look.compare(board.ladder, chunks, removed)
                if suspects:
                    self._suspects[board.ladder] = suspects
                same = board.redis.hexdigest() == board.postgres.hexdigest()
                board.standing = Standing.AGREES if same else Standing.CHANGED
            except LadderMissing:
                board.standing = Standing.NOT_BUILT
            except RedisUnavailable as error:
                self._lost(error)
        # What Redis was not there to be compared with.
        async for _ in chunks:
            pass

    async def _look_again(self) -> None:
        """Look at whatever differs until it does not, or has differed at every look."""
        missing = {board.ladder(self._clock()) for board in BOARDS.values()}
        found: list[Difference] = []
        try:
            for look in range(LOOKS):
                if self._redis is None:
                    return
                if look:
                    await self._sleep(PAUSE_SECONDS)
                found = []
                for ladder in list(self._suspects):
                    found += await self._look(BoardAudit(self._redis.boards, self._ladders), ladder)
                missing = await self._missing(self._redis, missing)
                if not self._suspects and not missing:
                    return
        except RedisUnavailable as error:
            self._lost(error)
            return
        for ladder in sorted(missing):
            found.append(Difference(Part.REDIS, "it is shown now, and not in Redis", None, ladder))
            if ladder in self._by_name:
                self._by_name[ladder].standing = Standing.MISSING
        self._report.add(found)

    async def _look(self, audit: BoardAudit, ladder: str) -> list[Difference]:
        try:
            self._suspects[ladder], differences = await audit.look(ladder, self._suspects[ladder])
        except LadderMissing:
            del self._suspects[ladder]
            self._by_name[ladder].standing = Standing.NOT_BUILT
            return []
        if not self._suspects[ladder]:
            del self._suspects[ladder]
        # In whatever way it ends: if they go, it has changed.
        self._by_name[ladder].standing = Standing.DIFFERS if differences else Standing.CHANGED
        return differences

    async def _missing(self, redis: RedisSide, ladders: Collection[str]) -> set[str]:
        """Which of these ladders a running server should have in Redis, and has not."""
        if not ladders or not await redis.notices.listeners():
            return set()
        return {ladder for ladder in ladders if self._only in (None, ladder)} - set(await redis.boards.ladders())


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild has come to: how many differences were mended, how many cannot be, and the ladders that were
    rebuilt (None: Redis could not be reached)."""

    mended: int = 0
    left: int = 0
    players: set[int] = field(default_factory=set)
    sessions: int = 0
    ladders: list[str] | None = None


async def rebuild(
    database_url: str,
    postgres: Postgres,
    boards: Boards | None,
    redis: RedisSide | None,
    tell: Callable[[str], None],
    *,
    only_look: bool = False,
) -> Rebuilt:
    """Make sessions and entries again where they differ from the log, then every ladder that Redis has. One line for
    each goes to `tell`. `only_look` changes nothing. Raises StoreUnavailable when PostgreSQL goes away; what was told
    until then is done."""
    done = Rebuilt()
    different: dict[int, set[str]] = {}
    async with one_moment(database_url) as moment:
        async for found in moment.players():
            if not found.differences:
                continue
            if only_look:
                _tell(found.differences, done, tell, "would mend")
            else:
                different[found.number] = {each.ladder for each in found.differences if each.ladder is not None}
    for number, ladders in different.items():
        differences = await mend(postgres, number, ladders)
        _tell(differences, done, tell, "mended")
        if any(each.mendable for each in differences):
            done.players.add(number)
    if boards is not None and redis is not None:
        try:
            done.ladders = await _rebuild_boards(boards, redis, Ladders(postgres), done.players, tell, only_look)
        except RedisUnavailable:
            done.ladders = None
    return done


def _tell(differences: Collection[Difference], done: Rebuilt, tell: Callable[[str], None], word: str) -> None:
    for difference in differences:
        if difference.mendable:
            done.mended += 1
            done.sessions += difference.part is Part.SESSION
            tell(f"{word}: {difference}")
        else:
            done.left += 1
            tell(f"cannot be mended: {difference}")


async def _rebuild_boards(
    boards: Boards,
    redis: RedisSide,
    ladders: Ladders,
    players: Collection[int],
    tell: Callable[[str], None],
    only_look: bool,
) -> list[str]:
    names = await redis.boards.ladders()
    for name in names:
        if only_look:
            tell(f"would rebuild: {name}")
            continue
        for _ in range(_TRIES):
            # A server may be faster, and may have read the entries before they were mended.
            horizon = await ladders.horizon()
            if await boards.rebuild(name, horizon, ladders.entries(name), has_period=has_period(name)):
                break
        else:
            raise RedisUnavailable(f"{name} is rebuilt by others all the time")
        tell(f"rebuilt: {name}")
    if not only_look:
        await redis.notices.publish(notice_of("rebuild", names, players))
    return names
