"""Bad input becomes an error that says what was wrong, and nothing else ever happens."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.client_messages import (
    CLIENT_TYPES,
    ClientMessage,
    GetBoardData,
    NoData,
    RefreshData,
    RegisterData,
    ScoreData,
    StartData,
)
from protocol.codec import (
    MAX_FIELDS_NAMED,
    UndecodableError,
    decode,
    decode_data,
    decode_server_message,
    encode,
    encode_data,
    encode_error,
)
from protocol.errors import ErrorCode, FieldProblem, RequestError
from protocol.fields import Wire
from protocol.server_messages import NO_SESSION, Error, Ok, OkData
from tests.protocol.examples import NO_SESSION_JSON, REQUESTS, Json, longest, request, shortest, state, text_of, values

thorough = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: No error is longer, whatever it answers: a bad request is not answered with something far larger.
MAX_ERROR_BYTES = 16 * 1024


def refused(text: bytes) -> UndecodableError:
    with pytest.raises(UndecodableError) as caught:
        decode(text)
    return caught.value


def problems(text: bytes) -> dict[str, str]:
    """The fields that an `invalid` names."""
    error = refused(text).error
    assert error.code is ErrorCode.INVALID
    return {field.path: field.message for field in error.fields}


def check_refusal(refusal: UndecodableError) -> None:
    """Whatever was sent: the error is one of three, and a client can read it."""
    assert refusal.error.code in (ErrorCode.MALFORMED, ErrorCode.UNKNOWN_TYPE, ErrorCode.INVALID, ErrorCode.TOO_LARGE)
    assert bool(refusal.error.fields) is (refusal.error.code is ErrorCode.INVALID)
    assert len(refusal.error.fields) <= MAX_FIELDS_NAMED
    text = encode_error(refusal.re, refusal.error)
    assert len(text) <= MAX_ERROR_BYTES
    message = decode_server_message(text)
    assert isinstance(message, Error)
    assert (message.re, type(message.re)) == (refusal.re, type(refusal.re))
    assert message.data.code is refusal.error.code
    assert json.loads(text)["data"]["message"] == refusal.error.message


def outcome_of(text: bytes) -> ClientMessage | UndecodableError:
    """A message, or why it is none; anything else that is raised fails the test."""
    try:
        return decode(text)
    except UndecodableError as refusal:
        return refusal


def check(text: bytes) -> None:
    """A message or a readable error, never anything else."""
    outcome = outcome_of(text)
    if isinstance(outcome, UndecodableError):
        check_refusal(outcome)
    else:
        assert outcome.type in CLIENT_TYPES


# Good input


@pytest.mark.parametrize("envelope", [shortest, longest], ids=["shortest", "longest"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_client_sends_every_type_and_is_understood(kind: str, envelope: Callable[[str], Json]) -> None:
    message = decode(text_of(envelope(kind)))
    assert (message.type, message.id) == (kind, "c7")
    assert decode(message.model_dump_json(exclude_none=True).encode()) == message


@pytest.mark.parametrize("kind", REQUESTS)
def test_client_may_write_its_json_as_it_likes(kind: str) -> None:
    plain = decode(text_of(longest(kind)))
    assert decode(json.dumps(longest(kind), indent=2).encode()) == plain
    assert decode(json.dumps(longest(kind), separators=(",", ":")).encode()) == plain
    assert decode(b" \t\r\n" + json.dumps(dict(reversed(longest(kind).items()))).encode() + b" \t\r\n") == plain
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in kind)
    assert decode(text_of(longest(kind)).replace(f'"{kind}"'.encode(), f'"{escaped}"'.encode())) == plain


@pytest.mark.parametrize("convert", [bytes, bytearray, memoryview])
def test_text_may_come_in_any_buffer(convert: Callable[[bytes], bytes | bytearray | memoryview]) -> None:
    assert decode(convert(b'{"type": "ping", "id": 1}')).id == 1
    with pytest.raises(UndecodableError, match="not JSON"):
        decode(convert(b'{"type": "ping", "id": 1'))


IDS = [
    "c7",
    "x" * 64,
    "😀" * 64,
    "\0",
    '"\\/\b\n',
    "\u2028",
    "\u202e",
    " ",
    "0",
    0,
    -1,
    7,
    2**53 + 1,
    2**63,
    2**64,
    -(10**40),
]


@pytest.mark.parametrize("request_id", IDS)
def test_client_gets_its_id_back_verbatim(request_id: str | int) -> None:
    good = decode(text_of(request("ping", request_id)))
    assert json.loads(encode(Ok(re=good.id, data=OkData())))["re"] == request_id
    bad = refused(text_of(request("ping", request_id, stranger=1)))
    for echoed in (good.id, bad.re, json.loads(encode_error(bad.re, bad.error))["re"]):
        assert echoed == request_id
        assert type(echoed) is type(request_id)


@thorough
@given(st.text(min_size=1, max_size=64) | st.integers() | st.integers(-(2**200), 2**200))
def test_client_gets_any_id_back_verbatim(request_id: str | int) -> None:
    good = decode(text_of(request("ping", request_id)))
    bad = refused(text_of({"type": "ping!", "id": request_id}))
    for echoed in (good.id, bad.re, json.loads(encode_error(bad.re, bad.error))["re"]):
        assert echoed == request_id
        assert type(echoed) is type(request_id)


def test_escaped_surrogate_pair_is_one_character() -> None:
    assert decode(b'{"type": "ping", "id": "\\ud83d\\ude00"}').id == "😀"


def test_key_given_twice_is_read_as_the_last() -> None:
    assert decode(b'{"type": "nope", "type": "ping", "id": 1, "id": 2}').id == 2
    assert refused(b'{"type": "ping", "type": "nope", "id": 1}').error.code is ErrorCode.UNKNOWN_TYPE
    assert refused(b'{"type": "nope", "id": 1, "id": 2}').re == 2
    message = decode(b'{"type": "session.complete", "id": 1, "data": {"score": 1, "score": 2}}')
    assert message.data == ScoreData(score=2)
    assert problems(b'{"type": "ping", "id": 1, "data": {}, "data": {"x": 1}}') == {"x": "unknown field"}


# Malformed


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"\n", b"\0", b"{", b"}", b"{]", b"ping", b"'", b'"', b"tru", b"nul", b"undefined", b"-", b"\\"),
        *(b"{'type': 'ping', 'id': 1}", b'{type: "ping"}', b'{"type": "ping", "id": 1,}', b'{"type": "ping" "id": 1}'),
        *(b'{"type": "ping", "id": 1}x', b'{"type": "ping", "id": 1}{}', b'{"type": "ping", "id": 1}\0'),
        *(b'{"type": "ping", "id": 01}', b'{"type": "ping", "id": +1}', b'{"type": "ping", "id": 1.}'),
        *(b'{"type": "ping", "id": 0x1}', b'{"type": "ping", "id": .5}', b'{"type": "ping", "id": 1_0}'),
        *(b'{"type": "ping", "id": 1} // hello', b'{"type": "ping", /* hello */ "id": 1}'),
        b'\xef\xbb\xbf{"type": "ping", "id": 1}',  # RFC 8259 section 8.1: no byte order mark
        # a control character in a string, RFC 8259 section 7
        *(b'{"type": "ping", "id": "a\nb"}', b'{"type": "ping", "id": "a\0b"}', b'{"type": "ping", "id": "\\x41"}'),
        *(b'{"type": "ping", "id": "\\u12"}', b'{"type": "ping", "id": "\\'),
        # numbers that JSON has not
        *(b'{"type": "ping", "id": NaN}', b'{"type": "ping", "id": Infinity}', b'{"type": "ping", "id": -Infinity}'),
        *(b'{"type": "ping", "id": 1, "x": NaN}', b'{"type": "nope", "id": 1, "data": {"x": [-Infinity]}}'),
        b'{"type": "session.complete", "id": 1, "data": {"score": NaN}}',
        # half a surrogate pair is no character
        *(b'{"type": "ping", "id": "\\ud800"}', b'{"type": "ping", "id": "\\udc00"}', b'{"type": "\\ud800", "id": 1}'),
        *(b'{"type": "ping", "id": "\\ude00\\ud83d"}', b'{"type": "ping", "id": 1, "\\ud800": 1}'),
        b'{"type": "auth.login", "id": 1, "data": {"email": "\\udfff", "password": "x"}}',
        # not UTF-8
        *(b"\xff", b"\xfe\xff", b'{"type": "ping", "id": 1}\xff', b'{"type": "ping", "id": "\xff"}'),
        *(
            b'{"type": "\xc3", "id": 1}',
            b'{"type": "ping", "id": "\xc0\x80"}',
            b'{"type": "ping", "id": "\xf0\x9f\x98"}',
        ),
        *(b'{"type": "ping", "id": "\xed\xa0\x80"}', b'{"type": "ping", "id": "\xf4\x90\x80\x80"}'),
        '{"type": "ping", "id": 1}'.encode("utf-16"),
        '{"type": "ping", "id": 1}'.encode("utf-16-le"),
        '{"type": "ping", "id": 1}'.encode("utf-32"),
    ],
)
def test_text_that_is_no_json_is_malformed_and_has_no_id(text: bytes) -> None:
    refusal = refused(text)
    assert refusal.error.code is ErrorCode.MALFORMED
    assert refusal.error.message == "This is not JSON."
    assert refusal.re is None
    assert "re" not in json.loads(encode_error(refusal.re, refusal.error))
    check_refusal(refusal)


@pytest.mark.parametrize("text", [b"null", b"true", b"1", b"-0.5e3", b'"ping"', b"[]", b'[{"type": "ping", "id": 1}]'])
def test_json_that_is_no_object_is_malformed(text: bytes) -> None:
    refusal = refused(text)
    assert (refusal.error.code, refusal.error.message) == (ErrorCode.MALFORMED, "This is not a JSON object.")
    assert refusal.re is None
    check_refusal(refusal)


@pytest.mark.parametrize("kind", [None, 1, 1.5, True, [], ["ping"], {}, {"ping": 1}])
@pytest.mark.parametrize("request_id", ["c7", 7])
def test_object_without_a_type_is_malformed_and_its_id_is_echoed(kind: object, request_id: str | int) -> None:
    for envelope in ({"id": request_id}, {"type": kind, "id": request_id}):
        refusal = refused(text_of(envelope))
        assert (refusal.error.code, refusal.error.message) == (ErrorCode.MALFORMED, "The message has no type.")
        assert refusal.re == request_id
        check_refusal(refusal)


BAD_IDS = ["", "x" * 65, "😀" * 65, 1.0, 1.5, 1e300, True, False, None, [], [1], {}, {"int": 1}]


@pytest.mark.parametrize("bad_id", BAD_IDS, ids=ascii)
def test_id_that_is_none_is_named_and_not_echoed(bad_id: object) -> None:
    assert list(problems(text_of(request("ping", bad_id)))) == ["id"]
    for envelope in (request("ping", bad_id), request("nope", bad_id), {"id": bad_id}):
        refusal = refused(text_of(envelope))
        assert refusal.re is None
        check_refusal(refusal)


def nested(depth: int, opening: str, closing: str) -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize("depth", [50, 190, 200, 201, 300, 1_000, 30_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "1}")], ids=["lists", "objects"])
def test_deep_nesting_is_an_error_and_no_crash(depth: int, opening: str, closing: str) -> None:
    deep = nested(depth, opening, closing) if closing == "]" else opening * depth + "1" + "}" * depth
    for text in (
        deep,
        opening * depth,
        f'{{"type": "ping", "id": 1, "data": {{"x": {deep}}}}}',
        f'{{"type": "ping", "id": {deep}}}',
        f'{{"type": {deep}, "id": 1}}',
        f'{{"type": "leaderboard.subscribe", "id": 1, "data": {{"since": {deep}}}}}',
    ):
        check_refusal(refused(text.encode()))


@pytest.mark.parametrize("digits", [100, 4_300, 4_301, 60_000])
def test_huge_numbers_are_an_answer_and_no_crash(digits: int) -> None:
    huge = "9" * digits
    for number in (huge, f"-{huge}", f"{huge}.5", f"0.{huge}", f"1e{huge}", f"-1e{huge}", f"1e-{huge}", f"{huge}e9"):
        check(f'{{"type": "ping", "id": {number}}}'.encode())
        for kind, name in (
            ("session.complete", "score"),
            ("session.start", "difficulty"),
            ("leaderboard.get", "limit"),
        ):
            refusal = refused(f'{{"type": "{kind}", "id": 1, "data": {{"{name}": {number}}}}}'.encode())
            assert refusal.error.code in (ErrorCode.INVALID, ErrorCode.MALFORMED)
            check_refusal(refusal)


def test_long_texts_are_an_answer_and_are_not_repeated() -> None:
    long = "😀" * 15_000
    for text in (
        request(long),
        request("ping", long),
        request("ping", 1, **{long: 1}),
        request("auth.register", 1, email=long, username=long, password=long),
        request("auth.resume", 1, token=long),
        request("session.cancel", 1, key=long),
        request("leaderboard.get", 1, board=long, limit=long),
    ):
        refusal = refused(text_of(text))
        check_refusal(refusal)
        assert len(encode_error(refusal.re, refusal.error)) < 2_000


def test_many_unknown_fields_are_an_answer_of_bounded_size() -> None:
    names = [f"{number:03}{'x' * 60}" for number in range(900)]
    found = problems(text_of(request("ping", 1, **dict.fromkeys(names, 1))))
    assert list(found) == names[:MAX_FIELDS_NAMED]
    assert set(found.values()) == {"unknown field"}


# Unknown types


@pytest.mark.parametrize(
    "kind",
    ["", " ", "nope", "Ping", "PING", "ping ", " ping", "ping\0", "auth", "session", "welcome", "error", "рing", "😀"],
)
def test_unknown_type_is_named(kind: str) -> None:
    refusal = refused(text_of(request(kind, "c7", score="x")))
    assert refusal.error.code is ErrorCode.UNKNOWN_TYPE
    assert refusal.error.message == f"There is no message of type {kind!r}."
    assert refusal.re == "c7"
    check_refusal(refusal)


@pytest.mark.parametrize("kind", ["x" * 65, "x" * 60_000, "\u202e" * 100, "\0" * 100])
def test_long_unknown_type_is_cut_before_it_is_named(kind: str) -> None:
    refusal = refused(text_of(request(kind, 1)))
    assert refusal.error.message == f"There is no message of type {kind[:64] + '…'!r}."
    check_refusal(refusal)


def test_unknown_type_is_named_without_turning_the_direction_of_the_text() -> None:
    message = refused(text_of(request("a\u202eb\nc\0", 1))).error.message
    assert message.isprintable()


@pytest.mark.parametrize("kind", ["welcome", "authenticated", "pong", "leaderboard.delta", "error"])
def test_server_does_not_take_its_own_messages(kind: str) -> None:
    assert refused(text_of(request(kind))).error.code is ErrorCode.UNKNOWN_TYPE


# Fields


@pytest.mark.parametrize(
    ("envelope", "paths"),
    [
        ({"type": "ping", "id": 1, "stranger": 1}, ["stranger"]),
        ({"type": "ping", "id": 1, "re": 1}, ["re"]),
        ({"type": "ping", "id": 1, "data": {"stranger": 1}}, ["stranger"]),
        ({"type": "ping", "id": 1, "data": {"x": 1, "y": {"z": 1}}}, ["x", "y"]),
        ({"type": "ping", "id": 1, "data": {"id": 1}}, ["id"]),
        ({"type": "ping", "id": 1, "data": {"data": 1}}, ["data"]),
        ({"type": "ping", "id": 1, "Data": {}}, ["Data"]),
        ({"type": "ping", "ID": 1}, ["id", "ID"]),
        ({"type": "session.start", "id": 1, "data": {"Difficulty": 1}}, ["Difficulty"]),
        ({"type": "session.start", "id": 1, "difficulty": 1}, ["difficulty"]),
        ({"type": "session.complete", "id": 1, "data": {"points": 1}}, ["score", "points"]),
        ({"type": "session.complete", "id": 1, "score": 1}, ["data", "score"]),
        ({"type": "session.complete", "id": True, "data": {"score": "1"}}, ["id", "score"]),
        (
            {"type": "leaderboard.subscribe", "id": 1, "data": {"limit": 11, "since": {"version": "1", "x": 1}}},
            ["limit", "since.epoch", "since.version", "since.x"],
        ),
        ({"type": "auth.register", "id": 1, "data": {"email": "x"}}, ["email", "username", "password"]),
        ({"type": "ping", "id": 1, "data": {"😀": 1}}, ["😀"]),
        ({"type": "ping", "id": 1, "data": {"\0": 1}}, ["\0"]),
        ({"type": "ping", "id": 1, "data": {"": 1}}, [""]),
        ({"type": "ping", "id": 1, "data": {"__class__": 1, "model_config": 1}}, ["__class__", "model_config"]),
        ({"type": "ping", "id": 1, "data": {"x" * 65: 1}}, ["x" * 64]),
    ],
)
def test_wrong_fields_are_named_by_their_path_inside_data(envelope: Json, paths: list[str]) -> None:
    refusal = refused(text_of(envelope))
    assert sorted(field.path for field in refusal.error.fields) == sorted(paths)
    check_refusal(refusal)


@pytest.mark.parametrize("kind", REQUESTS)
def test_data_that_is_no_object_is_invalid(kind: str) -> None:
    for data in ("null", "[]", "[1]", '""', '"{}"', "0", "1.5", "true", "false"):
        assert list(problems(f'{{"type": "{kind}", "id": 1, "data": {data}}}'.encode())) == ["data"], data


INTEGERS = [
    ("session.start", "difficulty"),
    ("session.complete", "score"),
    ("session.close", "score"),
    ("leaderboard.get", "limit"),
    ("leaderboard.get", "offset"),
    ("leaderboard.subscribe", "limit"),
]
# Written as JSON, because Python's json would write some of them differently. All would be 0, 1 or 10 if converted.
NO_INTEGERS = ['"0"', '"1"', '"10"', '"5"', "0.0", "-0.0", "1.0", "10.0", "10.5", "1e0", "1e1", "10E0", "true", "false"]
NO_INTEGERS += ["[]", "[10]", "{}", '{"value": 10}', '""', '"ten"', '"1_0"', '"１０"']


def taken(template: str, path: str, values: list[str]) -> list[str]:
    """Which values are not refused with an error that names that field alone."""
    found = []
    for value in values:
        try:
            decode(template.replace("VALUE", value).encode())
        except UndecodableError as refusal:
            if refusal.error.code is ErrorCode.INVALID and [field.path for field in refusal.error.fields] == [path]:
                continue
        found.append(value)
    return found


@pytest.mark.parametrize(("kind", "name"), INTEGERS)
def test_nothing_is_converted_to_an_integer(kind: str, name: str) -> None:
    template = f'{{"type": "{kind}", "id": 1, "data": {{"{name}": VALUE}}}}'
    assert taken(template, name, NO_INTEGERS) == []


def test_nothing_is_converted_to_the_version_a_subscriber_holds() -> None:
    template = '{"type": "leaderboard.subscribe", "id": 1, "data": {"since": {"epoch": "e", "version": VALUE}}}'
    assert taken(template, "since.version", NO_INTEGERS) == []


NO_TEXTS = ["0", "12345678", "1.5", "true", "[]", '["12345678"]', "{}", '{"value": "12345678"}']
STRINGS = [
    (kind, name)
    for kind, fields in REQUESTS.items()
    for name, value in (fields.required | fields.optional).items()
    if isinstance(value, str)
]


@pytest.mark.parametrize(("kind", "name"), STRINGS)
def test_nothing_is_converted_to_a_text(kind: str, name: str) -> None:
    envelope = longest(kind)
    envelope["data"][name] = "REPLACED"
    template = text_of(envelope).decode().replace('"REPLACED"', "VALUE")
    assert taken(template, name, NO_TEXTS) == []


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, f in REQUESTS.items() for name in f.required])
def test_null_is_not_taken_for_what_is_required(kind: str, name: str) -> None:
    envelope = longest(kind)
    envelope["data"][name] = None
    assert list(problems(text_of(envelope))) == [name]


def test_nul_in_a_text_is_no_end_of_it() -> None:
    message = decode(b'{"type": "leaderboard.get", "id": "a\\u0000b", "data": {"board": "daily\\u0000"}}')
    assert message.id == "a\0b"
    assert isinstance(message.data, GetBoardData)
    assert message.data.board == "daily\0"


def test_password_is_in_no_error() -> None:
    secret = "hunter2\0hunter2"
    for kind in ("auth.register", "auth.login"):
        for more in ({"stranger": 1}, {"email": 1}):
            data = {**REQUESTS[kind].required, "password": secret, **more}
            refusal = refused(text_of(request(kind, 1, **data)))
            assert b"hunter2" not in encode_error(refusal.re, refusal.error)


# Garbage

examples: st.SearchStrategy[Json] = st.sampled_from(sorted(REQUESTS)).flatmap(
    lambda kind: st.sampled_from([shortest(kind), longest(kind)])
)


@thorough
@given(st.binary(max_size=80))
@example(b"\xff")
def test_random_bytes_are_a_readable_error(text: bytes) -> None:
    refusal = refused(text)
    check_refusal(refusal)
    assert refusal.error.code is ErrorCode.MALFORMED


@thorough
@given(st.text('{}[]":,\\ \n0123456789.-+eEtrufalsn\0é😀', max_size=40))
def test_random_text_of_the_characters_of_json_is_a_readable_error(text: str) -> None:
    check_refusal(refused(text.encode()))


@thorough
@given(values)
def test_random_json_is_a_readable_error(value: object) -> None:
    refusal = refused(text_of(value))
    check_refusal(refusal)
    assert refusal.error.code in (ErrorCode.MALFORMED, ErrorCode.UNKNOWN_TYPE)


def expected_id(value: object) -> str | int | None:
    """The id as the contract knows it: a string of 1 to 64 characters or an integer."""
    if isinstance(value, str):
        return value if 1 <= len(value) <= 64 else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@thorough
@given(
    st.fixed_dictionaries(
        {},
        optional={"type": st.sampled_from(sorted(REQUESTS)) | values, "id": st.integers() | values, "data": values},
    )
)
def test_random_envelope_is_answered_as_the_contract_says(envelope: Json) -> None:
    outcome = outcome_of(text_of(envelope))
    kind = envelope.get("type")
    if not isinstance(outcome, UndecodableError):
        assert (outcome.type, outcome.id) == (kind, expected_id(envelope["id"]))
        return
    check_refusal(outcome)
    assert outcome.re == expected_id(envelope.get("id"))
    if not isinstance(kind, str):
        assert outcome.error.code is ErrorCode.MALFORMED
    else:
        assert outcome.error.code is (ErrorCode.INVALID if kind in REQUESTS else ErrorCode.UNKNOWN_TYPE)


def places(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where a value can be put inside of an object: every key of it, and a new one, at every depth."""
    if not isinstance(value, dict):
        return []
    found = [(*path, "stranger")]
    for name, inner in value.items():
        found += [(*path, name), *places(inner, (*path, name))]
    return found


