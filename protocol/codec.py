"""Text to message and message to text: the only place that turns bad input into an error."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from game.session import Session
from protocol.client_messages import CLIENT_TYPES, ClientMessage
from protocol.errors import ErrorCode, FieldProblem, RequestError
from protocol.fields import RequestId, Wire, format_timestamp
from protocol.server_messages import Error, ErrorData, ServerMessage, ServerMessageBase

_CLIENT: Final[TypeAdapter[ClientMessage]] = TypeAdapter(ClientMessage)
_read: Final = _CLIENT.validator.validate_json
_SERVER: Final[TypeAdapter[ServerMessage]] = TypeAdapter(ServerMessage)
_ID: Final[TypeAdapter[RequestId]] = TypeAdapter(RequestId)

#: An error names at most this many fields, so that a bad request cannot be answered with something far larger.
MAX_FIELDS_NAMED: Final = 20
_MAX_NAME_ECHOED: Final = 64
#: Errors that are looked at one by one; pydantic makes an object for each before any can be left out.
_MAX_ERRORS: Final = 2000
#: Commas and colons of a text that is read at all. Each may be a value or a name, which costs a microsecond or two, so
#: that megabytes of them would hold up everybody. A drawing has at most 20,000 numbers; no message has 20 names,
#: and who has mistaken itself that often is still told where.
_LONG: Final = 4096
_MAX_COMMAS: Final = 25_000
_MAX_COLONS: Final = 10_000

Data = TypeVar("Data", bound=Wire)


class UndecodableError(Exception):
    """A text that is no request: what to answer. `re` is None where the request's id is unknown."""

    def __init__(self, re: str | int | None, error: RequestError) -> None:
        self.re = re
        self.error = error
        super().__init__(str(error))


def decode(text: bytes | bytearray | memoryview) -> ClientMessage:
    """One frame's text (UTF-8) as a message; raises UndecodableError with `malformed`, `unknown_type`, `invalid`, or
    `too_large` for one of more parts than are looked at."""
    if len(text) > _LONG and (refusal := _many_parts(bytes(text))) is not None:
        raise UndecodableError(None, refusal)
    try:
        return _read(bytes(text), by_alias=True, by_name=False)  # type: ignore[no-any-return]
    except ValidationError as error:
        # Everything that costs more is left to the unusual case.
        raise _explain(bytes(text), error) from None


def decode_data(model: type[Data], body: bytes, /, **more: Any) -> Data:
    """An HTTP body as the `data` of a message; no body counts as an empty object. `more` are fields that came by
    another way, such as a header; given in both, they have to be the same. Raises RequestError with `malformed`,
    `invalid` or `too_large`."""
    if len(body) > _LONG and (refusal := _many_parts(body)) is not None:
        raise refusal
    fields = _parse(body) if body else {}
    if not isinstance(fields, dict):
        raise RequestError(ErrorCode.MALFORMED, "The body is not a JSON object.")
    if twice := [name for name, value in more.items() if name in fields and fields[name] != value]:
        raise RequestError(ErrorCode.INVALID, fields=[FieldProblem(name, "given twice, differently") for name in twice])
    try:
        return model.model_validate({**fields, **more}, by_alias=True, by_name=False)
    except ValidationError as error:
        raise RequestError(ErrorCode.INVALID, fields=_problems(error, drop=0)) from None


def decode_server_message(text: str | bytes) -> ServerMessage:
    """What a server sent, for clients and tests; raises pydantic.ValidationError."""
    return _SERVER.validate_json(text)


def encode(message: ServerMessageBase) -> bytes:
    """A message as the text of a frame, UTF-8."""
    return encode_data(message)


def encode_session(re: str | int | None, session: Session, version: int) -> bytes:
    """`encode(SessionMessage(re=re, data=SessionData.of(…)))` of a state with a session, in a tenth of the time: this
    is the reply to nearly every message of those who play."""
    echo = "" if re is None else f'"re":{re},' if isinstance(re, int) else f'"re":{to_json(re).decode()},'
    return (
        f'{{{echo}"type":"session","data":{{'
        f'"sessionId":"{session.session_id}","sessionStatus":{session.status:d},"sessionStage":{session.stage},'
        f'"sessionTotalScore":{session.total_score},"sessionDifficulty":{session.difficulty},'
        f'"sessionStageCount":{session.stage_count},'
        f'"sessionStartedAt":"{format_timestamp(session.started_at)}","sessionVersion":{version}}}}}'
    ).encode()


def encode_data(data: Wire) -> bytes:
    """A message, or the data of one for an HTTP body, as JSON text."""
    return data.__pydantic_serializer__.to_json(data)


def encode_error(re: str | int | None, error: RequestError) -> bytes:
    """An error reply as the text of a frame."""
    return encode(Error(re=re, data=ErrorData.of(error)))


def _parse(text: bytes) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        raise RequestError(ErrorCode.MALFORMED, "This is not JSON.") from None


def _explain(text: bytes, error: ValidationError) -> UndecodableError:
    try:
        envelope = _parse(text)
    except RequestError as malformed:
        return UndecodableError(None, malformed)
    if not isinstance(envelope, dict):
        return UndecodableError(None, RequestError(ErrorCode.MALFORMED, "This is not a JSON object."))
    try:
        re: str | int | None = _ID.validate_python(envelope.get("id"), strict=True)
    except ValidationError:
        re = None
    kind = envelope.get("type")
    if not isinstance(kind, str):
        return UndecodableError(re, RequestError(ErrorCode.MALFORMED, "The message has no type."))
    if kind not in CLIENT_TYPES:
        name = kind if len(kind) <= _MAX_NAME_ECHOED else f"{kind[:_MAX_NAME_ECHOED]}…"
        return UndecodableError(re, RequestError(ErrorCode.UNKNOWN_TYPE, f"There is no message of type {name!r}."))
    fields = _problems(error, drop=1)
    return UndecodableError(re, RequestError(ErrorCode.INVALID, fields=fields))


def _many_parts(text: bytes) -> RequestError | None:
    if text.count(b",") > _MAX_COMMAS or text.count(b":") > _MAX_COLONS:
        return RequestError(ErrorCode.TOO_LARGE, "The message has more parts than any that is understood.")
    return None


def _problems(refused: ValidationError, drop: int) -> list[FieldProblem]:
    if refused.error_count() > _MAX_ERRORS:
        return [FieldProblem("data" if drop else "", f"{refused.error_count()} values are not as they should be")]
    problems: dict[str, FieldProblem] = {}
    for error in refused.errors(include_url=False, include_context=False, include_input=False):
        location = [str(part)[:_MAX_NAME_ECHOED] for part in error["loc"][drop:]]
        if drop and location[:1] == ["data"] and len(location) > 1:
            # Paths are those inside `data`, the same over HTTP.
            location = location[1:]
        elif drop and location[:1] == ["id"]:
            # The union of string and integer would be reported as two fields.
            location = ["id"]
        path = ".".join(location)
        problems.setdefault(path, FieldProblem(path, _message(error)))
        if len(problems) == MAX_FIELDS_NAMED:
            break
    return list(problems.values())


def _message(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    if error["type"] == "missing":
        return "required"
    return error["msg"]
