"""What commands have in common: how they are refused, and how they write tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NoReturn, TextIO

#: Exit codes: done; done, and something is wrong with what was looked at; refused, or it could not be done.
EXIT_OK: Final = 0
EXIT_DIFFERENT: Final = 1
EXIT_REFUSED: Final = 2

Row = Sequence[object]


class Refused(Exception):
    """One line for whoever typed the command."""


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise Refused(f"{message} (try --help)")


def table(output: TextIO, head: Sequence[str], rows: Sequence[Row]) -> None:
    """Rows below a head, in columns."""
    lines = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        output.write(f"{text.rstrip()}\n")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return printable(text)


def printable(text: str) -> str:
    """The text, but for characters with which a client could steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