def put(value: Json, path: tuple[str, ...], new: object) -> Json:
    """A copy with a new value there."""
    name, *rest = path
    return {**value, name: put(value[name], tuple(rest), new) if rest else new}


@thorough
@given(examples, st.data())
def test_valid_message_with_a_value_replaced_is_a_message_or_a_readable_error(valid: Json, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(valid)))
    check(text_of(put(valid, path, data.draw(values))))


@thorough
@given(examples, st.data())
def test_valid_message_with_an_unknown_field_is_refused_by_its_name(valid: Json, data: st.DataObject) -> None:
    # What is inside an answer depends on the game: tests/protocol/test_stages.py.
    path = data.draw(
        st.sampled_from([path for path in places(valid) if path[-1] == "stranger" and "answer" not in path])
    )
    inside = path[1:] if path[0] == "data" else path
    assert problems(text_of(put(valid, path, data.draw(values)))) == {".".join(inside): "unknown field"}


@thorough
@given(examples, st.data())
def test_valid_message_cut_short_is_malformed(valid: Json, data: st.DataObject) -> None:
    text = text_of(valid)
    refusal = refused(text[: data.draw(st.integers(0, len(text) - 1))])
    assert (refusal.error.code, refusal.re) == (ErrorCode.MALFORMED, None)
    check_refusal(refusal)


