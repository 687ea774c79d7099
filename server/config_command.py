"""`python run_server.py config`: every setting as a server started here would have it, and where that comes from."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from typing import Final, TextIO

from server.command_line import EXIT_OK, EXIT_REFUSED, printable, table
from server.settings import ReadBack, add_flags, facts, flags_in, read_back, unknown_variables

CONFIG_HELP: Final = "Every setting with its value and source, secrets masked; with flags of the server, as with them."
_CONFIG_ENDS: Final = "Exit code: 0, or 2 when a server started here would refuse a setting; a line for each says why."
_WIDTH: Final = 118


def add_config(parser: argparse.ArgumentParser) -> None:
    """The arguments of `config`."""
    parser.epilog = _CONFIG_ENDS
    parser.add_argument(
        "--verbose", action="store_true", help="also what each setting is, its bounds, unit and default"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object with all of it")
    parser.add_argument("--example", action="store_true", help="write .env.example: every setting with its default")
    add_flags(parser.add_argument_group("settings", "as the server takes them"))


def run_config(given: argparse.Namespace, output: TextIO) -> int:
    """Do what `config` says; gives the exit code. Raises SettingError when `.env` cannot be read."""
    if given.example:
        output.write(example())
        return EXIT_OK
    found, unknown = read_back(flags_in(given)), unknown_variables()
    if given.json:
        json.dump(_as_json(found, unknown), output, indent=1)
        output.write("\n")
    else:
        _write(found, output, verbose=given.verbose)
    for line in unknown:
        sys.stderr.write(f"Brain Game: warning: {printable(line)}\n")
    for line in found.wrong:
        sys.stderr.write(f"Brain Game: {printable(line)}\n")
    return EXIT_REFUSED if found.wrong else EXIT_OK


def example() -> str:
    """The text of `.env.example`."""
    parts = [
        "# Every setting of the server. Copy this file to .env in the folder where the server is started, and take\n"
        "# away the # where something else is wanted. Variables of the environment and flags are stronger;\n"
        "# `python run_server.py config` says what counts.\n"
        "# Written by `python run_server.py config --example`.\n"
    ]
    for fact in facts().values():
        said = f"{fact.description} ({fact.measure})" if fact.measure else fact.description
        lines = textwrap.wrap(said, _WIDTH, break_long_words=False, break_on_hyphens=False)
        value = "" if fact.default is None or fact.default == () else fact.shown(fact.default)
        parts.append("".join(f"# {line}\n" for line in lines) + f"#{fact.variable}={value}\n")
    return "\n".join(parts)


def _write(found: ReadBack, output: TextIO, *, verbose: bool) -> None:
    readings = [(reading.fact, reading.value, reading.source) for reading in found.readings]
    if verbose:
        head = ("setting", "value", "source", "bounds and unit", "default", "what")
        rows = [
            (fact.variable, value, source, fact.measure, fact.shown(fact.default), fact.description)
            for fact, value, source in readings
        ]
        table(output, head, rows)
    else:
        table(output, ("setting", "value", "source"), [(fact.variable, *rest) for fact, *rest in readings])


def _as_json(found: ReadBack, unknown: list[str]) -> dict[str, object]:
    return {
        "settings": [
            {
                "variable": reading.fact.variable,
                "flag": reading.fact.flag,
                "value": reading.value,
                "source": reading.source,
                "bounds": reading.fact.bounds,
                "unit": reading.fact.unit,
                "default": reading.fact.shown(reading.fact.default),
                "secret": reading.fact.secrecy.value,
                "description": reading.fact.description,
            }
            for reading in found.readings
        ],
        "unknown": unknown,
        "wrong": found.wrong,
    }
