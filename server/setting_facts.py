"""What is known of a setting by its declaration: its unit, its bounds, what of it is secret, and how it is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic.fields import FieldInfo

MASK: Final = "***"
#: A setting of such a name has to say at its declaration what of it is secret; until then all of it is.
SUSPICIOUS: Final = ("secret", "key", "password", "token", "url", "credential", "dsn")
#: What a line shows of a value at most: characters.
_SHOWN: Final = 80
_SECRET_OPTION: Final = re.compile(r"(?i)(^|[?&;])([^=&;?]*(?:pass|secret|token|key)[^=&;?]*)=[^&;]*")


class Secrecy(Enum):
    """What nobody may see of a setting; it stands in the annotation of each for which that is a question."""

    NONE = "nothing"
    ALL = "the value"
    PASSWORD = "the passwords within a URL"


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number of a setting counts, in the annotation of each that is one: `Unit("seconds")`."""

    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A setting as its declaration has it."""

    name: str
    variable: str
    description: str
    default: Any
    #: The type without None.
    kind: Any
    unit: str
    #: What may be set, in words; empty when any text may.
    bounds: str
    secrecy: Secrecy

    @classmethod
    def of(cls, name: str, variable: str, field: FieldInfo) -> Fact:
        """Read a declaration."""
        kind = _without_none(field.annotation)
        return cls(
            name=name,
            variable=variable,
            description=" ".join((field.description or "").split()),
            default=field.default,
            kind=kind,
            unit=next((one.text for one in field.metadata if isinstance(one, Unit)), ""),
            bounds=_bounds(kind, field.metadata),
            secrecy=next((one for one in field.metadata if isinstance(one, Secrecy)), _suspected(name)),
        )

    @property
    def flag(self) -> str:
        """The command line's name for it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.kind is bool

    @property
    def measure(self) -> str:
        """Bounds and unit: `0 to 65535, TCP port`."""
        return ", ".join(filter(None, (self.bounds, self.unit)))

    def shown(self, value: Any) -> str:
        """The value as a variable would have it, without what is secret; `unset` for none."""
        if value is None:
            return "unset"
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, tuple):
            return self.masked(",".join(map(str, value))) or "none"
        return self.masked(f"{value:g}" if isinstance(value, float) else str(value))

    def masked(self, text: str) -> str:
        """The text of a value, as it was set, without what is secret."""
        if not text or self.secrecy is Secrecy.NONE:
            return text
        return MASK if self.secrecy is Secrecy.ALL else without_passwords(text)

    def refusal(self, kind: str, given: Any, said: str) -> str:
        """Why a value is wrong, in one line without the setting's name: what was given, what may be, in which unit.

        `kind` and `said` are pydantic's name of the error and its text.
        """
        text = self.masked(given if isinstance(given, str) else str(given))
        shown = repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
        if self.kind in (int, float) and isinstance(given, str) and re.fullmatch(r"-?[\d.]+", given):
            shown = text
        unit = f" ({self.unit})" if self.unit else ""
        if get_origin(self.kind) is Literal:
            return f"{shown} is none of {self.bounds}"
        if self.is_switch:
            return f"{shown} is neither on nor off"
        if self.kind is int and kind.startswith("int_"):
            return f"{shown} is not a whole number{f', {self.bounds}' if self.bounds else ''}{unit}"
        if self.kind in (int, float) and kind != "value_error":
            return f"{shown} is not {_between(self.bounds)}{unit}"
        if kind == "string_too_short":
            return f"it is empty{unit}" if not text else f"{shown} is too short, {self.bounds}{unit}"
        if kind == "value_error":
            return f"{said.removeprefix('Value error, ')}{unit}"
        return f"{shown} is refused, {self.bounds or said[:1].lower() + said[1:]}{unit}"


def without_passwords(url: str) -> str:
    """A URL as it may be shown: *** for the password of its user, and for options whose names say that they are secret.
    Of a text that is no URL nothing is shown, since who knows what stands where."""
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        return MASK
    rest, question, options = rest.partition("?")
    # The last @ ends the user: a password that should have been percent-encoded may hold others, and slashes, too.
    user, at, place = rest.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}{colon}{MASK if colon else ''}"
    options = _SECRET_OPTION.sub(lambda found: f"{found[1]}{found[2]}={MASK}", options)
    shown = f"{scheme}://{user}{at}{place}{question}{options}"
    try:
        urlsplit(shown)
    except ValueError:
        return MASK
    return shown


def _suspected(name: str) -> Secrecy:
    return Secrecy.ALL if any(word in name for word in SUSPICIOUS) else Secrecy.NONE


def _without_none(annotation: Any) -> Any:
    if isinstance(annotation, UnionType) or get_origin(annotation) is not None:
        rest = [one for one in get_args(annotation) if one is not NoneType]
        if NoneType in get_args(annotation) and len(rest) == 1:
            return rest[0]
    return annotation


def _bounds(kind: Any, metadata: list[Any]) -> str:
    if kind is bool:
        return "on or off"
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    limits = {
        name: getattr(one, name)
        for one in metadata
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
        if getattr(one, name, None) is not None
    }
    if "pattern" in limits:
        return f"has to match {limits['pattern']}"
    if "min_length" in limits and kind is str:
        return f"at least {limits['min_length']} character{'s' if limits['min_length'] > 1 else ''}"
    low = f"{limits['ge']}" if "ge" in limits else f"above {limits['gt']}" if "gt" in limits else ""
    high = f"{limits['le']}" if "le" in limits else f"below {limits['lt']}" if "lt" in limits else ""
    if low and high:
        return f"{low} to {high}" if "ge" in limits and "le" in limits else f"{low}, {_at_most(limits, high)}"
    if low:
        return f"{low} or more" if "ge" in limits else low
    if high:
        return _at_most(limits, high)
    return ""


def _at_most(limits: dict[str, Any], high: str) -> str:
    return f"at most {high}" if "le" in limits else high


def _between(bounds: str) -> str:
    low, to, high = bounds.partition(" to ")
    return f"between {low} and {high}" if to else bounds or "a number"
