"""What may not be shown is taken out of whatever is logged, and the rest is left to be read."""

from __future__ import annotations

import asyncpg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from server.redaction import REDACTED, Redaction, hiding, secrets_in, secrets_of_url

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"
REFRESH = "Zk3vQ0aP9xY7bLr2Wm5NsE8tUo1cHd4JgIf6KqXyRzA"
HASH = "$2b$12$" + "a" * 53


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("ada@example.com is taken", "ada@example.com"),
        ("Key (email_key)=(ada@example.com) already exists", "ada@example.com"),
        (f"bad signature in {JWT}", JWT.rpartition(".")[2]),
        (f"Authorization: Bearer {REFRESH[:20]}", REFRESH[:20]),
        (f"no login has {REFRESH!r}", REFRESH),
        (f"refresh_token={REFRESH[:12]}&x=1", REFRESH[:12]),
        ("""{"type": "auth.login", "data": {"password": "correct horse, \\"battery\\""}""", "correct horse"),
        (r"""'{\"password\": \"correct horse\"}'""", "correct horse"),
        ("{'password': 'correct horse'}", "correct horse"),
        ("RegisterData(email='a', password='correct horse')", "correct horse"),
        ("postgresql://game:s3cret@db.internal/x is not there", "s3cret"),
        ("postgresql://game:p@ss/w@db.internal/x is not there", "p@ss/w"),
        (f"check {HASH}", HASH),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str, secret: str) -> None:
    shown = Redaction().text(text)
    assert secret not in shown
    assert REDACTED in shown


@pytest.mark.parametrize(
    "text",
    [
        "a request failed",
        "the boards fall behind until the stores are back",
        "daily:3@2026-11-23",
        "http://127.0.0.1:8080",
        "PostgreSQL does not answer",
        "01976c2e-7b3c-7d7e-8d43-6f8d0c7a2b11",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        'File "server/actions.py", line 172, in perform',
        "test_part_that_fails_ends_the_node_loudly_and_is_longer_than_forty_characters",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert Redaction().text(text) == text


def test_rows_that_postgresql_tells_of_are_not_shown() -> None:
    error = asyncpg.UniqueViolationError('duplicate key value violates unique constraint "players_username_key"')
    error.detail = "Failing row contains (1, ada, a line\nand another)."
    error.hint = "Try another one."
    shown = Redaction().text(f"Traceback\n  File x\nasyncpg.exceptions.UniqueViolationError: {error}")
    assert "players_username_key" in shown
    assert "Try another one." in shown
    assert "ada" not in shown
    assert "another)" not in shown


def test_fields_of_secret_names_are_not_shown_at_any_depth() -> None:
    event = {
        "event": "x",
        "refreshToken": "abc",
        "number": 7,
        "data": [{"password": "abc", "Email": "abc"}, ("abd", {"new_password": "abc", "score": 5})],
        "token_seconds": 3600,
        "nothing": None,
    }
    assert Redaction()(None, "info", event) == {
        "event": "x",
        "refreshToken": REDACTED,
        "number": 7,
        "data": [{"password": REDACTED, "Email": REDACTED}, ["abd", {"new_password": REDACTED, "score": 5}]],
        "token_seconds": 3600,
        "nothing": None,
    }


def test_secrets_of_the_process_are_not_shown() -> None:
    redaction = Redaction(["hunter2", "pw"])
    assert (
        redaction.text("it was hunter2hunter2, or pw, in pwned")
        == f"it was {REDACTED}{REDACTED}, or {REDACTED}, in pwned"
    )
    assert redaction.known("password: pw a@b.example") == f"password: {REDACTED} a@b.example"


def test_secrets_of_a_request_are_hidden_while_it_is_logged_and_no_longer() -> None:
    redaction = Redaction()
    with hiding(["correct horse"]), hiding(["battery"]):
        assert redaction.text("correct horse battery") == f"{REDACTED} {REDACTED}"
    assert redaction.text("correct horse battery") == "correct horse battery"


@given(st.text(min_size=6, max_size=72).filter(lambda text: text.strip() and text not in REDACTED))
def test_known_secret_is_found_however_python_or_json_write_it(secret: str) -> None:
    redaction = Redaction([secret])
    for written in (secret, repr(secret), f"{ValueError(secret)!r}", ascii(secret)):
        assert secret not in redaction.text(f"<{written}>").replace(REDACTED, "")
        assert repr(secret)[1:-1] not in redaction.text(f"<{written}>").replace(REDACTED, "")


def test_texts_that_a_message_holds_are_told_by_their_names() -> None:
    values = {
        "email": "a@b.example",
        "password": "x",
        "score": 7,
        "token": None,
        "username": "ada",
        "current_password": "",
    }
    assert secrets_in(values) == ["a@b.example", "x"]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:secret@h/d", {"secret"}),
        ("redis://:secret@h:6379", {"secret"}),
        ("postgresql://u:s%40cret@h/d", {"s%40cret", "s@cret"}),
        ("postgresql://u:sec/ret@h/d", {"sec/ret", "sec", "ret"}),
        ("postgresql://u@h/d", set()),
        ("redis://h", set()),
        (None, set()),
    ],
)
def test_password_of_a_url_is_found(url: str | None, found: set[str]) -> None:
    assert set(secrets_of_url(url)) == found


def test_processor_fits_into_structlog() -> None:
    lines: list[str] = []

    class Kept:
        def msg(self, message: str) -> None:
            lines.append(message)

        info = msg

    log = structlog.wrap_logger(Kept(), processors=[Redaction(["hunter2"]), structlog.processors.JSONRenderer()])
    log.info("hunter2", password="x")
    assert lines == [f'{{"password": "{REDACTED}", "event": "{REDACTED}"}}']


@pytest.mark.parametrize(
    "piece", ["Aa1-", "a@", "a.", "password", "://a:", "DETAIL:", "eyJ.", "token\\", "a", "\n", "Bearer "]
)
def test_long_text_of_somebody_else_is_cut_and_takes_no_time_to_speak_of(piece: str) -> None:
    # A pattern that began anew at each character and looked at all others would take minutes.
    assert len(Redaction(["s3cret"]).text(piece * (400_000 // len(piece)))) < 30_000


def test_secret_across_the_cut_is_not_shown() -> None:
    shown = Redaction(["s3cret-of-ours"]).text("x " * 4998 + "s3cret-of-ours" + " y" * 20_000)
    assert "s3cret" not in shown
