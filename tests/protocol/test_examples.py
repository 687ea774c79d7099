"""The published examples are what server and clients take and send."""

from __future__ import annotations

import json

import pytest

from protocol.client_messages import CLIENT_MODELS
from protocol.codec import decode, decode_server_message, encode
from protocol.examples import all_examples, client_examples, server_examples
from protocol.server_messages import SERVER_MODELS
from tests.protocol.examples import text_of


@pytest.mark.parametrize("kind", CLIENT_MODELS)
def test_server_takes_every_example_of_a_request(kind: str) -> None:
    examples = client_examples(kind)
    assert examples
    for example in examples:
        message = decode(text_of(example))
        assert (message.type, message.id) == (kind, example["id"])


@pytest.mark.parametrize("kind", SERVER_MODELS)
def test_server_would_send_every_example_of_an_answer_just_so(kind: str) -> None:
    examples = server_examples(kind)
    assert examples
    for example in examples:
        assert json.loads(encode(decode_server_message(json.dumps(example)))) == example


def test_every_message_has_its_file() -> None:
    names = all_examples().keys()
    assert names == {f"client/{kind}" for kind in CLIENT_MODELS} | {f"server/{kind}" for kind in SERVER_MODELS}
