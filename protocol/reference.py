"""The browsable reference: the contracts as one HTML page, which needs no script and nothing from anywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from pydantic import BaseModel

from protocol.client_messages import CLIENT_MODELS
from protocol.contracts import CONTRACT_VERSION, asyncapi, openapi
from protocol.errors import ERRORS, CloseCode
from protocol.examples import client_examples, server_examples
from protocol.http_routes import ROUTES, Route
from protocol.replies import EXCHANGES
from protocol.server_messages import SERVER_MODELS

_WHO: Final = {
    "anyone": "For anyone.",
    "player": "For players: the socket needs a login, HTTP an access token.",
    "admin": "For operators: the access token of a player who may use /admin.",
    "either": "For anyone; what concerns the caller's own entry needs a login.",
}
_CLOSE_REASONS: Final = {
    CloseCode.NORMAL: "The client has closed.",
    CloseCode.GOING_AWAY: "The server stops; come back.",
    CloseCode.BINARY_FRAME: "A binary frame; text only.",
    CloseCode.NOT_UTF8: "Text that is not UTF-8.",
    CloseCode.TOO_BIG: "A message over the limit.",
    CloseCode.INTERNAL_ERROR: "Something went wrong on our side.",
    CloseCode.MALFORMED: "Ten malformed messages in a row.",
    CloseCode.UNAUTHENTICATED: "The token has expired, or the login has ended.",
    CloseCode.IDLE: "Neither logged in nor subscribed after 15 s.",
    CloseCode.FLOODING: "Too many messages, and no heed of `rate_limited`.",
    CloseCode.STUCK_READER: "Nothing was read for 30 s.",
}

Schema = Mapping[str, Any]


def reference() -> str:
    """The page, as HTML."""
    messages: Schema = asyncapi()["components"]["schemas"]
    bodies: Schema = openapi()["components"]["schemas"]
    schemas = {**messages, **bodies}
    requests = [_request(kind, schemas) for kind in CLIENT_MODELS]
    answers = [_answer(kind, schemas) for kind in SERVER_MODELS]
    routes = [_route(route, schemas) for route in ROUTES]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Brain Game: reference</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<script src="/static/js/theme-early.js"></script>
<link rel="stylesheet" href="/static/css/base.css">
<link rel="stylesheet" href="/static/css/docs.css">
</head>
<body>
<nav aria-label="Contents">
<p><strong>Brain Game</strong> {CONTRACT_VERSION}</p>
{_contents("Requests", "request", CLIENT_MODELS)}
{_contents("From the server", "message", SERVER_MODELS)}
{_contents("HTTP", "route", {route.operation: f"{route.method} {route.path}" for route in ROUTES})}
<p><a href="#errors">Errors</a></p>
<p><a href="#closes">Close codes</a></p>
</nav>
<main>
<h1>Reference</h1>
<p>One socket at <code>/ws</code> (subprotocol <code>braingame.v1</code>) carries JSON objects in text frames; the same
can be done over HTTP. Every request gets exactly one reply, in the order of the requests; its <code>re</code> is the
request's <code>id</code>. A client ignores fields and push types that it does not know. For machines:
<a href="/asyncapi.json">AsyncAPI</a>, <a href="/openapi.json">OpenAPI</a>.</p>
<h2 id="requests">Requests</h2>
{"".join(requests)}
<h2 id="messages">From the server</h2>
{"".join(answers)}
<h2 id="routes">HTTP</h2>
{"".join(routes)}
<h2 id="errors">Errors</h2>
<p>On the socket: <code>error</code> with <code>code</code>, <code>message</code>, <code>retryable</code>. Over HTTP the
status below and <code>{{"error": message, "code": code, "payload": {{…}}}}</code>.</p>
{_table(("code", "HTTP", "again?", "meaning"), _errors())}
<h2 id="closes">Close codes</h2>
{_table(("code", "meaning"), ((_code(str(code.value)), _prose(_CLOSE_REASONS[code])) for code in CloseCode))}
</main>
</body>
</html>
"""


def _contents(title: str, prefix: str, names: Mapping[str, Any]) -> str:
    items = "".join(
        f'<li><a href="#{prefix}-{escape(name)}">{escape(shown if isinstance(shown, str) else name)}</a></li>'
        for name, shown in names.items()
    )
    whole = f'<li><a href="#{prefix}s">All</a></li>'
    return f"<details><summary>{escape(title)}</summary><ul>{whole}{items}</ul></details>"


def _request(kind: str, schemas: Schema) -> str:
    model, exchange = CLIENT_MODELS[kind], EXCHANGES[kind]
    reply = str(exchange.reply.model_fields["type"].default)
    return f"""<section id="request-{escape(kind)}"><h3>{_code(kind)}</h3>
<p>{_prose(model.__doc__)} {_WHO[exchange.who]}</p>
{_fields(_data_model(model), schemas)}
<p>Reply: <a href="#message-{escape(reply)}">{_code(reply)}</a> or <a href="#message-error">{_code("error")}</a>.</p>
{_examples(client_examples(kind))}</section>
"""


