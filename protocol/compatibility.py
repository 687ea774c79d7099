"""What has changed between two published contracts, and what that means for a client of the older one.

`python -m protocol.compatibility` compares what the models say with the contract of the last release, under
docs/contracts/released, and says which version number the changes ask for by the rules of semantic versioning.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TextIO

from protocol.contracts import CONTRACT_VERSION, message_schemas, openapi

RELEASED: Final = Path(__file__).parent.parent / "docs" / "contracts" / "released"
#: The files that are kept of a release: AsyncAPI says of the messages what their schemas say.
KEPT: Final = ("messages.schema.json", "openapi.json")
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head"})
#: Keywords that bound a value: whether a larger number lets more through.
_BOUNDS: Final = {
    "minimum": False,
    "exclusiveMinimum": False,
    "minLength": False,
    "minItems": False,
    "maximum": True,
    "exclusiveMaximum": True,
    "maxLength": True,
    "maxItems": True,
}
Schema = Mapping[str, Any]


class Level(IntEnum):
    """What a change asks of the version number."""

    #: Something new, which older clients ignore or do without: the second number.
    MINOR = 1
    #: A client that did right by the older contract may fail: the first number.
    MAJOR = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Contract:
    """Two of the published documents, by their content."""

    messages: Schema
    http: Schema

    @classmethod
    def of_models(cls) -> Contract:
        """The contract as the models have it now."""
        return cls(message_schemas(), openapi())

    @classmethod
    def read(cls, folder: Path) -> Contract:
        """A contract that was published."""
        return cls(*(json.loads((folder / name).read_text(encoding="utf-8")) for name in KEPT))

    @property
    def version(self) -> str:
        """Its semantic version."""
        return str(self.messages["version"])


def changes(old: Contract, new: Contract) -> list[Change]:
    """All differences that a client can notice, by message and route. Descriptions, titles and defaults are none."""
    sent = _Comparison(old.messages, new.messages, by_client=True)
    received = _Comparison(old.messages, new.messages, by_client=False)
    return [
        *sent.messages("ClientMessage"),
        *received.messages("ServerMessage"),
        *_routes(old.http, new.http),
    ]


def needed_version(old: str, found: list[Change]) -> str:
    """The least version that a contract with these changes since `old` may have."""
    first, second, _ = map(int, old.split("."))
    level = max((change.level for change in found), default=None)
    if level is None:
        return old
    return f"{first + 1}.0.0" if level is Level.MAJOR else f"{first}.{second + 1}.0"


def is_enough(version: str, needed: str) -> bool:
    """Whether a version is not below the one that is needed."""
    have, want = (tuple(map(int, text.split("."))) for text in (version, needed))
    return have >= want


def last_released() -> Path:
    """The folder of the last release's contract."""
    return max((path for path in RELEASED.iterdir()), key=lambda path: tuple(map(int, path.name.split("."))))