def test_valid_messages_with_bytes_changed_are_messages_or_readable_errors() -> None:
    # A seeded generator, because it makes thousands of changes in the time in which Hypothesis makes hundreds.
    chance = random.Random(20261123)
    texts = [text_of(envelope(kind)) for kind in sorted(REQUESTS) for envelope in (shortest, longest)]
    interesting = [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\0",
        b"\xff",
        b"1e999",
        b"NaN",
        b"null",
        b"\\ud800",
    ]
    for _ in range(6_000):
        text = bytearray(chance.choice(texts))
        for _ in range(chance.randint(1, 3)):
            begin = chance.randrange(len(text) + 1)
            end = min(len(text), begin + chance.choice((0, 0, 1, 1, 1, 8)))
            text[begin:end] = chance.choice([b"", chance.randbytes(1), chance.choice(interesting)])
        check(bytes(text))


# HTTP bodies


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (NoData, b"", NoData()),
        (NoData, b"{}", NoData()),
        (StartData, b"", StartData()),
        (StartData, b'{"difficulty": 3}', StartData(difficulty=3)),
        (ScoreData, b' {"score": 120}\n', ScoreData(score=120)),
        (RefreshData, b'{"refreshToken": "r"}', RefreshData(refresh_token="r")),
    ],
)
def test_caller_sends_a_body_and_is_understood(model: type[Wire], body: bytes, expected: Wire) -> None:
    assert decode_data(model, body) == expected


