"""What can go wrong, as the user of the client sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field that the server refused: its path in the request's data, and what is wrong with it."""

    path: str
    message: str


class RequestRefused(Exception):
    """The server's answer is an error. `code` is stable (docs/protocol.md, "Errors"), `message` is for a person."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.code: str = data["code"]
        self.message: str = data.get("message", "")
        self.retryable: bool = data.get("retryable", False)
        #: Seconds; None where the server does not say.
        self.retry_after: float | None = None if "retryAfterMs" not in data else data["retryAfterMs"] / 1000
        self.fields: Sequence[FieldProblem] = tuple(
            FieldProblem(field["path"], field["message"]) for field in data.get("fields", ())
        )
        #: The session as it is, with `session_not_active`: the wire's object.
        self.session: Mapping[str, Any] | None = data.get("session")
        super().__init__(f"{self.code}: {self.message}")


class ConnectionLost(Exception):
    """The connection went before the answer came. `sent`: the request may have been done."""

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent
        super().__init__("the answer was lost" if sent else "there is no connection")


class Closed(Exception):
    """The client was closed."""
