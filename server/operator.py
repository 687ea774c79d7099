"""`python run_server.py players ada` and the like: what operators do, from the command line of the server's machine."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TextIO
from uuid import UUID

from pydantic import ValidationError

from protocol.admin_messages import ReasonData
from server.audit_command import AUDIT_HELP, REBUILD_HELP, add_audit, add_rebuild, run_audit, run_rebuild
from server.clock import utc_now
from server.command_line import EXIT_OK, EXIT_REFUSED, Parser, Refused, table
from server.command_stores import postgres_of
from server.config_command import CONFIG_HELP, add_config, run_config
from server.migrate_command import MIGRATE_HELP, add_migrate, run_migrate
from server.settings import SettingError, parse_settings
from storage.accounts import AccountGone
from storage.data_folder import EmbeddedStoresError
from storage.operators import KnownPlayer, Operators
from storage.postgres import StoreUnavailable
from storage.schema import SchemaError
from storage.sessions import PlayerUnknown

DEFAULT_URL: Final = "http://127.0.0.1:8080"
#: Seconds between the two looks at /metrics, and how long the server may take for one.
LOOK_SECONDS: Final = 1.0
_SCRAPE_SECONDS: Final = 5.0

Metrics = Mapping[tuple[str, str], float]
Command = Callable[[Operators, argparse.Namespace, TextIO], Awaitable[None]]


def run(arguments: Sequence[str], output: TextIO = sys.stdout) -> int:
    """Do what one command says; gives the exit code: 0, or 2 for what was refused, with one line on standard error;
    `audit` and `rebuild` have a 1 of their own."""
    try:
        given = _parser().parse_args(arguments)
        if given.command == "figures":
            _show_figures(given.url, output)
        elif given.command == "config":
            return run_config(given, output)
        elif given.command == "audit":
            return asyncio.run(run_audit(parse_settings([]), given, output))
        elif given.command == "migrate":
            asyncio.run(run_migrate(parse_settings([]), given, output))
        elif given.command == "rebuild":
            return asyncio.run(run_rebuild(parse_settings([]), given, output))
        else:
            asyncio.run(_with_operators(given, output))
    except (Refused, SettingError, EmbeddedStoresError, SchemaError) as error:
        return _refuse(str(error))
    except PlayerUnknown as error:
        return _refuse(f"there is no such account: {error}")
    except AccountGone:
        return _refuse("this account was deleted")
    except StoreUnavailable as error:
        return _refuse(f"PostgreSQL does not answer ({str(error).partition(chr(10))[0]})")
    return EXIT_OK


def _refuse(text: str) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"Brain Game: {line}\n")
    return EXIT_REFUSED


def list_commands() -> str:
    """Every command in a line with what it does, for `--help` of the server."""
    commands = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    names = [(one.dest, one.help or "") for one in commands._choices_actions]
    names.append(("conformance", "A scripted server for authors of clients."))
    lines = [f"  {name:<20} {text}" for name, text in names]
    return "\n".join(["commands (each has a --help of its own):", *lines])


def _parser() -> Parser:
    parser = Parser(
        prog="run_server.py",
        description="What operators do. The database is that of the server's settings: DATABASE_URL, or the embedded "
        "one of BRAINGAME_DATA_DIR, whether a server runs on it or not.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)

    for name, help_text in (
        ("grant-admin", "Let a player use /admin."),
        ("withdraw-admin", "Let a player use /admin no more."),
    ):
        granting = command(name, help_text)
        granting.add_argument("email", metavar="EMAIL")
        granting.add_argument("--reason", metavar="TEXT", help="kept in the record")
    command("players", "Find players by number, or by a part of name or email.").add_argument("find", metavar="FIND")
    log = command("session-log", "A player's session, step by step.")
    log.add_argument("number", metavar="NUMBER", type=_number)
    log.add_argument("session_id", metavar="SESSION_ID", type=_session_id, nargs="?", help="the last one by default")
    for name, help_text in (
        ("take-off-boards", "Take a player off every board, from now on too."),
        ("put-back-on-boards", "Show a player on the boards again."),
        ("revoke-logins", "End every login of a player."),
    ):
        acting = command(name, help_text)
        acting.add_argument("number", metavar="NUMBER", type=_number)
        acting.add_argument("--reason", metavar="TEXT", required=True, help="kept in the record")
    command("acts", "What operators have done, the newest first.")
    figures = command("figures", "What a running server does in one second.")
    figures.add_argument("--url", default=DEFAULT_URL, help=f"where it is ({DEFAULT_URL})")
    add_config(command("config", CONFIG_HELP))
    add_migrate(command("migrate", MIGRATE_HELP))
    add_audit(command("audit", AUDIT_HELP))
    add_rebuild(command("rebuild", REBUILD_HELP))
    return parser


def _number(text: str) -> int:
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise argparse.ArgumentTypeError(f"{text!r} is not a player's number")
    return int(digits)


def _session_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a session's id") from None


# Commands on the database


async def _with_operators(given: argparse.Namespace, output: TextIO) -> None:
    if getattr(given, "reason", None) is not None:
        given.reason = _checked_reason(given.reason)
    async with postgres_of(parse_settings([])) as postgres:
        await _COMMANDS[given.command](Operators(postgres), given, output)


def _checked_reason(text: str) -> str:
    try:
        return ReasonData(reason=text).reason
    except ValidationError as error:
        raise Refused(f"--reason: {error.errors()[0]['msg']}") from None


async def _grant(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    player = await operators.grant_admin(given.email, None, given.reason or "", utc_now())
    output.write(f"{_name(player)} may use /admin\n")


async def _withdraw(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    player = await operators.withdraw_admin(given.email, None, given.reason or "", utc_now())
    output.write(f"{_name(player)} may use /admin no more\n")


async def _find(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    players = await operators.find(given.find)
    if not players:
        raise Refused(f"there is no account with {given.find!r} in name or email, or as its number")
    rows = [
        (player.number, player.username, player.email, player.registered_at, player.off_boards, player.is_admin)
        for player in players
    ]
    table(output, ("number", "username", "email", "registered", "off boards", "admin"), rows)


async def _log(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    player = await operators.player(given.number)
    session_id: UUID | None = given.session_id
    if session_id is None:
        newest = (await operators.sessions(player.number))[:1]
        if not newest:
            raise Refused(f"{_name(player)} has not played yet")
        session_id = newest[0].session_id
    log = await operators.session_log(player.number, session_id)
    if not log:
        raise Refused(f"{_name(player)} has no session {session_id}")
    rows = []
    for event in log:
        session, judged = event.state.session, event.judged
        assert session is not None  # noqa: S101
        rows.append(
            (
                event.state.version,
                event.at,
                event.action.name.lower(),
                event.score,
                None if judged is None else judged.verdict.value,
                session.status.name.lower().replace("_", " "),
                f"{session.stage + 1}/{session.stage_count}",
                session.total_score,
                None if judged is None else judged.answer,
            )
        )
    first = log[0].state.session
    assert first is not None  # noqa: S101
    output.write(f"{_name(player)}, session {session_id}, difficulty {first.difficulty}\n")
    table(output, ("version", "at", "action", "score", "verdict", "status", "stage", "total", "answer"), rows)


async def _take_off(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    ladders = await operators.take_off_boards(given.number, None, given.reason, utc_now())
    output.write(f"{_name(await operators.player(given.number))} is off the boards ({len(ladders)} entries hidden)\n")


async def _put_back(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    ladders = await operators.put_back_on_boards(given.number, None, given.reason, utc_now())
    output.write(
        f"{_name(await operators.player(given.number))} is on the boards ({len(ladders)} entries shown again)\n"
    )


async def _revoke(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    sids = await operators.revoke_logins(given.number, None, given.reason, utc_now())
    output.write(f"{_name(await operators.player(given.number))}: {len(sids)} logins ended\n")


async def _acts(operators: Operators, given: argparse.Namespace, output: TextIO) -> None:
    rows = [
        (
            act.id,
            act.at,
            "command line" if act.operator is None else f"{act.operator.username or ''}#{act.operator.number}",
            act.act.value,
            f"{act.player.username or ''}#{act.player.number}",
            act.reason,
        )
        for act in await operators.acts()
    ]
    table(output, ("id", "at", "operator", "act", "player", "reason"), rows)


_COMMANDS: Final[Mapping[str, Command]] = {
    "grant-admin": _grant,
    "withdraw-admin": _withdraw,
    "players": _find,
    "session-log": _log,
    "take-off-boards": _take_off,
    "put-back-on-boards": _put_back,
    "revoke-logins": _revoke,
    "acts": _acts,
}


# Figures, from /metrics

_METRIC: Final = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_BUCKET: Final = "braingame_commit_seconds_bucket"


def _show_figures(url: str, output: TextIO) -> None:
    before, started = _scrape(url), time.monotonic()
    time.sleep(LOOK_SECONDS)
    after, seconds = _scrape(url), time.monotonic() - started
    commits = {
        float(labels.removeprefix('le="').removesuffix('"')): value - before.get((name, labels), 0.0)
        for (name, labels), value in after.items()
        if name == _BUCKET
    }
    rows = [
        ("players", after["braingame_connections", 'role="player"']),
        ("spectators", after["braingame_connections", 'role="spectator"']),
        ("actions/s", round(commits.get(float("inf"), 0.0) / seconds, 1)),
        ("commit p50 ms", _milliseconds(histogram_quantile(commits, 0.5))),
        ("commit p99 ms", _milliseconds(histogram_quantile(commits, 0.99))),
    ]
    table(output, ("figure", "now"), rows)


def _scrape(url: str) -> Metrics:
    # No proxy of the machine's: the server is ours.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/metrics", timeout=_SCRAPE_SECONDS) as answer:
            text = answer.read().decode()
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise Refused(f"{url} does not answer ({error})") from None
    found = {(name, labels or ""): float(value) for name, labels, value in _metrics(text)}
    if ("braingame_connections", 'role="player"') not in found:
        raise Refused(f"{url} is not a Brain Game server")
    return found


def _metrics(text: str) -> list[tuple[str, str | None, str]]:
    matches = (_METRIC.fullmatch(line) for line in text.splitlines() if not line.startswith("#"))
    return [(match[1], match[2], match[3]) for match in matches if match is not None]


def histogram_quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """What this share of the values does not exceed, in the buckets' unit, as Prometheus reckons it: in a straight line
    between the bounds of its bucket. `buckets` counts by upper bound, each with all below. None of no values."""
    total = buckets.get(float("inf"), 0.0)
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= rank and count > below:
            # All that is known of the last bucket is where it begins.
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


# Writing


def _name(player: KnownPlayer) -> str:
    return f"{player.username or ''}#{player.number}"