def body_problems(model: type[Wire], body: bytes, /, **more: Any) -> dict[str, str]:
    with pytest.raises(RequestError) as caught:
        decode_data(model, body, **more)
    assert caught.value.code is ErrorCode.INVALID
    return {field.path: field.message for field in caught.value.fields}


def test_field_that_came_by_a_header_is_checked_like_the_others() -> None:
    assert decode_data(ScoreData, b'{"score": 1}', key="12345678") == ScoreData(score=1, key="12345678")
    assert list(body_problems(ScoreData, b'{"score": 1}', key="short")) == ["key"]
    assert list(body_problems(NoData, b"", key="12345678")) == ["key"]


def test_header_that_is_no_unicode_is_invalid() -> None:
    # What aiohttp makes of bytes in a header that are not UTF-8.
    assert list(body_problems(ScoreData, b'{"score": 1}', key="12345678\udcff")) == ["key"]


@pytest.mark.parametrize("name", ["model", "body", "self", "cls", "more", "fields", "__class__"])
def test_unknown_name_in_a_query_is_an_unknown_field_whatever_it_is(name: str) -> None:
    # The edge passes a query's names on as they come: GET /api/leaderboard?model=1
    assert body_problems(GetBoardData, b"", **{name: "1"}) == {name: "unknown field"}