def _answer(kind: str, schemas: Schema) -> str:
    model = SERVER_MODELS[kind]
    return f"""<section id="message-{escape(kind)}"><h3>{_code(kind)}</h3>
<p>{_prose(model.__doc__)} {_prose(_data_model(model).__doc__)}</p>
{_fields(_data_model(model), schemas)}
{_examples(server_examples(kind))}</section>
"""


def _route(route: Route, schemas: Schema) -> str:
    parts = [f"<p>{_prose(route.summary)}. {_WHO[route.who]}</p>"]
    if route.query is not None:
        parts.append(f"<h4>Query</h4>{_fields(route.query, schemas)}")
    if route.body is not None and route.body.model_fields:
        parts.append(f"<h4>Body</h4>{_fields(route.body, schemas)}")
    if route.keyed:
        parts.append(f"<p>The header {_code('Idempotency-Key')} may carry the key.</p>")
    if isinstance(route.answer, type):
        parts.append(f"<h4>{route.status}</h4><p>{_prose(route.answer.__doc__)}</p>{_fields(route.answer, schemas)}")
    else:
        parts.append(f"<h4>{route.status}</h4>")
    codes = sorted(route.all_errors(), key=lambda code: (ERRORS[code].status, code))
    if codes:
        links = ", ".join(f'<a href="#error-{code.value}">{_code(code.value)}</a>' for code in codes)
        parts.append(f"<p>Errors: {links}.</p>")
    title = f"{route.method} {route.path}"
    return f'<section id="route-{route.operation}"><h3>{_code(title)}</h3>{"".join(parts)}</section>\n'


def _errors() -> Iterable[tuple[str, ...]]:
    for code, kind in ERRORS.items():
        name = f'<span id="error-{code.value}">{_code(code.value)}</span>'
        yield name, str(kind.status.value), "yes" if kind.retryable else "", _prose(kind.message)


def _data_model(model: type[BaseModel]) -> type[BaseModel]:
    data = model.model_fields["data"].annotation
    assert isinstance(data, type)  # noqa: S101
    return data


def _fields(model: type[BaseModel], schemas: Schema) -> str:
    schema = schemas.get(model.__name__) or _query_schema(model)
    rows = list(_rows(schema, schemas, ""))
    return _table(("field", "type", "needed", "notes"), rows) if rows else "<p>No fields.</p>"


def _query_schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _rows(schema: Schema, schemas: Schema, prefix: str) -> Iterable[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        inner = _inner(part, schemas)
        notes = [part.get("description", "")]
        if part.get("default") is not None:
            notes.append(f"Default {json.dumps(part['default'])}.")
        optional = "" if name in required else "optional"
        yield _code(prefix + name), _type(part, schemas), optional, _prose(" ".join(filter(None, notes)))
        if inner is not None:
            yield from _rows(inner, schemas, f"{prefix}{name}{'[]' if _array(part) else ''}.")


def _alternatives(part: Schema) -> list[Schema]:
    return list(part.get("anyOf", [part]))


def _array(part: Schema) -> bool:
    return any(one.get("type") == "array" for one in _alternatives(part))


def _inner(part: Schema, schemas: Schema) -> Schema | None:
    for one in _alternatives(part):
        found = one.get("items", one)
        if "$ref" in found:
            model: Schema = schemas[_name(found)]
            return model if "properties" in model else None
    return None


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _type(part: Schema, schemas: Schema) -> str:
    return " or ".join(_one_type(one, schemas) for one in _alternatives(part))


def _one_type(part: Schema, schemas: Schema) -> str:
    if "$ref" in part:
        target: Schema = schemas[_name(part)]
        return escape(_name(part)) if "enum" in target else "object"
    if "const" in part:
        return _code(json.dumps(part["const"]))
    if "enum" in part:
        return " ".join(_code(json.dumps(value)) for value in part["enum"])
    if part.get("type") == "array":
        return f"list of {_one_type(part['items'], schemas)}"
    bounds = []
    low, high = part.get("minimum", part.get("minLength")), part.get("maximum", part.get("maxLength"))
    unit = " characters" if part.get("type") == "string" else ""
    if low is not None and high is not None:
        bounds.append(f"{low} to {high}{unit}")
    elif low is not None:
        bounds.append(f"at least {low}{unit}")
    elif high is not None:
        bounds.append(f"at most {high}{unit}")
    if part.get("format") == "date-time":
        bounds.append("RFC 3339, UTC, milliseconds")
    return escape(str(part.get("type", "any"))) + (f" ({escape(', '.join(bounds))})" if bounds else "")


def _examples(examples: Iterable[Schema]) -> str:
    return "".join(f"<pre><code>{escape(json.dumps(one, ensure_ascii=False))}</code></pre>" for one in examples)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _prose(text: str | None) -> str:
    """Text with `code` in backticks."""
    pieces = escape(" ".join((text or "").split())).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
