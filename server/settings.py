"""Every setting, its unit, default and bounds. An environment variable or a line of `.env` each, and a flag each."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from server.addresses import parse_networks
from server.attempts import (
    FAILURES_PER_ACCOUNT,
    FAILURES_PER_ACCOUNT_ANYWHERE,
    FAILURES_PER_ADDRESS,
    LONGEST_DELAY_SECONDS,
    REGISTRATIONS_PER_ADDRESS,
)
from server.limits import (
    BYTES_OF_ONE_MESSAGE,
    DOORWAY_CONNECTIONS,
    MESSAGE_BYTES,
    MESSAGE_FRAGMENTS,
    MESSAGE_SECONDS,
    MESSAGES_AT_ONCE,
    MESSAGES_PER_SECOND,
    PLAYER_MESSAGE_BYTES,
    PLAYER_MESSAGES_AT_ONCE,
    PLAYER_MESSAGES_PER_SECOND,
    SOCKETS_PER_ACCOUNT,
    SOCKETS_PER_ADDRESS,
    SUBSCRIPTIONS_PER_SOCKET,
)
from server.redaction import secrets_of_url
from server.setting_facts import Fact, Secrecy, Unit
from storage.boards import MAX_TOTAL_SCORE

MIN_SECRET_BYTES: Final = 32
#: Different characters in a secret. A random one of 32 hexadecimal digits never has fewer (3 in 10^13).
MIN_SECRET_CHARACTERS: Final = 6
#: Where DeepAI documents its image-similarity API to be.
DEFAULT_DEEPAI_URL: Final = "https://api.deepai.org/api/image-similarity"
#: Variables without the prefix BRAINGAME_, because other tools set them.
_UNPREFIXED: Final = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}
_PREFIX: Final = "BRAINGAME_"
_DOTENV: Final = ".env"
#: Names a folder with a file for each secret, by the name of its variable: systemd's LoadCredential sets it.
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"


_SOME: Final = Field(gt=0, allow_inf_nan=False)
_ONE_AT_LEAST: Final = Field(ge=1, allow_inf_nan=False)


class SettingError(Exception):
    """Wrong settings: a line for each, for the operator."""


def _unprefixed(name: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(name, _UNPREFIXED[name]))


class Settings(BaseSettings):
    """How this server runs."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=_DOTENV,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        use_attribute_docstrings=True,
    )

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535), Unit("TCP port")] = 8080
    """TCP port; 0 picks a free one."""
    workers: Annotated[int, Field(ge=1, le=64), Unit("processes")] = 1
    """Server processes on the port; about one for each core that the stores leave."""
    data_dir: Path = Path("var")
    """Folder of the embedded stores and of the token secret."""
    database_url: Annotated[str | None, Secrecy.PASSWORD] = _unprefixed("database_url")
    """PostgreSQL 14 or later; without it an embedded one is started."""
    database_pooler: Literal["none", "transaction"] = "none"
    """What DATABASE_URL leads to: PostgreSQL itself, or a pooler such as PgBouncer in transaction mode."""
    redis_url: Annotated[str | None, Secrecy.PASSWORD] = _unprefixed("redis_url")
    """Redis 7 or compatible, also redis+cluster:// or redis+sentinel://; without it an embedded Valkey is started."""
    jwt_secret: Annotated[str | None, Secrecy.ALL] = None
    """Secret that signs access tokens, 32 bytes or more; needed with DATABASE_URL, else kept in the data folder."""
    jwt_secret_previous: Annotated[str | None, Secrecy.ALL] = None
    """The secret before this one, whose tokens are taken until they expire."""
    token_seconds: Annotated[int, Field(ge=1, le=31_536_000), Unit("seconds"), Secrecy.NONE] = 3600
    """How long an access token is good for."""
    bcrypt_cost: Annotated[int, Field(ge=4, le=16), Unit("rounds, as a power of two")] = 12
    """Logarithm of the work for a password."""
    stages: Annotated[int, Field(ge=1, le=1000), Unit("stages")] = 3
    """Stages of a session."""
    max_stage_score: Annotated[int, Field(ge=0, le=2**40 - 1), Unit("points")] = 1_000_000
    """Highest score of one stage."""
    board_hz: Annotated[float, Field(gt=0, le=100), Unit("changes a second")] = 10
    """Most changes a second that a subscriber is sent for one board."""
    origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Allowed browser origins besides the server's own, separated by commas."""
    limits: bool = True
    """Limits on rates and numbers; off for load tests."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses or networks of proxies, separated by commas, whose X-Forwarded-For or Forwarded is believed."""
    messages_per_second: Annotated[float, _SOME, Unit("messages a second")] = MESSAGES_PER_SECOND
    """Messages a second of one socket, in the long run."""
    messages_at_once: Annotated[float, _ONE_AT_LEAST, Unit("messages")] = MESSAGES_AT_ONCE
    """The same at once; a message counts once for each 16 KiB begun."""
    player_messages_per_second: Annotated[float, _SOME, Unit("messages a second")] = PLAYER_MESSAGES_PER_SECOND
    """Messages and HTTP requests a second of one player to one process, in the long run."""
    player_messages_at_once: Annotated[float, _ONE_AT_LEAST, Unit("messages")] = PLAYER_MESSAGES_AT_ONCE
    """The same at once."""
    message_bytes: Annotated[int, Field(ge=4096, le=2**24), Unit("bytes")] = MESSAGE_BYTES
    """Bytes of a message or an HTTP body."""
    player_message_bytes: Annotated[int, Field(ge=4096, le=2**26), Unit("bytes")] = PLAYER_MESSAGE_BYTES
    """The same for players, who send pictures."""
    message_fragments: Annotated[int, Field(ge=1), Unit("frames")] = MESSAGE_FRAGMENTS
    """Frames that one message may come in."""
    message_seconds: Annotated[float, Field(gt=0, le=3600), Unit("seconds")] = MESSAGE_SECONDS
    """Seconds from the first byte of a message, or of an HTTP body, to its last."""
    subscriptions_per_socket: Annotated[int, Field(ge=1), Unit("boards")] = SUBSCRIPTIONS_PER_SOCKET
    """Boards that a socket follows at once; there are 33."""
    sockets_per_address: Annotated[int, Field(ge=1), Unit("connections")] = SOCKETS_PER_ADDRESS
    """Connections of one address (IPv6: /64) to one process; this machine's own are not counted."""
    sockets_per_account: Annotated[int, Field(ge=1), Unit("sockets")] = SOCKETS_PER_ACCOUNT
    """Sockets of one account on one process."""
    doorway_connections: Annotated[int, Field(ge=1), Unit("connections")] = DOORWAY_CONNECTIONS
    """Connections to one process whose first request is not complete yet."""
    failures_per_account: Annotated[int, Field(ge=1), Unit("tries")] = FAILURES_PER_ACCOUNT
    """Wrong passwords for an account from one address before delays grow; over all nodes."""
    failures_per_account_anywhere: Annotated[int, Field(ge=1), Unit("tries")] = FAILURES_PER_ACCOUNT_ANYWHERE
    """The same from anywhere, but for addresses where the player has logged in."""
    failures_per_address: Annotated[int, Field(ge=1), Unit("tries")] = FAILURES_PER_ADDRESS
    """Wrong passwords from one address before delays grow; over all nodes."""
    registrations_per_address: Annotated[int, Field(ge=1), Unit("registrations")] = REGISTRATIONS_PER_ADDRESS
    """Registrations from one address before delays grow; over all nodes."""
    longest_delay_seconds: Annotated[float, Field(ge=1, le=3600), Unit("seconds")] = LONGEST_DELAY_SECONDS
    """What such a delay grows up to."""
    tls_certificate: Path | None = None
    """PEM file with the certificate and its chain; then the port speaks https and wss."""
    tls_key: Annotated[Path | None, Secrecy.NONE] = None
    """PEM file with its private key."""
    scoring: Literal["reported", "judged"] = "reported"
    """Whose score counts: judged takes that of the server's own stages alone, reported the client's, too."""
    deepai_key: Annotated[str | None, Secrecy.ALL] = None
    """Key for DeepAI's image-similarity API, which then compares drawings; without it the server does."""
    deepai_url: Annotated[str, Field(pattern="^https?://"), Secrecy.PASSWORD] = DEFAULT_DEEPAI_URL
    """Where that API is."""
    migrate: bool | None = None
    """Carry an older schema forward at the start; by default only that of the embedded store."""
    leaderboard_emails: Literal["own", "all"] = "own"
    """Whose emails GET /api/leaderboard shows: the caller's own, or all."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged; debug tells of each request, each commit and each push."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """JSON lines, or lines for people; auto: for people on a terminal."""
    traces_url: Annotated[str | None, Field(pattern="^https?://"), Secrecy.PASSWORD] = None
    """Where traces go, by OTLP over HTTP: http://127.0.0.1:4318/v1/traces; without it there are none."""
    traces_share: Annotated[float, Field(ge=0, le=1), Unit("of the requests")] = 0.01
    """Share of the requests that are traced."""

    @field_validator("origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(origin.strip().rstrip("/").lower() for origin in value.split(",") if origin.strip())
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return parse_networks(value) if isinstance(value, str) else value

    @field_validator("jwt_secret", "jwt_secret_previous")
    @classmethod
    def _strong_enough(cls, value: str | None) -> str | None:
        if value is not None and (said := weakness(value)):
            raise ValueError(said)
        return value

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("BRAINGAME_TLS_CERTIFICATE and BRAINGAME_TLS_KEY are needed together")
        return self

    @model_validator(mode="after")
    def _largest_message_can_pass(self) -> Self:
        # What costs more than a bucket holds would be told to come again for ever.
        if 1 + self.player_message_bytes // BYTES_OF_ONE_MESSAGE > min(
            self.messages_at_once, self.player_messages_at_once
        ):
            raise ValueError("BRAINGAME_MESSAGES_AT_ONCE has no room for a message of BRAINGAME_PLAYER_MESSAGE_BYTES")
        return self

    @model_validator(mode="after")
    def _scores_fit(self) -> Self:
        if self.stages * self.max_stage_score > MAX_TOTAL_SCORE:
            raise ValueError(
                f"BRAINGAME_STAGES ({self.stages}) times BRAINGAME_MAX_STAGE_SCORE ({self.max_stage_score} points) "
                f"has to be {MAX_TOTAL_SCORE} at most"
            )
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # Whoever logs them shows no secret.
        for name, fact in facts().items():
            yield name, fact.shown(getattr(self, name))

    @property
    def secrets(self) -> list[str]:
        """What of the settings must not be shown to anybody."""
        found: list[str] = []
        for name, fact in facts().items():
            value = getattr(self, name)
            if isinstance(value, str) and fact.secrecy is Secrecy.ALL:
                found.append(value)
            elif isinstance(value, str) and fact.secrecy is Secrecy.PASSWORD:
                found += secrets_of_url(value)
        return found

    @property
    def pooled(self) -> bool:
        """Whether each transaction may be on another connection to PostgreSQL."""
        return self.database_pooler == "transaction"

    @property
    def migrates(self) -> bool:
        """Whether an older schema is carried forward."""
        return self.database_url is None if self.migrate is None else self.migrate


