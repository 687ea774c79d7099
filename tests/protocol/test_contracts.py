"""The published contracts: valid by the official validators, equal to the committed copies, true to the messages."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from game.stages.catalog import STAGES
from protocol.client_messages import CLIENT_MODELS, StageAnswer
from protocol.codec import UndecodableError, decode
from protocol.contracts import asyncapi, documents, message_schemas, openapi, write
from protocol.errors import RequestError
from protocol.examples import client_examples, server_examples
from protocol.http_routes import ROUTES
from protocol.replies import EXCHANGES, PUSHES
from protocol.server_messages import SERVER_MODELS
from protocol.stages import read_answer
from tests.protocol.examples import Json, longest, shortest, text_of, values

ROOT = Path(__file__).parent.parent.parent
COMMITTED = ROOT / "docs" / "contracts"

SCHEMAS = message_schemas()


def validator(definition: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": SCHEMAS["$defs"]})


CLIENT = validator("ClientMessage")
SERVER = validator("ServerMessage")


def test_committed_copies_are_what_the_models_say() -> None:
    paths = [path for path in COMMITTED.rglob("*.json") if "released" not in path.parts]  # those stay as they were
    found = {str(path.relative_to(COMMITTED)): path.read_text("utf-8") for path in paths}
    drifted = [name for name, text in documents().items() if found.get(name) != text]
    assert drifted == [], "python -m protocol.contracts writes them"
    assert found.keys() == documents().keys()


def test_copies_of_messages_that_there_are_no_more_go_away(tmp_path: Path) -> None:
    old = tmp_path / "examples" / "client" / "session.pause.json"
    old.parent.mkdir(parents=True)
    old.touch()
    write(tmp_path)
    assert not old.exists()
    assert (tmp_path / "openapi.json").exists()


def test_message_schemas_are_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS)


def test_openapi_document_is_valid() -> None:
    openapi_spec_validator.validate(openapi(), cls=openapi_spec_validator.OpenAPIV31SpecValidator)


def test_asyncapi_document_is_valid() -> None:
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "@asyncapi" / "parser").exists():
        pytest.skip("needs node and @asyncapi/parser: make setup-dev")
    checked = subprocess.run(
        [node, str(Path(__file__).parent / "check_asyncapi.mjs")],
        input=json.dumps(asyncapi()),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert (checked.returncode, checked.stdout) == (0, "valid\n"), checked.stdout + checked.stderr


@pytest.mark.parametrize("kind", CLIENT_MODELS)
def test_published_schema_takes_the_requests_that_the_server_takes(kind: str) -> None:
    for message in (*client_examples(kind), shortest(kind), longest(kind)):
        CLIENT.validate(message)


@pytest.mark.parametrize("kind", SERVER_MODELS)
def test_published_schema_takes_what_the_server_sends_and_what_a_newer_one_adds(kind: str) -> None:
    for message in server_examples(kind):
        SERVER.validate(message)
        SERVER.validate({**message, "data": {**message["data"], "fromTheFuture": 1}})


@pytest.mark.parametrize("kind", SERVER_MODELS)
def test_published_schema_requires_what_is_always_sent(kind: str) -> None:
    example = server_examples(kind)[0]
    for name in set.intersection(*(set(message["data"]) for message in server_examples(kind))):
        without = {field: value for field, value in example["data"].items() if field != name}
        assert not SERVER.is_valid({**example, "data": without}), name
    assert not SERVER.is_valid({"type": kind})
    assert not SERVER.is_valid({"data": example["data"]})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(sorted(CLIENT_MODELS)), data=st.dictionaries(st.text(max_size=8), values, max_size=3))
def test_what_the_published_schema_refuses_the_server_refuses_too(kind: str, data: Json) -> None:
    known = longest(kind).get("data", {})
    fields = list(known)
    mixed = {**known, **{fields[len(name) % len(fields)] if fields else name: value for name, value in data.items()}}
    message: Any = {"type": kind, "id": 1, "data": mixed}
    if CLIENT.is_valid(message):
        return
    try:
        taken = decode(text_of(message))
    except UndecodableError:
        return
    # What an answer has to look like depends on the game.
    assert isinstance(taken, StageAnswer)
    for stage in STAGES.values():
        with pytest.raises(RequestError):
            read_answer(stage, taken.data.answer)


def test_asyncapi_names_every_message_and_exchange() -> None:
    document = asyncapi()
    assert document["components"]["messages"].keys() == CLIENT_MODELS.keys() | SERVER_MODELS.keys()
    operations = document["operations"]
    assert {name for name, one in operations.items() if one["action"] == "receive"} == EXCHANGES.keys()
    assert len([one for one in operations.values() if one["action"] == "send"]) == len(PUSHES)


def test_openapi_names_every_route() -> None:
    named = {(method.upper(), path) for path, methods in openapi()["paths"].items() for method in methods}
    assert named == {(route.method, route.path) for route in ROUTES}
