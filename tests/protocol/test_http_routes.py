"""The table of routes against what the contract says of all of them."""

from __future__ import annotations

import pytest

from protocol.errors import ErrorCode
from protocol.http_routes import ROUTES, Route

#: docs/protocol.md, "HTTP".
CONTRACT = {
    "POST /register": 201,
    "POST /login": 200,
    "POST /refresh": 200,
    "POST /logout": 204,
    "GET /api/users/me": 200,
    "POST /api/users/me/password": 204,
    "DELETE /api/users/me": 204,
    "GET /api/logins": 200,
    "DELETE /api/logins/{id}": 204,
    "GET /api/sessions/last": 200,
    "POST /api/sessions": 201,
    "POST /api/sessions/last/complete": 200,
    "POST /api/sessions/last/close": 200,
    "POST /api/sessions/last/cancel": 200,
    "POST /api/sessions/last/stage": 200,
    "POST /api/sessions/last/stage/answer": 200,
    "GET /api/leaderboard": 200,
    "POST /api/images/compare": 200,
    "GET /api/admin/figures": 200,
    "GET /api/admin/players": 200,
    "GET /api/admin/players/{number}": 200,
    "GET /api/admin/players/{number}/sessions/{sessionId}": 200,
    "POST /api/admin/players/{number}/take-off-boards": 200,
    "POST /api/admin/players/{number}/put-back-on-boards": 200,
    "POST /api/admin/players/{number}/revoke-logins": 200,
    "GET /api/admin/acts": 200,
    "GET /healthz": 200,
    "GET /readyz": 200,
    "GET /metrics": 200,
    "GET /openapi.json": 200,
    "GET /asyncapi.json": 200,
    "GET /docs": 200,
}


def test_routes_are_those_of_the_contract() -> None:
    assert {f"{route.method} {route.path}": route.status for route in ROUTES} == CONTRACT


def test_each_operation_is_there_once() -> None:
    assert len({route.operation for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.path.startswith("/api/")])
def test_route_of_a_player_may_refuse_for_every_reason_that_a_token_has(route: Route) -> None:
    refusals = {ErrorCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_REVOKED}
    assert refusals <= route.all_errors()


@pytest.mark.parametrize("route", ROUTES)
def test_route_of_an_operator_and_no_other_is_refused_to_players(route: Route) -> None:
    assert (ErrorCode.FORBIDDEN in route.all_errors()) is route.path.startswith("/api/admin/")


@pytest.mark.parametrize("route", ROUTES)
def test_answer_without_a_body_says_so(route: Route) -> None:
    assert (route.answer is None) == (route.status == 204)
    assert not (route.method == "GET" and route.body is not None)
