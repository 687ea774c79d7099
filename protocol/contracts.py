"""The published contracts, generated from the models: JSON Schema of every message, AsyncAPI 3, OpenAPI 3.1.

`python -m protocol.contracts` writes the copies under docs/contracts, which the tests hold to this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from protocol.client_messages import CLIENT_MODELS, ClientMessage
from protocol.errors import ERRORS, CloseCode, ErrorCode
from protocol.examples import all_examples, client_examples, server_examples
from protocol.fields import Key, Wire
from protocol.http_messages import ErrorBody
from protocol.http_routes import ROUTES, Route, answer_model
from protocol.replies import EXCHANGES, PUSHES
from protocol.server_messages import SERVER_MODELS, ServerMessage

#: Semantic version of the contract: a new message or optional field counts up the second number.
CONTRACT_VERSION: Final = "1.3.0"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ABOUT: Final = (
    "Real-time game sessions and live leaderboards. A client ignores fields and push types that it does not know. "
    "An acknowledged action is durable; one sent again with its key is done once."
)
_LICENSE: Final = {"name": "MIT", "identifier": "MIT"}

Schema = dict[str, Any]


def message_schemas() -> Schema:
    """JSON Schema of every message: `$defs/ClientMessage`, `$defs/ServerMessage`, and one definition for each type."""
    adapters: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        ("client", "validation", TypeAdapter(ClientMessage)),
        ("server", "serialization", TypeAdapter(ServerMessage)),
    ]
    unions, schema = TypeAdapter.json_schemas(adapters, ref_template="#/$defs/{model}")
    definitions = _tidied(schema["$defs"])
    definitions["ClientMessage"] = _union("Everything a client may send.", unions["client", "validation"])
    definitions["ServerMessage"] = _union("Everything a server may send.", unions["server", "serialization"])
    return {
        "$schema": _DIALECT,
        "title": "Brain Game messages",
        "description": _ABOUT,
        "version": CONTRACT_VERSION,
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
        "$defs": dict(sorted(definitions.items())),
    }


def asyncapi() -> Schema:
    """The socket as AsyncAPI 3.0 describes it, from the server's point of view: it receives requests."""
    definitions = _moved(message_schemas()["$defs"], "#/$defs/", "#/components/schemas/")
    messages = {
        kind: _message(kind, model, client_examples(kind) if kind in CLIENT_MODELS else server_examples(kind))
        for kind, model in (*CLIENT_MODELS.items(), *SERVER_MODELS.items())
    }
    socket = {"$ref": "#/channels/socket"}

    def on_socket(kinds: Iterable[str]) -> list[Schema]:
        return [{"$ref": f"#/channels/socket/messages/{kind}"} for kind in kinds]

    operations: Schema = {}
    for kind, exchange in EXCHANGES.items():
        model = CLIENT_MODELS[kind]
        operations[kind] = {
            "action": "receive",
            "channel": socket,
            "summary": model.__doc__,
            "messages": on_socket([kind]),
            "reply": {"channel": socket, "messages": on_socket([_kind(exchange.reply), "error"])},
        }
        if exchange.who == "player":
            operations[kind]["description"] = "For players: the socket needs a login."
    for push in PUSHES:
        kind = _kind(push)
        operations[f"push.{kind}"] = {
            "action": "send",
            "channel": socket,
            "summary": push.__doc__,
            "messages": on_socket([kind]),
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Brain Game",
            "version": CONTRACT_VERSION,
            "description": _ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:8080", "protocol": "ws", "description": "What `make run` starts."}},
        "channels": {
            "socket": {
                "address": "/ws",
                "title": "The socket",
                "description": (
                    "Subprotocol braingame.v1. One JSON object in a text frame each way. Every request gets exactly "
                    "one reply, in the order of the requests; its `re` is the request's `id`. Close codes: "
                    + ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in CloseCode)
                    + "."
                ),
                "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": definitions},
    }


