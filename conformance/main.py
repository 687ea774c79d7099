"""`python run_server.py conformance`: flags, the ready line, and the end by a signal."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import textwrap
from typing import Final, NoReturn, TextIO

from conformance.scenarios import SCENARIOS
from conformance.site import Site
from conformance.steps import Pace

USUAL: Final = Pace()
_WIDTH: Final = 100


class UsageError(Exception):
    """A wrong flag, or an address that cannot be had: one line for whoever started this."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def run(arguments: list[str], output: TextIO) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code: 0, or 2 for what cannot be started."""
    try:
        flags = _parse(arguments, output)
        if flags is None:
            return 0
        asyncio.run(_serve(flags, output))
    except UsageError as error:
        sys.stderr.write(f"The conformance kit cannot start: {error}\n")
        return 2
    return 0


def _parse(arguments: list[str], output: TextIO) -> argparse.Namespace | None:
    """The flags; None when what was asked for has been written already."""
    parser = _Parser(
        prog="run_server.py conformance",
        description="A scripted server to test a client of Brain Game against; see docs/conformance.md.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--help", "-h", action="store_true", help="show this")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8090, help="TCP port (8090); 0 picks a free one")
    parser.add_argument("--list", action="store_true", help="say what each scenario is about")
    parser.add_argument("--scenario", metavar="NAME", help="this one only; its socket is at /ws, too")
    parser.add_argument(
        "--patience",
        type=float,
        default=USUAL.patience,
        metavar="SECONDS",
        help=f"longest wait for anything that the client has to do ({USUAL.patience:g})",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=USUAL.settle,
        metavar="SECONDS",
        help=f"how long a client is watched for what it must not do ({USUAL.settle:g})",
    )
    flags = parser.parse_args(arguments)
    if flags.help:
        output.write(parser.format_help())
        return None
    if flags.scenario is not None and flags.scenario not in SCENARIOS:
        raise UsageError(f"there is no scenario {flags.scenario!r}, but {', '.join(SCENARIOS)}")
    if flags.list:
        output.write(_listing(flags.scenario))
        return None
    if not 0 <= flags.port <= 65535:
        raise UsageError("--port is a number from 0 to 65535")
    for name in ("patience", "settle"):
        if not 0 < getattr(flags, name) <= 3600:
            raise UsageError(f"--{name} is a number of seconds, more than 0 and at most 3600")
    return flags


async def _serve(flags: argparse.Namespace, output: TextIO) -> None:
    def say(line: str) -> None:
        output.write(f"{line}\n")
        output.flush()

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    scenarios = SCENARIOS if flags.scenario is None else {flags.scenario: SCENARIOS[flags.scenario]}
    site = Site(scenarios, Pace(flags.patience, flags.settle), say)
    host = f"[{flags.host}]" if ":" in flags.host else flags.host
    try:
        async with site.open(flags.host, flags.port) as port:
            say(f"Brain Game's conformance kit is ready on http://{host}:{port}")
            await stop.wait()
    except OSError as error:
        raise UsageError(f"port {flags.port} of {flags.host} cannot be had: {error}") from None


def _listing(only: str | None) -> str:
    lines = []
    for name, scenario in SCENARIOS.items():
        if only in (None, name):
            lines += [
                name,
                *(textwrap.indent(textwrap.fill(text, _WIDTH), "    ") for text in (scenario.task, scenario.why)),
            ]
    return "\n".join(lines) + "\n"