@pytest.mark.parametrize(
    "body",
    [
        *(b" ", b"\0", b"{", b'{"score": 1', b'{"score": 1}x', b'{"score": NaN}', b'{"score": 1, "x": Infinity}'),
        *(b"\xff", b'{"score": "\\ud800"}', b"score=1", b'{"score": 1,}', b"[" * 10_000, b'{"a":' * 10_000),
        *(b"null", b"[]", b"1", b"true", b'"score"', b'[{"score": 1}]'),
    ],
)
def test_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode_data(ScoreData, body)
    assert caught.value.code is ErrorCode.MALFORMED
    assert caught.value.fields == ()


def test_nothing_is_converted_in_a_body() -> None:
    for value in [*NO_INTEGERS, "null"]:
        assert list(body_problems(ScoreData, f'{{"score": {value}}}'.encode())) == ["score"], value


def test_wrong_fields_of_a_body_are_named() -> None:
    assert body_problems(ScoreData, b"") == {"score": "required"}
    assert body_problems(ScoreData, b'{"points": 1}') == {"score": "required", "points": "unknown field"}
    assert body_problems(StartData, b'{"data": {"difficulty": 1}}') == {"data": "unknown field"}
    assert body_problems(RefreshData, b'{"refresh_token": "r"}') == {
        "refreshToken": "required",
        "refresh_token": "unknown field",
    }
    assert list(body_problems(RegisterData, b'{"email": 1}')) == ["email", "username", "password"]


