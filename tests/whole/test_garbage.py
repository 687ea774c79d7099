"""Whatever a client sends, each frame gets one well-formed answer or the documented close; never `internal`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from protocol.client_messages import CLIENT_TYPES
from protocol.contracts import message_schemas
from tests.protocol.examples import longest, values
from tests.server_process import PATIENCE
from tests.stores import Stores
from tests.whole.running import Server, server_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVER = jsonschema.Draft202012Validator(
    {"$ref": "#/$defs/ServerMessage", "$defs": message_schemas()["$defs"]},
    format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
)
#: docs/protocol.md, "Close codes": what frames alone can bring about.
CLOSED_FOR = {1003, 1007, 1009, 4400}
#: These end what the following frames are about, or wait for a hash.
KINDS = sorted(CLIENT_TYPES - {"user.delete", "auth.logout", "logins.revoke"})

Frame = str | bytes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unlimited(stores: Stores) -> AsyncIterator[Server]:
    async with server_on(stores, BRAINGAME_LIMITS="off") as found:
        yield found


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A request with something wrong in it, or nothing."""
    message: dict[str, Any] = json.loads(json.dumps(longest(draw(st.sampled_from(KINDS)))))
    for _ in range(draw(st.integers(0, 3))):
        inner = draw(st.sampled_from([message, message.get("data", message)]))
        if not isinstance(inner, dict):
            continue
        name = draw(st.sampled_from(sorted(inner)) | st.text(max_size=5)) if inner else draw(st.text(max_size=5))
        if draw(st.booleans()):
            inner.pop(name, None)
        else:
            inner[name] = draw(values)
    return json.dumps(message, ensure_ascii=draw(st.booleans()))


def can_be_sent(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


frames: st.SearchStrategy[Frame] = st.one_of(
    mutated().filter(can_be_sent),
    mutated().filter(can_be_sent),
    values.map(json.dumps),
    st.text(max_size=30),
    st.builds(lambda text, cut: text[:cut], mutated().filter(can_be_sent), st.integers(0, 80)),
    st.sampled_from(
        ["[" * 5000, '{"a":' * 5000, '{"type":"ping","type":"ping"}', '{"type":"ping","id":1e999}', "\ufeff{}"]
    ),
    st.binary(max_size=5),
)


@settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=st.lists(frames, min_size=1, max_size=12), player=st.booleans())
async def test_every_frame_is_answered_once_and_well(unlimited: Server, sent: list[Frame], player: bool) -> None:
    token = await a_token(unlimited) if player else None
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = unlimited.ws
    async with connect(url, additional_headers=headers, proxy=None) as socket, asyncio.timeout(PATIENCE):
        await socket.recv()  # welcome
        answers: list[dict[str, Any]] = []
        closed = None
        try:
            for frame in sent:
                await socket.send(frame)
            await socket.send('{"type": "ping", "id": "the last one"}')
            while not answers or answers[-1].get("re") != "the last one":
                message = json.loads(await socket.recv())
                SERVER.validate(message)
                if "re" in message or message["type"] == "error":
                    answers.append(message)
        except ConnectionClosed as ended:
            closed = ended.rcvd.code if ended.rcvd else None
            assert closed in CLOSED_FOR, closed
    for answer in answers:
        assert answer["type"] != "error" or answer["data"]["code"] not in ("internal", "unavailable"), answer
    texts = [frame for frame in sent if isinstance(frame, str)]
    assert (closed == 1003) is (len(texts) < len(sent)) or closed == 4400
    if closed is None:
        assert [answer.get("re") for answer in answers] == [*map(expected_re, texts), "the last one"]


TOKENS: dict[str, str] = {}


async def a_token(server: Server) -> str:
    """One player for all, registered anew for each server."""
    if server.ws not in TOKENS:
        async with server.client() as client:
            TOKENS[server.ws] = (await client.register("garbage"))["token"]
    return TOKENS[server.ws]


def expected_re(text: str) -> Any:
    """The request's id, where it has one."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = message.get("id") if isinstance(message, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    return found if isinstance(found, int) or 1 <= len(found) <= 64 else None
