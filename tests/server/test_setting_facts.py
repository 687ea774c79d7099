"""What a declaration says of a setting: bounds, unit, and what of it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from server.setting_facts import Fact, Secrecy, Unit, without_passwords


class Declared(BaseModel):
    """Settings of each kind."""

    port: Annotated[int, Field(ge=0, le=65535), Unit("TCP port")] = 8080
    """TCP
    port."""
    rate: Annotated[float, Field(gt=0, lt=10)] = 2.5
    most: Annotated[int, Field(le=3)] = 1
    least: Annotated[int | None, Field(ge=3)] = None
    name: Annotated[str, Field(min_length=1)] = "x"
    mode: Literal["one", "two"] = "one"
    on: bool | None = None
    folder: Path = Path("var")
    some_key: str | None = None
    old_secrets: tuple[str, ...] = ()
    token_seconds: Annotated[int, Secrecy.NONE] = 3
    store_url: Annotated[str | None, Secrecy.PASSWORD] = None


def fact(name: str) -> Fact:
    return Fact.of(name, name.upper(), Declared.model_fields[name])


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("port", "0 to 65535"),
        ("rate", "above 0, below 10"),
        ("most", "at most 3"),
        ("least", "3 or more"),
        ("name", "at least 1 character"),
        ("mode", "one, two"),
        ("on", "on or off"),
        ("folder", ""),
    ],
)
def test_bounds_are_said_in_words(name: str, bounds: str) -> None:
    assert fact(name).bounds == bounds


def test_unit_stands_with_the_bounds() -> None:
    assert fact("port").measure == "0 to 65535, TCP port"
    assert fact("most").measure == "at most 3"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("port", 1, "1"),
        ("rate", 2.0, "2"),
        ("on", True, "on"),
        ("on", False, "off"),
        ("on", None, "unset"),
        ("folder", Path("a/b"), "a/b"),
        ("token_seconds", 3, "3"),
        ("some_key", None, "unset"),
        ("some_key", "hunter2", "***"),  # nobody has said whether it is secret, so it is
        ("old_secrets", ("hunter2", "hunter3"), "***"),
        ("old_secrets", (), "none"),
        ("store_url", "redis://u:hunter2@h/0", "redis://u:***@h/0"),
    ],
)
def test_value_is_shown_without_what_is_secret(name: str, value: object, shown: str) -> None:
    assert fact(name).shown(value) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?host=/run&password=hunter2&user=u", "postgresql:///d?host=/run&password=***&user=u"),
        ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"),
        (
            "redis+sentinel://:hunter2@a:1,b:2/main/0?sentinel_password=hunter3&ssl_ca_certs=/x",
            "redis+sentinel://:***@a:1,b:2/main/0?sentinel_password=***&ssl_ca_certs=/x",
        ),
        # Not encoded as it has to be: still nothing of it is shown.
        ("redis://u:hun@ter/2@h/0", "redis://u:***@h/0"),
        ("hunter2", "***"),
        ("u:hunter2@h", "***"),
        ("redis://[hunter2", "***"),
    ],
)
def test_passwords_within_a_url_are_masked(url: str, shown: str) -> None:
    assert without_passwords(url) == shown


@pytest.mark.parametrize(
    ("name", "kind", "given", "line"),
    [
        ("port", "less_than_equal", "70000", "70000 is not between 0 and 65535 (TCP port)"),
        ("port", "int_parsing", "x", "'x' is not a whole number, 0 to 65535 (TCP port)"),
        ("rate", "greater_than", "0", "0 is not above 0, below 10"),
        ("mode", "literal_error", "three", "'three' is none of one, two"),
        ("on", "bool_parsing", "perhaps", "'perhaps' is neither on nor off"),
        ("name", "string_too_short", "", "it is empty"),
        ("some_key", "value_error", "hunter2", "too short"),
        ("some_key", "string_type", "hunter2", "'***' is refused, no text"),
        ("store_url", "url", "redis://u:hunter2@h", "'redis://u:***@h' is refused, no text"),
        ("folder", "path", "x" * 100, f"'{'x' * 80}…' is refused, no text"),
    ],
)
def test_refusal_names_the_value_the_bounds_and_the_unit(name: str, kind: str, given: str, line: str) -> None:
    said = "Value error, too short" if kind == "value_error" else "No text"
    assert fact(name).refusal(kind, given, said) == line


def test_description_is_one_line_and_flag_is_the_name() -> None:
    documented = Declared.model_fields["port"]
    documented.description = "TCP\n    port."
    assert (fact("port").description, fact("old_secrets").flag) == ("TCP port.", "--old-secrets")
