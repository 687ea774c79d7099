"""`python run_server.py audit` and `… rebuild`: does everything follow from the log, and make it so."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TextIO

from game.ranking import BOARDS
from server.audit import Audit, LadderReport, RedisSide, Report, Standing, rebuild
from server.clock import utc_now
from server.command_line import EXIT_DIFFERENT, EXIT_OK, EXIT_REFUSED, Refused, printable, table
from server.command_stores import CommandStores, stores_of
from server.settings import Settings
from storage.boards import Boards
from storage.kept_boards import KeptBoards
from storage.ladders import Ladders
from storage.notices import Notices

AUDIT_HELP: Final = "Replay every log, and compare sessions, entries and the boards in Redis with it."
REBUILD_HELP: Final = "Make sessions, entries and the boards in Redis again from the log."
_AUDIT_ENDS: Final = "Exit code: 0 no differences, 1 differences, 2 refused, or not everything could be looked at."
_REBUILD_ENDS: Final = (
    "Exit code: 0 all is mended, 1 something cannot be (with --dry-run: there is something to mend), 2 refused, or not "
    "everything could be done."
)
#: Lines of differences; as many go into JSON as the audit keeps.
_MAX_LINES: Final = 100


def add_audit(parser: argparse.ArgumentParser) -> None:
    """The arguments of `audit`."""
    parser.epilog = _AUDIT_ENDS
    parser.add_argument(
        "--ladder", metavar="NAME", help="compare entries and boards of this one only: weekly:4, or weekly:4@2026-11-23"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object")


def add_rebuild(parser: argparse.ArgumentParser) -> None:
    """The arguments of `rebuild`."""
    parser.epilog = _REBUILD_ENDS
    parser.add_argument("--dry-run", action="store_true", help="say what would be mended, and change nothing")


async def run_audit(settings: Settings, given: argparse.Namespace, output: TextIO) -> int:
    """Do what `audit` says; gives the exit code. Raises what a command is refused with (server/operator.py)."""
    ladder = None if given.ladder is None else _ladder_named(given.ladder)
    async with stores_of(settings) as stores, _redis_of(stores) as (redis, _):
        audit = Audit(stores.database_url, stores.postgres, redis, utc_now, ladder=ladder, no_redis=stores.no_redis)
        report = await audit.run()
    if given.json:
        json.dump(_as_json(report), output, indent=1)
        output.write("\n")
    else:
        _write(report, output)
    if report.no_redis is not None:
        return EXIT_REFUSED
    return EXIT_DIFFERENT if report.count else EXIT_OK


async def run_rebuild(settings: Settings, given: argparse.Namespace, output: TextIO) -> int:
    """Do what `rebuild` says; gives the exit code. Raises what a command is refused with."""

    def tell(line: str) -> None:
        output.write(f"{printable(line)}\n")
        output.flush()

    async with stores_of(settings) as stores, _redis_of(stores) as (redis, boards):
        done = await rebuild(stores.database_url, stores.postgres, boards, redis, tell, only_look=given.dry_run)
    if done.ladders is None:
        tell(f"Redis: not rebuilt ({stores.no_redis or 'Redis does not answer'})")
    if done.sessions and not given.dry_run:
        tell("servers that were running keep these players' old sessions in memory until they are restarted")
    head = ("to mend" if given.dry_run else "mended", "cannot be mended", "ladders")
    table(output, head, [(done.mended, done.left, None if done.ladders is None else len(done.ladders))])
    if done.ladders is None:
        return EXIT_REFUSED
    return EXIT_DIFFERENT if done.left or (given.dry_run and done.mended) else EXIT_OK


def _ladder_named(name: str) -> str:
    """A ladder's own name; a board's stands for the ladder that it shows now."""
    board = BOARDS.get(name.partition("@")[0])
    if board is None:
        raise Refused(f"--ladder: there is no board {name!r}")
    return name if "@" in name else board.ladder(utc_now())


@asynccontextmanager
async def _redis_of(stores: CommandStores) -> AsyncIterator[tuple[RedisSide | None, Boards | None]]:
    if stores.redis_url is None:
        yield None, None
        return
    deployment = str(await Ladders(stores.postgres).deployment())
    try:
        kept = KeptBoards.connect(stores.redis_url, deployment)
    except ValueError as error:
        raise Refused(f"REDIS_URL: {error}") from None
    boards, notices = Boards.connect(stores.redis_url, deployment), Notices.connect(stores.redis_url, deployment)
    try:
        yield RedisSide(kept, notices), boards
    finally:
        await kept.close()
        await boards.close()
        await notices.close()


def _write(report: Report, output: TextIO) -> None:
    rows = [(board.ladder, board.log.entries, *_hashes(board), _standing(board)) for board in report.ladders]
    if rows:
        table(output, ("ladder", "entries", "log", "PostgreSQL", "Redis", ""), rows)
        output.write("\n")
    for difference in report.differences[:_MAX_LINES]:
        output.write(f"{printable(str(difference))}\n")
    if report.count > _MAX_LINES:
        output.write(f"… and {report.count - _MAX_LINES} more\n")
    if report.no_redis is not None:
        output.write(f"Redis: not looked at ({printable(report.no_redis)})\n")
    table(
        output,
        ("players", "events", "sessions", "entries", "ladders", "differences", "seconds"),
        [
            (
                report.players,
                report.events,
                report.sessions,
                report.entries,
                len(report.ladders),
                report.count,
                round(report.seconds, 1),
            )
        ],
    )


def _hashes(board: LadderReport) -> tuple[object, object, object]:
    """The three, or the one that all have in the first column."""
    log, postgres = board.log.hexdigest(), board.postgres.hexdigest()
    redis = None if board.redis is None else board.redis.hexdigest()
    return (log, "", "") if log == postgres and redis in (log, None) else (log, postgres, redis)


def _standing(board: LadderReport) -> str:
    if board.log.hexdigest() != board.postgres.hexdigest():
        return Standing.DIFFERS
    return board.standing


def _as_json(report: Report) -> dict[str, object]:
    return {
        "players": report.players,
        "events": report.events,
        "sessions": report.sessions,
        "entries": report.entries,
        "seconds": round(report.seconds, 3),
        "redis": "looked at" if report.no_redis is None else f"not looked at ({report.no_redis})",
        "differences": report.count,
        "shown": [
            {
                "part": difference.part,
                "ladder": difference.ladder,
                "number": difference.number,
                "what": difference.what,
                "mendable": difference.mendable,
            }
            for difference in report.differences
        ],
        "ladders": [
            {
                "ladder": board.ladder,
                "entries": board.log.entries,
                "log": board.log.hexdigest(),
                "postgresql": board.postgres.hexdigest(),
                "redis": None if board.redis is None else board.redis.hexdigest(),
                "standing": _standing(board),
            }
            for board in report.ladders
        ],
    }