@thorough
@given(
    st.binary(max_size=40) | values.map(text_of) | st.dictionaries(st.just("score") | st.text(), values).map(text_of)
)
def test_garbage_as_a_body_is_data_or_a_readable_error(body: bytes) -> None:
    try:
        decode_data(ScoreData, body)
    except RequestError as error:
        check_refusal(UndecodableError(None, error))


# The way out


def test_error_is_encoded_with_all_it_carries() -> None:
    error = RequestError(
        ErrorCode.SESSION_NOT_ACTIVE,
        "No 😀.",
        fields=[FieldProblem("a.b", "c")],
        retry_after_ms=5,
        session=state(),
    )
    message = json.loads(encode_error(2**70, error))
    assert (message["type"], message["re"]) == ("error", 2**70)
    assert message["data"]["message"] == "No 😀."
    assert message["data"]["fields"] == [{"path": "a.b", "message": "c"}]
    assert message["data"]["retryAfterMs"] == 5
    assert message["data"]["session"]["sessionVersion"] == 5


def test_data_is_encoded_for_http_as_it_is_on_the_socket() -> None:
    assert json.loads(encode_data(NO_SESSION)) == NO_SESSION_JSON
    assert encode_data(OkData()) == b"{}"


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '{"type": "nope", "data": {}}', '{"type": "ok", "data": {"x": 1}}', "\ud800"]
)
def test_client_does_not_take_what_no_server_sends(text: str) -> None:
    with pytest.raises(ValidationError):
        decode_server_message(text)


