"""What never gets into a log: passwords, tokens, secrets, email addresses.

Four nets, since each has holes: names of fields, what secrets look like, what PostgreSQL says of rows, and word for
word what the settings and the request under way hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

REDACTED: Final = "[redacted]"
#: Parts of names whose values are never shown, in lower case and without _ and -.
_NAMES: Final = ("password", "token", "secret", "authorization", "email", "cookie", "databaseurl", "redisurl")
_NAMES_ONLY: Final = frozenset({"deepaikey", "apikey", "jwt"})
#: A value that is shorter is taken out only where it is a word of its own.
_LONG: Final = 6
_SHORTEST_PART: Final = 3

_ADDRESS: Final = r"[^\s@'\"<>(){}\[\],;:=/\\]"
#: Characters of one value that are logged: of longer ones, which somebody may have sent us, the beginning and the end.
_MOST: Final = 20_000
#: Without any of this none of the patterns fits.
_SUSPECT: Final = re.compile(r"[@:=$\s]|eyJ|[\w-]{40}")
#: Each looks at a bounded number of characters from where it begins, so that no text makes it take long.
_PATTERNS: Final = (
    # What PostgreSQL says of a row: the message stays, the values go.
    (re.compile(r"DETAIL:.*?(?=\nHINT:|\n\n|\n  File |\nTraceback|\Z)", re.DOTALL), f"DETAIL:  {REDACTED}"),
    # user:password@ of a URL
    (re.compile(r"(?<=://)[^\s/@'\"]{0,255}:[^\s'\"]{0,1000}@"), f"{REDACTED}@"),
    # a JWT, also one that was cut off
    (re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,2}"), REDACTED),
    (re.compile(r"\b(Bearer|Basic)\s+[^\s'\",]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    # what bcrypt makes of a password
    (re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}"), REDACTED),
    # password=…, "refreshToken": "…" and the like
    (
        re.compile(
            r"""(\w{0,20}(?:password|token|secret|authorization|cookie|api[_-]?key)\w{0,20}\\{0,8}['"]?\s{0,8}[:=]\s{0,8}\\{0,8})"""
            r"""('(?:\\.|[^'\\])*'?|"(?:\\.|[^"\\])*"?|[^\s,;&})\]]+)""",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(rf"{_ADDRESS}{{1,254}}@{_ADDRESS}{{1,254}}\.{_ADDRESS}{{1,63}}"), REDACTED),
    # What no name is and nobody reads: 40 characters and more, with digits and capitals. Refresh tokens, hashes.
    (re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{40,}"), REDACTED),
)

#: Whatever the request under way holds that may not be shown.
_HIDDEN: Final[ContextVar[tuple[str, ...]]] = ContextVar("hidden", default=())


@contextmanager
def hiding(values: Iterable[str]) -> Iterator[None]:
    """What is logged inside shows none of these, wherever they stand in it."""
    token = _HIDDEN.set((*_HIDDEN.get(), *values))
    try:
        yield
    finally:
        _HIDDEN.reset(token)


@lru_cache(maxsize=1000)
def is_secret_name(name: str) -> bool:
    """Whether a field of this name is never shown."""
    plain = name.lower().replace("_", "").replace("-", "")
    return plain in _NAMES_ONLY or any(part in plain for part in _NAMES)


def secrets_in(values: Mapping[str, object]) -> list[str]:
    """The texts among these that may not be shown, by their names."""
    return [value for name, value in values.items() if isinstance(value, str) and value and is_secret_name(name)]


def secrets_of_url(url: str | None) -> list[str]:
    """The password of a URL, as it stands there and as it is meant, and where it was not encoded as it should have been
    the pieces that it may be taken for."""
    user, at, _ = (url or "").partition("://")[2].rpartition("@")
    _, colon, password = user.partition(":")
    if not at or not colon or not password:
        return []
    pieces = [piece for piece in re.split(r"[/?#:@]", password) if len(piece) >= _SHORTEST_PART]
    return [password, unquote(password), *pieces]


class Redaction:
    """Takes out of texts what may not be shown. `always` are secrets of this process."""

    def __init__(self, always: Iterable[str] = ()) -> None:
        self._always = _words(always)

    def known(self, text: str) -> str:
        """The text without what is known word for word."""
        for words in (self._always, _words(_HIDDEN.get())):
            if words is not None:
                text = words.sub(REDACTED, text)
        return text

    def text(self, text: str) -> str:
        """The text without that and without what looks like it."""
        text = self.known(text)
        if len(text) > _MOST:
            text = f"{text[: _MOST // 2]} … {text[-_MOST // 2 :]}"
        if _SUSPECT.search(text) is None:
            return text
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a processor of structlog."""
        return {str(name): self._value(str(name), value) for name, value in event.items()}

    def _value(self, name: str, value: Any) -> Any:
        if is_secret_name(name) and value is not None and not isinstance(value, bool | int | float):
            return REDACTED
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self.text(value)
            case Mapping():
                return {str(key): self._value(str(key), inner) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._value("", inner) for inner in value]
        return self.text(str(value))


def _words(values: Iterable[str]) -> re.Pattern[str] | None:
    ways = {way for value in values if value for way in _ways_to_write(value)}
    if not ways:
        return None
    # The longest first, or a part of it would be taken out and the rest stay.
    ordered = sorted(ways, key=len, reverse=True)
    return re.compile("|".join(re.escape(way) if len(way) >= _LONG else _alone(way) for way in ordered))


def _alone(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"


def _ways_to_write(value: str) -> set[str]:
    quoted: tuple[Callable[[str], str], ...] = (
        str,
        lambda text: repr(text)[1:-1],
        lambda text: ascii(text)[1:-1],
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    )
    return {write(value) for write in quoted}
