"""The server, but for errors that nobody foresaw in what players with MARK in their names or tokens ask for. Their
texts and local variables hold what the players sent, as those of libraries may."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg

from server import main
from server.auth import Authentication
from server.sessions import Sessions

MARK: Final = "fail-here"


def fail() -> None:
    """Put the errors in their places."""
    register, log_in, resume = Authentication.register_and_log_in, Authentication.log_in, Authentication.resume
    act_at_once = Sessions.act_at_once

    async def failing_register(self: Authentication, data: Any, address: str | None = None) -> Any:
        if MARK in data.username:
            error = asyncpg.UniqueViolationError('duplicate key value violates unique constraint "players_email_key"')
            error.detail = f"Key (email_key)=({data.email}) already exists, {data.password}."
            raise error
        return await register(self, data, address)

    async def failing_log_in(self: Authentication, data: Any, address: str | None = None) -> Any:
        if MARK in data.email:
            kept = data.password
            raise RuntimeError(f"{data!r} {kept!r} {data.password}")
        return await log_in(self, data, address)

    async def failing_resume(self: Authentication, token: str) -> Any:
        if MARK in token:
            raise ValueError(f"no part of {token}")
        return await resume(self, token)

    def failing_act(self: Sessions, number: int, command: Any, key: str | None, settled: Any) -> bool:
        if key is not None and MARK in key:
            settled(RuntimeError("the session of failing@example.test"))
            return True
        return act_at_once(self, number, command, key, settled)

    Authentication.register_and_log_in = failing_register  # type: ignore[method-assign]
    Authentication.log_in = failing_log_in  # type: ignore[method-assign]
    Authentication.resume = failing_resume  # type: ignore[method-assign]
    Sessions.act_at_once = failing_act  # type: ignore[method-assign]


if __name__ == "__main__":
    fail()
    sys.exit(main.run(sys.argv[1:]))
