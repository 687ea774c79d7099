"""Every setting, its unit, default and bounds. An environment variable or a line of `.env` each, and a flag each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from server.redaction import secrets_of_url
from storage.boards import MAX_TOTAL_SCORE

MIN_SECRET_BYTES: Final = 32
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
    """Secret that signs access tokens, at least 32 bytes; without it one is kept in the data folder."""
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
    """Limits on the rate of messages; off for load tests."""
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
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged; debug tells of each request, each commit and each push."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """JSON lines, or lines for people; auto: for people on a terminal."""
    traces_url: Annotated[str, Field(pattern="^https?://")] | None = None
    """Where traces go, by OTLP over HTTP: http://127.0.0.1:4318/v1/traces; without it there are none."""
    traces_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the requests that are traced."""

    @field_validator("origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(origin.strip().rstrip("/").lower() for origin in value.split(",") if origin.strip())
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"at least {MIN_SECRET_BYTES} bytes are needed")
        return value

    @model_validator(mode="after")
    def _scores_fit(self) -> Self:
        if self.stages * self.max_stage_score > MAX_TOTAL_SCORE:
            raise ValueError(f"BRAINGAME_STAGES times BRAINGAME_MAX_STAGE_SCORE has to stay below {MAX_TOTAL_SCORE}")
        return self

    @property
    def secrets(self) -> list[str]:
        """What of the settings must not be shown to anybody."""
        urls = (self.database_url, self.redis_url, self.traces_url)
        own = [value for value in (self.jwt_secret, self.deepai_key) if value]
        return own + [secret for url in urls for secret in secrets_of_url(url)]

    @property
    def pooled(self) -> bool:
        """Whether each transaction may be on another connection to PostgreSQL."""
        return self.database_pooler == "transaction"

    @property
    def migrates(self) -> bool:
        """Whether an older schema is carried forward."""
        return self.database_url is None if self.migrate is None else self.migrate


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