def test_undecodable_text_says_why() -> None:
    refusal = refused(b"{")
    assert str(refusal) == "This is not JSON."


@pytest.mark.parametrize(
    "data",
    [
        "{" + ",".join(f'"{name}":1' for name in range(10_001)) + "}",
        '{"answer":[' + ",".join(["[]"] * 30_000) + "]}",
    ],
)
def test_text_of_more_parts_than_any_message_has_is_not_read(data: str) -> None:
    with pytest.raises(UndecodableError) as refused:
        decode(f'{{"type":"ping","id":1,"data":{data}}}'.encode())
    assert (refused.value.re, refused.value.error.code) == (None, ErrorCode.TOO_LARGE)
    with pytest.raises(RequestError) as error:
        decode_data(NoData, data.encode())
    assert error.value.code is ErrorCode.TOO_LARGE


def test_many_problems_are_counted_not_named() -> None:
    data = "{" + ",".join(f'"{name}":1' for name in range(2001)) + "}"
    with pytest.raises(UndecodableError) as refused:
        decode(f'{{"type":"ping","id":1,"data":{data}}}'.encode())
    assert refused.value.re == 1
    assert refused.value.error.fields == (FieldProblem("data", "2001 values are not as they should be"),)


def test_largest_drawing_is_read() -> None:
    strokes = [[number % 1000 for number in range(100)] for _ in range(200)]
    message = decode(json.dumps({"type": "stage.answer", "id": 1, "data": {"answer": {"strokes": strokes}}}).encode())
    assert message.type == "stage.answer"