class _Comparison:
    """Two documents, read in one direction: what clients send has to go on being understood, what they are sent has to
    go on being what they can read."""

    def __init__(self, old: Schema, new: Schema, *, by_client: bool) -> None:
        self._old = old
        self._new = new
        self._by_client = by_client
        self._seen: set[tuple[str, str, str]] = set()

    def messages(self, union: str) -> Iterator[Change]:
        """The messages of a union, by their type."""
        old, new = (self._by_type(document, union) for document in (self._old, self._new))
        yield from (
            Change(Level.MAJOR, f"{kind}: there is no such message any more") for kind in old.keys() - new.keys()
        )
        yield from (Change(Level.MINOR, f"{kind}: the message is new") for kind in sorted(new.keys() - old.keys()))
        for kind in old.keys() & new.keys():
            yield from self.values(kind, old[kind], new[kind])

    def _by_type(self, document: Schema, union: str) -> dict[str, Schema]:
        parts = [_resolved(document, part) for part in document["$defs"][union]["oneOf"]]
        return {str(part["properties"]["type"]["const"]): part for part in parts}

    def values(self, place: str, old: Schema, new: Schema) -> Iterator[Change]:
        """One value and all within it."""
        pair = (place, json.dumps(old, sort_keys=True), json.dumps(new, sort_keys=True))
        if pair in self._seen:
            return  # A definition that refers to itself.
        self._seen.add(pair)
        before, after = self._kinds(self._old, old), self._kinds(self._new, new)
        for kind in sorted(before.keys() - after.keys()):
            # What is sent no more hurts nobody; to be understood no more does.
            yield Change(Level.MAJOR if self._by_client else Level.MINOR, f"{place}: is no {kind} any more")
        for kind in sorted(after.keys() - before.keys()):
            yield Change(Level.MINOR if self._by_client else Level.MAJOR, f"{place}: may be {kind}")
        if not self._by_client and before and not before.keys() & after.keys():
            yield Change(Level.MAJOR, f"{place}: is something else")
        for kind in sorted(before.keys() & after.keys()):
            yield from self._alike(place, before[kind], after[kind])

    def _kinds(self, document: Schema, schema: Schema) -> dict[str, Schema]:
        """What a value may be, by the name of its kind."""
        parts = _alternatives(document, schema)
        kinds = [str(part.get("type", "anything")) for part in parts]
        return {
            # Objects among others of their kind are told apart by a field that is always the same, as clients do it.
            kind if kinds.count(kind) == 1 else f"{kind} {_tag(part)}": part
            for kind, part in zip(kinds, parts, strict=True)
        }

    def _alike(self, place: str, old: Schema, new: Schema) -> Iterator[Change]:
        yield from self._choices(place, old, new)
        yield from self._bounds(place, old, new)
        yield from self._fields(place, old, new)
        if "items" in old and "items" in new:
            yield from self.values(f"{place}[]", old["items"], new["items"])
        rest = [schema.get("additionalProperties") for schema in (old, new)]
        if isinstance(rest[0], dict) and isinstance(rest[1], dict):
            yield from self.values(f"{place}.*", rest[0], rest[1])

    def _choices(self, place: str, old: Schema, new: Schema) -> Iterator[Change]:
        before, after = _choices(old), _choices(new)
        if before is None and after is None:
            return
        if before is None or after is None:
            harmless = (after is None) is self._by_client
            said = "may be anything now" if after is None else f"is one of {_listed(after)} now"
            yield Change(Level.MINOR if harmless else Level.MAJOR, f"{place}: {said}")
            return
        for value in sorted(before - after):
            yield Change(Level.MAJOR if self._by_client else Level.MINOR, f"{place}: is never {value} any more")
        # Clients have to bear a value that is new to them, as a code of an error.
        yield from (Change(Level.MINOR, f"{place}: may be {value}") for value in sorted(after - before))

    def _bounds(self, place: str, old: Schema, new: Schema) -> Iterator[Change]:
        for name, larger_is_wider in _BOUNDS.items():
            before, after = old.get(name), new.get(name)
            if before == after:
                continue
            wider = after is None or (before is not None and (after > before) is larger_is_wider)
            level = Level.MINOR if wider or not self._by_client else Level.MAJOR
            yield Change(level, f"{place}: {name} is {after}, was {before}")
        for name in ("pattern", "format"):
            before, after = old.get(name), new.get(name)
            if before != after:
                wider = after is None
                level = Level.MINOR if wider is self._by_client else Level.MAJOR
                yield Change(level, f"{place}: {name} is {after}, was {before}")

    def _fields(self, place: str, old: Schema, new: Schema) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(before.keys() - after.keys()):
            yield Change(Level.MAJOR, f"{place}.{name}: there is no such field any more")
        for name in sorted(after.keys() - before.keys()):
            required = self._by_client and name in needed_after
            text = "the field is new, and required" if required else "the field is new"
            yield Change(Level.MAJOR if required else Level.MINOR, f"{place}.{name}: {text}")
        for name in sorted(before.keys() & after.keys()):
            if (name in needed_before) is not (name in needed_after):
                now = name in needed_after
                harmless = now is not self._by_client
                text = "is always there now" if now else "need not be there any more"
                yield Change(Level.MINOR if harmless else Level.MAJOR, f"{place}.{name}: {text}")
            yield from self.values(f"{place}.{name}", before[name], after[name])


