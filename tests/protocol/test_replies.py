"""Every request has its reply, and every message of the server has its occasion."""

from __future__ import annotations

from protocol.client_messages import CLIENT_TYPES
from protocol.replies import EXCHANGES, PUSHES
from protocol.server_messages import SERVER_MODELS, Error


def test_every_request_has_a_reply() -> None:
    assert EXCHANGES.keys() == CLIENT_TYPES


def test_every_message_of_the_server_is_a_reply_or_a_push() -> None:
    assert {exchange.reply for exchange in EXCHANGES.values()} | set(PUSHES) | {Error} == set(SERVER_MODELS.values())