def weakness(secret: str) -> str | None:
    """What is wrong with a secret, if it can be seen."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return f"at least {MIN_SECRET_BYTES} bytes are needed"
    if len(set(secret)) < MIN_SECRET_CHARACTERS:
        return "the same few characters over and over are no secret"
    return None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return _UNPREFIXED.get(name, f"{_PREFIX}{name.upper()}")


@cache
def facts() -> Mapping[str, Fact]:
    """What is known of each setting, by its name, in the order of their declaration."""
    return {name: Fact.of(name, variable(name), field) for name, field in Settings.model_fields.items()}


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise SettingError(f"{message} (try --help)")


def add_flags(parser: argparse._ActionsContainer) -> None:
    """A flag for each setting; what was given has the setting's name, what was not is None."""
    for name, fact in facts().items():
        said = f"{fact.description} {fact.variable}; {fact.measure or 'text'} (default: {fact.shown(fact.default)})"
        help_text = said.replace("%", "%%")
        if fact.is_switch:
            parser.add_argument(fact.flag, action=argparse.BooleanOptionalAction, default=None, help=help_text)
        else:
            parser.add_argument(fact.flag, default=None, metavar=name.split("_")[-1].upper(), help=help_text)


def flags_in(given: argparse.Namespace) -> dict[str, Any]:
    """The settings among what a parser has found."""
    values = vars(given)
    return {name: values[name] for name in Settings.model_fields if values.get(name) is not None}


