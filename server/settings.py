"""Every setting, its unit, default and bounds. An environment variable or a line of `.env` each, and a flag each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

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
from storage.boards import MAX_TOTAL_SCORE

MIN_SECRET_BYTES: Final = 32
#: Different characters in a secret. A random one of 32 hexadecimal digits never has fewer (3 in 10^13).
MIN_SECRET_CHARACTERS: Final = 6
#: Where DeepAI documents its image-similarity API to be.
DEFAULT_DEEPAI_URL: Final = "https://api.deepai.org/api/image-similarity"
#: Variables without the prefix BRAINGAME_, because other tools set them.
_UNPREFIXED: Final = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}


class SettingError(Exception):
    """A wrong setting: one line for the operator."""


def _unprefixed(name: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(name, _UNPREFIXED[name]))


class Settings(BaseSettings):
    """How this server runs."""

    model_config = SettingsConfigDict(
        env_prefix="BRAINGAME_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        use_attribute_docstrings=True,
    )

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port; 0 picks a free one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Server processes on the port; about one for each core that the stores leave."""
    data_dir: Path = Path("var")
    """Folder of the embedded stores and of the token secret."""
    database_url: str | None = _unprefixed("database_url")
    """PostgreSQL 14 or later; without it an embedded one is started."""
    database_pooler: Literal["none", "transaction"] = "none"
    """What DATABASE_URL leads to: PostgreSQL itself, or a pooler such as PgBouncer in transaction mode."""
    redis_url: str | None = _unprefixed("redis_url")
    """Redis 7 or compatible, also redis+cluster:// or redis+sentinel://; without it an embedded Valkey is started."""
    jwt_secret: str | None = None
    """Secret that signs access tokens, 32 bytes or more; needed with DATABASE_URL, else kept in the data folder."""
    jwt_secret_previous: str | None = None
    """The secret before this one, whose tokens are taken until they expire."""
    token_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 3600
    """How long an access token is good for."""
    bcrypt_cost: Annotated[int, Field(ge=4, le=16)] = 12
    """Logarithm of the work for a password."""
    stages: Annotated[int, Field(ge=1, le=1000)] = 3
    """Stages of a session."""
    max_stage_score: Annotated[int, Field(ge=0, le=2**40 - 1)] = 1_000_000
    """Highest score of one stage."""
    board_hz: Annotated[float, Field(gt=0, le=100)] = 10
    """Most changes a second that a subscriber is sent for one board."""
    origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Allowed browser origins besides the server's own, separated by commas."""
    limits: bool = True
    """Limits on rates and numbers; off for load tests."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses or networks of proxies, separated by commas, whose X-Forwarded-For or Forwarded is believed."""
    messages_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] = MESSAGES_PER_SECOND
    """Messages a second of one socket, in the long run."""
    messages_at_once: Annotated[float, Field(ge=1, allow_inf_nan=False)] = MESSAGES_AT_ONCE
    """The same at once; a message counts once for each 16 KiB begun."""
    player_messages_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] = PLAYER_MESSAGES_PER_SECOND
    """Messages and HTTP requests a second of one player to one process, in the long run."""
    player_messages_at_once: Annotated[float, Field(ge=1, allow_inf_nan=False)] = PLAYER_MESSAGES_AT_ONCE
    """The same at once."""
    message_bytes: Annotated[int, Field(ge=4096, le=2**24)] = MESSAGE_BYTES
    """Bytes of a message or an HTTP body."""
    player_message_bytes: Annotated[int, Field(ge=4096, le=2**26)] = PLAYER_MESSAGE_BYTES
    """The same for players, who send pictures."""
    message_fragments: Annotated[int, Field(ge=1)] = MESSAGE_FRAGMENTS
    """Frames that one message may come in."""
    message_seconds: Annotated[float, Field(gt=0, le=3600)] = MESSAGE_SECONDS
    """Seconds from the first byte of a message, or of an HTTP body, to its last."""
    subscriptions_per_socket: Annotated[int, Field(ge=1)] = SUBSCRIPTIONS_PER_SOCKET
    """Boards that a socket follows at once; there are 33."""
    sockets_per_address: Annotated[int, Field(ge=1)] = SOCKETS_PER_ADDRESS
    """Connections of one address (IPv6: /64) to one process; this machine's own are not counted."""
    sockets_per_account: Annotated[int, Field(ge=1)] = SOCKETS_PER_ACCOUNT
    """Sockets of one account on one process."""
    doorway_connections: Annotated[int, Field(ge=1)] = DOORWAY_CONNECTIONS
    """Connections to one process whose first request is not complete yet."""
    failures_per_account: Annotated[int, Field(ge=1)] = FAILURES_PER_ACCOUNT
    """Wrong passwords for an account from one address before delays grow; over all nodes."""
    failures_per_account_anywhere: Annotated[int, Field(ge=1)] = FAILURES_PER_ACCOUNT_ANYWHERE
    """The same from anywhere, but for addresses where the player has logged in."""
    failures_per_address: Annotated[int, Field(ge=1)] = FAILURES_PER_ADDRESS
    """Wrong passwords from one address before delays grow; over all nodes."""
    registrations_per_address: Annotated[int, Field(ge=1)] = REGISTRATIONS_PER_ADDRESS
    """Registrations from one address before delays grow; over all nodes."""
    longest_delay_seconds: Annotated[float, Field(ge=1, le=3600)] = LONGEST_DELAY_SECONDS
    """What such a delay grows up to."""
    tls_certificate: Path | None = None
    """PEM file with the certificate and its chain; then the port speaks https and wss."""
    tls_key: Path | None = None
    """PEM file with its private key."""
    scoring: Literal["reported", "judged"] = "reported"
    """Whose score counts: judged takes that of the server's own stages alone, reported the client's, too."""
    deepai_key: str | None = None
    """Key for DeepAI's image-similarity API, which then compares drawings; without it the server does."""
    deepai_url: Annotated[str, Field(pattern="^https?://")] = DEFAULT_DEEPAI_URL
    """Where that API is."""
    migrate: bool | None = None
    """Carry an older schema forward at the start; by default only that of the embedded store."""
    leaderboard_emails: Literal["own", "all"] = "own"
    """Whose emails GET /api/leaderboard shows: the caller's own, or all."""

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
            raise ValueError(f"BRAINGAME_STAGES times BRAINGAME_MAX_STAGE_SCORE has to stay below {MAX_TOTAL_SCORE}")
        return self

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
    return _UNPREFIXED.get(name, f"BRAINGAME_{name.upper()}")


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise SettingError(f"{message} (try --help)")


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Settings from flags, environment and `.env`, in this order of strength. Raises SettingError; `--help` exits."""
    parser = _OneLineParser(
        prog="run_server.py",
        description="The Brain Game server. Every flag is also an environment variable or a line of .env.",
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        default = "unset" if field.default is None else _shown(field.default)
        help_text = f"{field.description} {variable(name)} ({default})".replace("%", "%%")
        if field.annotation in (bool, bool | None):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=help_text)
        else:
            parser.add_argument(flag, default=None, metavar=name.split("_")[-1].upper(), help=help_text)
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingError(_describe(problem["loc"], problem["msg"])) from None
    except SettingsError as error:
        raise SettingError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f".env cannot be read: {error}") from None


def _describe(location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    if not location:
        return message
    name = str(location[0])
    name = name if name in _UNPREFIXED.values() else variable(name)
    return f"{name}: {message[:1].lower()}{message[1:]}"


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return ",".join(default) or "none" if isinstance(default, tuple) else str(default)
