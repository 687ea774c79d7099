"""An error of the server, as its user sees it."""

from __future__ import annotations

from client.errors import FieldProblem, RequestRefused
from protocol.examples import server_examples


def test_every_published_error_is_understood() -> None:
    refusals = [RequestRefused({**message["data"], "fromTheFuture": 1}) for message in server_examples("error")]
    assert [refusal.code for refusal in refusals] == ["session_not_active", "invalid", "rate_limited", "malformed"]
    assert refusals[0].session is not None
    assert refusals[1].fields == (FieldProblem("score", "required"),)
    assert (refusals[2].retryable, refusals[2].retry_after) == (True, 0.005)
    assert (refusals[3].retryable, refusals[3].retry_after) == (False, None)