def parse_settings(arguments: Sequence[str], commands: str = "") -> Settings:
    """Settings from flags, environment, `.env` and files of credentials, in this order of strength. `--help` says what
    there is, `commands` at its end, and exits. Raises SettingError."""
    parser = _OneLineParser(
        prog="run_server.py",
        description="The Brain Game server. Every flag is also an environment variable or a line of .env.",
        epilog=commands,
        formatter_class=_WithCommands,
        allow_abbrev=False,
    )
    add_flags(parser)
    found = read_back(flags_in(parser.parse_args(arguments)))
    if found.settings is None:
        raise SettingError("\n".join(found.wrong))
    return found.settings


class _WithCommands(argparse.HelpFormatter):
    """Leaves the lines of the list of commands as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a setting is, and where that comes from."""

    fact: Fact
    #: As it may be shown.
    value: str
    #: `flag --port`, `environment`, `.env line 3`, `file in CREDENTIALS_DIRECTORY`, or `default`.
    source: str


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Every setting, and the settings as the server has them: None when something is wrong, with a line for each."""

    readings: list[Reading]
    settings: Settings | None
    wrong: list[str]


def read_back(flags: Mapping[str, Any]) -> ReadBack:
    """Look where each setting is set. Raises SettingError when a source cannot be read."""
    try:
        found = _found(flags)
        settings, wrong = None, list[str]()
        try:
            settings = Settings(**flags, _secrets_dir=_credentials())
        except ValidationError as error:
            wrong = [_refusal(problem) for problem in error.errors()]
    except SettingsError as error:
        raise SettingError(str(error).partition("\n")[0]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{_DOTENV} cannot be read: {error}") from None
    readings = []
    for name, fact in facts().items():
        raw, source = found.get(name, (fact.default, "default"))
        readings.append(Reading(fact, fact.shown(raw if settings is None else getattr(settings, name)), source))
    return ReadBack(readings, settings, wrong)


def _refusal(problem: ErrorDetails) -> str:
    name = _known(str(problem["loc"][0])) if problem["loc"] else None
    if name is None:
        # What several settings together have wrong names them itself.
        return problem["msg"].removeprefix("Value error, ")
    fact = facts()[name]
    return f"{fact.variable}: {fact.refusal(problem['type'], problem['input'], problem['msg'])}"


def _found(flags: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """What is set where, the strongest source of each."""
    found: dict[str, tuple[Any, str]] = {}
    folder = _credentials()
    if folder is not None:
        for name, value in _by_setting(SecretsSettingsSource(Settings, secrets_dir=folder)()).items():
            found[name] = value, f"file in {CREDENTIALS}"
    for name, value in _by_setting(DotEnvSettingsSource(Settings)()).items():
        found[name] = value, f"{_DOTENV}{_line_of(variable(name))}"
    for name, value in _by_setting(EnvSettingsSource(Settings)()).items():
        found[name] = value, "environment"
    for name, value in flags.items():
        found[name] = value, f"flag {facts()[name].flag}"
    return found


def _by_setting(values: Mapping[str, Any]) -> dict[str, Any]:
    # A .env may have anything else; it gives that, too.
    return {name: value for key, value in values.items() if (name := _known(key)) is not None}


def _known(key: str) -> str | None:
    names = {written.lower(): name for name in Settings.model_fields for written in (name, variable(name))}
    return names.get(key.lower())


def _line_of(name: str) -> str:
    """Which line of `.env` says it: the last one counts."""
    pattern = re.compile(rf"\s*(export\s+)?{name}\s*=", re.IGNORECASE)
    lines = Path(_DOTENV).read_text(encoding="utf-8").splitlines()
    numbers = [number for number, line in enumerate(lines, 1) if pattern.match(line)]
    return f" line {numbers[-1]}" if numbers else ""


def _credentials() -> str | None:
    folder = os.environ.get(CREDENTIALS, "")
    return folder if folder and Path(folder).is_dir() else None


def unknown_variables() -> list[str]:
    """A line for each variable of the environment or of `.env` that begins as ours do and that no setting has: most
    likely it was mistyped, and what it should do is not done. Raises SettingError when `.env` cannot be read."""
    known = {fact.variable.removeprefix(_PREFIX): fact.variable for fact in facts().values()}
    places = [(name, "the environment") for name in os.environ]
    try:
        places += [(name.upper(), _DOTENV) for name in DotEnvSettingsSource(Settings).env_vars]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{_DOTENV} cannot be read: {error}") from None
    lines = []
    for name, place in places:
        rest = name.upper().removeprefix(_PREFIX)
        if rest != name.upper() and rest not in known:
            like = difflib.get_close_matches(rest, known, n=1)
            lines.append(f"{name} in {place} is no setting{f'; is {known[like[0]]} meant?' if like else ''}")
    return lines