def _routes(old: Schema, new: Schema) -> Iterator[Change]:
    before, after = _operations(old), _operations(new)
    yield from (
        Change(Level.MAJOR, f"{name}: there is no such route any more") for name in before.keys() - after.keys()
    )
    yield from (Change(Level.MINOR, f"{name}: the route is new") for name in sorted(after.keys() - before.keys()))
    sent, received = (_Comparison(old, new, by_client=by_client) for by_client in (True, False))
    for name in sorted(before.keys() & after.keys()):
        was, now = before[name], after[name]
        if now.get("security") and not was.get("security"):
            yield Change(Level.MAJOR, f"{name}: needs a token now")
        yield from sent.values(f"{name} asked", _as_object(was), _as_object(now))
        for status in sorted(was["responses"].keys() | now["responses"].keys()):
            place = f"{name} {status}"
            if status not in now["responses"]:
                yield Change(Level.MAJOR if status < "400" else Level.MINOR, f"{place}: is not answered any more")
            elif status not in was["responses"]:
                yield Change(Level.MINOR, f"{place}: may be answered")
            else:
                yield from received.values(place, _body(was["responses"][status]), _body(now["responses"][status]))


def _operations(document: Schema) -> dict[str, Schema]:
    return {
        f"{method.upper()} {path}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in _METHODS
    }


def _as_object(operation: Schema) -> Schema:
    """What a request says, as if its parameters and its body were fields."""
    parameters = {f"{one['in']} {one['name']}": one for one in operation.get("parameters", ())}
    fields = {name: one["schema"] for name, one in parameters.items()}
    required = [name for name, one in parameters.items() if one.get("required")]
    if "requestBody" in operation:
        fields["body"] = _body(operation["requestBody"])
        required += ["body"] if operation["requestBody"].get("required") else []
    return {"type": "object", "properties": fields, "required": required}


def _body(part: Schema) -> Schema:
    content: Mapping[str, Any] = part.get("content", {})
    schema: Schema = {}
    for kind in content.values():
        schema = kind.get("schema", {})
    return schema


def _alternatives(document: Schema, schema: Schema) -> list[Schema]:
    schema = _resolved(document, schema)
    parts = schema.get("anyOf") or schema.get("oneOf")
    return [one for part in parts for one in _alternatives(document, part)] if parts else [schema]


def _tag(schema: Schema) -> str:
    constants = [field["const"] for field in schema.get("properties", {}).values() if "const" in field]
    return str(constants[0]) if constants else str(schema.get("title", ""))


def _resolved(document: Schema, schema: Schema) -> Schema:
    """The schema behind a reference; parts that all have to hold are put together."""
    while "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found
    if "allOf" not in schema:
        return schema
    whole: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in (_resolved(document, one) for one in schema["allOf"]):
        fields = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole |= {**part, "properties": fields, "required": required}
    return whole


def _choices(schema: Schema) -> set[str] | None:
    if "const" in schema:
        return {json.dumps(schema["const"])}
    return {json.dumps(value) for value in schema["enum"]} if "enum" in schema else None


def _listed(values: set[str]) -> str:
    return ", ".join(sorted(values))


def run(output: TextIO = sys.stdout) -> int:
    """Compare with the last release; gives 0, or 1 when the contract's version is too low for what has changed."""
    old, new = Contract.read(last_released()), Contract.of_models()
    found = changes(old, new)
    for change in sorted(found, key=lambda change: (-change.level, change.text)):
        output.write(f"{change.level.name.lower()}  {change.text}\n")
    needed = needed_version(old.version, found)
    enough = is_enough(CONTRACT_VERSION, needed)
    verdict = "as it should be" if enough else f"and has to be {needed} at least"
    output.write(f"{len(found)} changes since {old.version}; the contract is {CONTRACT_VERSION}, {verdict}\n")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(run())
