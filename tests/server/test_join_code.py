"""Codes lead to this server and nowhere else."""

from __future__ import annotations

import pytest

from protocol.errors import RequestError
from server.join_code import join_code


def test_code_is_svg_without_a_word_of_style() -> None:
    code = join_code("http://192.168.1.7:8080/", "192.168.1.7:8080").decode()
    assert code.startswith("<svg ")
    assert "style=" not in code
    assert "<script" not in code


def test_another_address_is_another_code() -> None:
    assert join_code("http://game.test/", "game.test") != join_code("http://game.test/play", "game.test")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://elsewhere.example/",
        "http://game.test@elsewhere.example/",
        "javascript:alert(1)",
        "//game.test/",
        "http://[",
        "http://\uff0f@x",
        f"http://game.test/{'x' * 200}",
    ],
)
def test_code_for_somewhere_else_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="fields"):
        join_code(url, "game.test")


def test_without_a_host_there_is_no_code() -> None:
    with pytest.raises(RequestError):
        join_code("http:///", None)
