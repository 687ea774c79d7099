"""Which pages may use the server from a browser."""

from __future__ import annotations

import pytest

from server.origins import OriginPolicy

POLICY = OriginPolicy(("https://friend.example", "http://localhost:3000"))


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "game.example", True),  # no page: a game client, curl
        (None, None, True),
        ("https://game.example", "game.example", True),
        ("http://game.example", "game.example", True),  # the scheme is the proxy's business
        ("https://GAME.example", "game.EXAMPLE", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://friend.example", "game.example", True),
        ("https://FRIEND.example", "game.example", True),
        ("http://localhost:3000", "game.example", True),
        ("http://localhost:3001", "game.example", False),
        ("http://localhost", "game.example", False),
        ("http://friend.example", "game.example", False),  # a named origin is named whole
        ("https://friend.example.evil.example", "game.example", False),
        ("https://evil.example", "game.example", False),
        ("https://game.example.evil.example", "game.example", False),
        ("https://evil.example/game.example", "game.example", False),
        ("https://game.example@evil.example", "game.example", False),
        ("http://game.example:81", "game.example", False),
        ("null", "game.example", False),  # a sandboxed frame, a local file
        ("", "game.example", False),
        ("", "", False),
        ("null", "", False),
        ("file://", "", False),
        ("https://game.example", None, False),
        ("http://[broken", "game.example", False),
    ],
)
def test_page_is_let_in_by_its_origin(origin: str | None, host: str | None, allowed: bool) -> None:
    assert POLICY.allows(origin, host) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        (None, "game.example", False),
        ("https://game.example", "game.example", False),  # the same host needs no CORS
        ("https://friend.example", "game.example", True),
        ("https://evil.example", "game.example", False),  # gets none
    ],
)
def test_only_a_named_page_of_another_host_gets_cors(origin: str | None, host: str, foreign: bool) -> None:
    assert POLICY.is_foreign(origin, host) is foreign


def test_without_named_origins_only_our_own_host_is_let_in() -> None:
    policy = OriginPolicy(())
    assert policy.allows("https://game.example", "game.example")
    assert not policy.allows("https://friend.example", "game.example")
