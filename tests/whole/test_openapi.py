"""Schemathesis calls the running server with what /openapi.json allows, and with what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from unittest import SkipTest
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok

from protocol.contracts import openapi
from tests.server.test_drawing import picture
from tests.stores import Stores
from tests.whole.running import Server, database_of

Case = schemathesis.Case[Any]
Operation = schemathesis.APIOperation[Any, Any, Any, Any]

PASSWORD = "correct horse"
OPERATOR = "operator"
_OPERATORS = f"""
    CREATE FUNCTION grant_by_name() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.is_admin = NEW.username LIKE '{OPERATOR}-%'; RETURN NEW; END $$;
    CREATE TRIGGER grant_by_name BEFORE INSERT ON players FOR EACH ROW EXECUTE FUNCTION grant_by_name()
"""

schemathesis.openapi.format("email", st.from_regex(r"\A[a-z][a-z0-9]{0,20}@[a-z]{1,10}\.example\Z"))
schemathesis.openapi.format("username", st.from_regex(r"\A[A-Za-z\u00c0-\u00d6][A-Za-z0-9 _]{0,29}[A-Za-z0-9]\Z"))
schemathesis.openapi.format("password", st.from_regex(r"\A[!-~]{8,72}\Z"))
schemathesis.openapi.format("printable", st.from_regex(r"\A[!-~]{8,64}\Z"))
schemathesis.openapi.format("reason", st.from_regex(r"\A[!-~]([ -~]{0,498}[!-~])?\Z"))
schemathesis.openapi.format("picture", st.sampled_from([picture("circle"), picture("line", 40)]))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def unlimited(stores: Stores) -> AsyncIterator[Server]:
    """A server, on which everybody whose name begins so is an operator."""
    async with database_of(stores) as settings:
        connection = await asyncpg.connect(settings["DATABASE_URL"])
        await connection.execute(_OPERATORS)
        await connection.close()
        async with await Server.start(**settings, BRAINGAME_LIMITS="off", BRAINGAME_BCRYPT_COST="4") as found:
            yield found


def new_token(origin: str, *, operator: bool = False) -> str:
    """The token of a new player, for each call: some calls end the login, or the player."""
    name = f"{OPERATOR if operator else 'player'}-{uuid4().hex[:20]}"
    body = {"email": f"{name}@example.test", "username": name, "password": PASSWORD}
    requests.post(f"{origin}/register", json=body, timeout=10).raise_for_status()
    answer = requests.post(f"{origin}/login", json={k: body[k] for k in ("email", "password")}, timeout=10)
    return str(answer.json()["token"])


def settle(case: Case) -> None:
    """What the contract says beyond what a schema can."""
    if "number" in (case.path_parameters or {}):
        case.path_parameters["number"] = "1"  # somebody who is there
    if isinstance(case.body, dict):
        for name, value in case.body.items():
            if isinstance(value, float):
                case.body[name] = int(value)  # an integer has no fraction, 7.0 neither
        if "score" in case.body:
            case.body["score"] = int(str(case.body["score"])) % 1_000_001  # a setting says what a stage may be worth
        if "key" in case.body:
            case.headers.pop("Idempotency-Key", None)  # one key, here or there
    if {"offset", "around"} <= (case.query or {}).keys():
        del case.query["around"]  # one window


SCHEMA = schemathesis.openapi.from_dict(openapi())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_server_keeps_its_http_contract(
    operation: Operation, mode: schemathesis.GenerationMode, unlimited: Server
) -> None:
    try:
        cases = operation.as_strategy(generation_mode=mode)

        @settings(
            max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(case=cases)
        def check(case: Case) -> None:
            if mode is schemathesis.GenerationMode.POSITIVE:
                settle(case)
            token = new_token(unlimited.origin, operator=operation.path.startswith("/api/admin/"))
            answer = case.call(base_url=unlimited.origin, headers={"Authorization": f"Bearer {token}"})
            if answer.status_code == 413:
                # Refused before it was read, which the tool does not count as a refusal.
                assert answer.json()["code"] == "too_large"
            else:
                case.validate_response(answer)

        check()
    except (Unsatisfiable, SkipTest):
        # Some operations take nothing that could be wrong.
        assert mode is schemathesis.GenerationMode.NEGATIVE
