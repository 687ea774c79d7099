"""What commands write, and how they are refused."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from server.command_line import Parser, Refused, printable, table


def test_table_has_columns_and_no_trailing_blanks() -> None:
    output = io.StringIO()
    rows = [(None, True, 1.5), ("a\x1b[31m", False, datetime(2026, 11, 23, 8, 30, tzinfo=UTC))]
    table(output, ("one", "two", ""), rows)
    assert output.getvalue() == "one     two\n-       yes  1.5\na�[31m  no   2026-11-23 08:30:00\n"


def test_text_of_a_client_does_not_steer_the_terminal() -> None:
    assert printable("ok ü \x1b]0;x\x07") == "ok ü �]0;x�"


def test_bad_arguments_are_refused_in_one_line() -> None:
    with pytest.raises(Refused, match=r"unrecognized arguments: --nonsense \(try --help\)"):
        Parser().parse_args(["--nonsense"])
