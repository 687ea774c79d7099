"""Every kind of change to the contract asks for the right version; and this contract has the version that it needs."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from protocol import compatibility
from protocol.compatibility import (
    KEPT,
    RELEASED,
    Change,
    Contract,
    Level,
    changes,
    is_enough,
    last_released,
    needed_version,
)
from protocol.contracts import CONTRACT_VERSION
from tests.releases import releases

MAJOR, MINOR = Level.MAJOR, Level.MINOR
NOW = Contract.of_models()
Documents = tuple[dict[str, Any], dict[str, Any]]
Edit = Callable[[dict[str, Any], dict[str, Any]], object]


def after(edit: Edit, *, reverse: bool = False) -> list[Change]:
    """The changes when somebody edits the contract so; in reverse, when somebody takes that back."""
    messages, http = copy.deepcopy(NOW.messages), copy.deepcopy(NOW.http)
    assert isinstance(messages, dict)
    assert isinstance(http, dict)
    edit(messages["$defs"], http)
    edited = Contract(messages, http)
    return changes(edited, NOW) if reverse else changes(NOW, edited)


def test_nothing_has_changed_between_a_contract_and_itself() -> None:
    assert after(lambda definitions, http: None) == []


def fields(definitions: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = definitions[name]["properties"]
    return found


def remove_message(union: str, name: str) -> Edit:
    def edit(definitions: dict[str, Any], http: dict[str, Any]) -> None:
        parts = definitions[union]["oneOf"]
        parts.remove({"$ref": f"#/$defs/{name}"})

    return edit


def require(name: str, field: str) -> Edit:
    return lambda definitions, http: definitions[name].setdefault("required", []).append(field)


# What is edited, what it asks for, and what it asks for when it is taken back.
EDITS: dict[str, tuple[Edit, str, Level, Level]] = {
    "a message of clients is removed": (remove_message("ClientMessage", "Ping"), "ping: there is no", MAJOR, MINOR),
    "a message of the server is removed": (remove_message("ServerMessage", "Pong"), "pong: there is no", MAJOR, MINOR),
    "a field that clients may send is removed": (
        lambda d, h: fields(d, "StartData").pop("difficulty"),
        "session.start.data.difficulty: there is no",
        MAJOR,
        MINOR,
    ),
    "a field that clients are sent is removed": (
        lambda d, h: fields(d, "EntryData").pop("username"),
        "upserts[].username: there is no",
        MAJOR,
        MINOR,
    ),
    "a field that clients may leave out is required": (
        require("StartData", "difficulty"),
        "session.start.data.difficulty: is always there",
        MAJOR,
        MINOR,
    ),
    "a field that was always sent need not be": (
        lambda d, h: d["EntryData"]["required"].remove("username"),
        "upserts[].username: need not be there",
        MAJOR,
        MINOR,
    ),
    "clients may send less": (
        lambda d, h: fields(d, "StartData")["difficulty"].update(maximum=5),
        "session.start.data.difficulty: maximum is 5, was 9",
        MAJOR,
        MINOR,
    ),
    "clients may be sent null": (
        lambda d, h: fields(d, "EntryData").update(totalScore={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        "upserts[].totalScore: may be null",
        MAJOR,
        MINOR,
    ),
    "clients may be sent a code of an error more": (
        lambda d, h: d["ErrorCode"]["enum"].append("tired"),
        'error.data.code: may be "tired"',
        MINOR,
        MINOR,
    ),
    "a route is removed": (lambda d, h: h["paths"].pop("/refresh"), "POST /refresh: there is no", MAJOR, MINOR),
    "a route has one more field that is required": (
        lambda d, h: (
            fields(h["components"]["schemas"], "RefreshData").update(code={"type": "string"}),
            h["components"]["schemas"]["RefreshData"]["required"].append("code"),
        ),
        "POST /refresh asked.body.code: the field is new, and required",
        MAJOR,
        MAJOR,
    ),
    "a route wants a token": (
        lambda d, h: h["paths"]["/refresh"]["post"].update(security=[{"token": []}]),
        "POST /refresh: needs a token",
        MAJOR,
        MINOR,
    ),
    "a route has another status": (
        lambda d, h: h["paths"]["/register"]["post"]["responses"].update(
            {"200": h["paths"]["/register"]["post"]["responses"].pop("201")}
        ),
        "POST /register 201: is not answered",
        MAJOR,
        MAJOR,
    ),
    "a parameter is removed": (
        lambda d, h: h["paths"]["/api/leaderboard"]["get"]["parameters"].pop(0),
        "GET /api/leaderboard asked.query board: there is no",
        MAJOR,
        MINOR,
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_change_asks_for_its_level(name: str) -> None:
    edit, text, level, _ = EDITS[name]
    found = after(edit)
    assert any(text in change.text for change in found), found
    assert max(change.level for change in found) is level


@pytest.mark.parametrize("name", [name for name in EDITS if name != "a route wants a token"])
def test_change_that_is_taken_back_asks_for_its_level(name: str) -> None:
    edit, _, _, level = EDITS[name]
    found = after(edit, reverse=True)
    assert found
    assert max(change.level for change in found) is level


def test_texts_and_defaults_are_no_changes() -> None:
    def edit(definitions: dict[str, Any], http: dict[str, Any]) -> None:
        definitions["Ping"]["description"] = "Say something."
        fields(definitions, "StartData")["difficulty"]["default"] = 1
        http["info"]["description"] = "Another one."

    assert after(edit) == []


@pytest.mark.parametrize(
    ("levels", "needed"),
    [([], "1.2.3"), ([MINOR], "1.3.0"), ([MAJOR], "2.0.0"), ([MINOR, MAJOR, MINOR], "2.0.0")],
)
def test_strongest_change_counts(levels: list[Level], needed: str) -> None:
    assert needed_version("1.2.3", [Change(level, "") for level in levels]) == needed


def test_versions_are_compared_as_numbers() -> None:
    assert is_enough("1.10.0", "1.9.0")
    assert not is_enough("1.9.9", "1.10.0")


# What was released


def test_contract_of_every_release_since_the_last_is_kept() -> None:
    assert last_released().name == releases()[-1].contract
    assert Contract.read(last_released()).version == releases()[-1].contract
    for folder in RELEASED.iterdir():
        assert sorted(path.name for path in folder.iterdir()) == sorted(KEPT)


def test_contract_has_the_version_that_its_changes_need() -> None:
    """`make release-check` lists them."""
    output = io.StringIO()
    assert compatibility.run(output) == 0, output.getvalue()
    assert CONTRACT_VERSION in output.getvalue().splitlines()[-1]


def test_contract_that_breaks_clients_and_keeps_its_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = json.loads(json.dumps(NOW.messages))
    messages["$defs"]["ClientMessage"]["oneOf"].pop()
    monkeypatch.setattr(compatibility.Contract, "of_models", classmethod(lambda cls: Contract(messages, NOW.http)))
    output = io.StringIO()
    assert compatibility.run(output) == 1
    assert "has to be 2.0.0 at least" in output.getvalue()