def openapi() -> Schema:
    """The HTTP routes as OpenAPI 3.1 describes them."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ErrorBody, "serialization"): None}
    for route in ROUTES:
        for model in (route.body, route.query):
            if model is not None:
                wanted[model, "validation"] = None
        for model in (answer_model(route), *(route.more or {}).values()):
            if model is not None:
                wanted[model, "serialization"] = None
    _, schema = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
    definitions = _tidied(schema["$defs"])
    paths: Schema = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, definitions)
    queries = {route.query.__name__ for route in ROUTES if route.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Brain Game", "version": CONTRACT_VERSION, "description": _ABOUT, "license": _LICENSE},
        "servers": [{"url": "/", "description": "Where this document is served."}],
        "paths": paths,
        "components": {
            # A query's own model is spelled out as parameters.
            "schemas": {name: part for name, part in sorted(definitions.items()) if name not in queries},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def documents() -> dict[str, str]:
    """Every published file by its path below docs/contracts."""
    files: dict[str, Any] = {
        "messages.schema.json": message_schemas(),
        "asyncapi.json": asyncapi(),
        "openapi.json": openapi(),
    }
    files |= {f"examples/{name}.json": examples for name, examples in all_examples().items()}
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in files.items()}


def _union(description: str, schema: Mapping[str, Any]) -> Schema:
    # Without OpenAPI's `discriminator`, which means something else in AsyncAPI.
    return {"description": description, "oneOf": schema["oneOf"]}


def _kind(model: type[BaseModel]) -> str:
    return str(model.model_fields["type"].default)


def _message(kind: str, model: type[BaseModel], examples: list[Schema]) -> Schema:
    return {
        "name": kind,
        "summary": model.__doc__,
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "examples": [{"payload": example} for example in examples],
    }


def _operation(route: Route, definitions: Mapping[str, Schema]) -> Schema:
    operation: Schema = {"operationId": route.operation, "summary": route.summary, "responses": _responses(route)}
    if route.who != "anyone":
        operation["security"] = [{}, {"token": []}] if route.who == "either" else [{"token": []}]
    parameters = list(_parameters(route, definitions))
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {"application/json": {"schema": _reference(route.body)}},
        }
    return operation


def _parameters(route: Route, definitions: Mapping[str, Schema]) -> Iterable[Schema]:
    for part in route.path.split("/"):
        if part.startswith("{"):
            yield {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "maxLength": 64}}
    if route.query is not None:
        for name, schema in definitions[route.query.__name__]["properties"].items():
            # A query cannot say null.
            parts = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
            plain = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
            default = {"default": schema["default"]} if schema.get("default") is not None else {}
            yield {"name": name, "in": "query", "schema": plain | (parts[0] if parts else {}) | default}
    if route.keyed:
        key = TypeAdapter(Key).json_schema()
        # What a header can carry.
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "description": key["description"],
            "schema": {"type": "string", "minLength": 8, "maxLength": 64, "pattern": "^[!-~]*$"},
        }


def _responses(route: Route) -> Schema:
    responses: Schema = {str(route.status): _answer(route)}
    for status, model in (route.more or {}).items():
        responses[str(status)] = {"description": "Not now.", "content": _json_content(_reference(model))}
    by_status: dict[int, list[ErrorCode]] = {}
    for code in sorted(route.all_errors(), key=lambda code: (ERRORS[code].status, code)):
        by_status.setdefault(ERRORS[code].status.value, []).append(code)
    for status, codes in by_status.items():
        narrowed = {"properties": {"code": {"enum": [code.value for code in codes]}}}
        responses[str(status)] = {
            "description": " ".join(f"`{code.value}`: {ERRORS[code].message}" for code in codes),
            "content": _json_content({"allOf": [_reference(ErrorBody), narrowed]}),
        }
        headers: Schema = {}
        if status == 401:
            headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
        if any(ERRORS[code].retryable for code in codes):
            headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
        if headers:
            responses[str(status)]["headers"] = headers
    return responses


def _answer(route: Route) -> Schema:
    if route.answer is None:
        return {"description": "Done."}
    if isinstance(route.answer, str):
        return {"description": route.summary, "content": {route.answer: {"schema": {}}}}
    return {"description": route.summary, "content": _json_content(_reference(route.answer))}


def _json_content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _tidied(definitions: Mapping[str, Schema]) -> Schema:
    """Pydantic's schemas without what is noise on the wire, and saying what is left out rather than null.

    What the server sends has no `additionalProperties: false`, since clients have to bear fields that are new.
    """
    models = {model.__name__: model for model in _models([Wire])}
    tidied: Schema = {}
    for name, schema in definitions.items():
        model = models.get(name)
        if model is None:
            tidied[name] = _untitled(schema)
            continue
        properties = {field: _untitled(part) for field, part in schema.get("properties", {}).items()}
        sent = not _is_received(model)
        required = set(schema.get("required", ()))
        for field in model.model_fields.values():
            alias = field.alias
            assert alias is not None  # noqa: S101
            if field.exclude_if is not None:
                properties[alias] = _without_null(properties[alias])
            elif sent:
                required.add(alias)
                properties[alias].pop("default", None)
        tidied[name] = {
            "title": name,
            "description": " ".join((schema.get("description") or "").split()),
            "type": "object",
            "properties": properties,
            "required": [alias for alias in properties if alias in required],
        } | ({} if sent else {"additionalProperties": False})
        if not tidied[name]["required"]:
            del tidied[name]["required"]
    return tidied


def _models(roots: Iterable[type[BaseModel]]) -> Iterable[type[BaseModel]]:
    for root in roots:
        yield root
        yield from _models(root.__subclasses__())


def _is_received(model: type[BaseModel]) -> bool:
    if model.__module__ == "protocol.client_messages":
        return True
    return any(model in (route.body, route.query) for route in ROUTES)


def _without_null(schema: Schema) -> Schema:
    rest = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
    plain = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return plain | (rest[0] if len(rest) == 1 else {"anyOf": rest} if rest else {})


def _untitled(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _untitled(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    return schema


def _moved(schema: Any, old: str, new: str) -> Any:
    text = json.dumps(schema).replace(f'"{old}', f'"{new}')
    return cast("Any", json.loads(text))


def write(folder: Path) -> None:
    """Write every document below the folder, and remove examples of messages that there are no more."""
    files = documents()
    for path in folder.glob("examples/*/*.json"):
        if str(path.relative_to(folder)) not in files:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent.parent / "docs" / "contracts")
