"""The stores that commands work on: those of the server's settings, whether a server runs on them or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from server import log as logging
from server.command_line import Refused
from server.log import Log
from server.redaction import Redaction, secrets_of_url
from server.settings import Settings
from storage.boards import Boards
from storage.data_folder import EmbeddedStoresError
from storage.embedded import EmbeddedStores, running_database_url, running_redis_url
from storage.postgres import Postgres, StoreUnavailable
from storage.schema import prepare_schema

#: One looks, one goes through a ladder.
_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class CommandStores:
    """A pool and where it leads to, and where Redis is; without one `no_redis` says why."""

    database_url: str
    postgres: Postgres
    redis_url: str | None
    no_redis: str = ""


@asynccontextmanager
async def database_of(settings: Settings) -> AsyncIterator[str]:
    """The URL of the server's database, whatever its schema is. Raises Refused, EmbeddedStoresError."""
    async with _urls(settings, with_redis=False) as (database_url, _, _):
        try:
            yield database_url
        except ValueError as error:
            raise Refused(f"DATABASE_URL: {str(error).partition(chr(10))[0]}") from None


@asynccontextmanager
async def postgres_of(settings: Settings) -> AsyncIterator[Postgres]:
    """The server's database. The schema is carried forward only where a server's start would, and nobody is at work.

    Raises Refused, EmbeddedStoresError, SchemaError, StoreUnavailable.
    """
    async with (
        _urls(settings, with_redis=False) as (database_url, _, alone),
        _connected(database_url, migrate=alone and settings.migrates) as postgres,
    ):
        yield postgres


@asynccontextmanager
async def stores_of(settings: Settings) -> AsyncIterator[CommandStores]:
    """Both stores. Embedded ones are started for the time of the block where no server runs them. PostgreSQL has to be
    there, Redis need not; errors as from `postgres_of`."""
    async with (
        _urls(settings, with_redis=True) as (database_url, redis_url, alone),
        _connected(database_url, migrate=alone and settings.migrates) as postgres,
    ):
        if isinstance(redis_url, str):
            yield CommandStores(database_url, postgres, redis_url)
        else:
            reason = "Valkey does not run" if redis_url is None else str(redis_url)
            yield CommandStores(database_url, postgres, None, reason)


@asynccontextmanager
async def _urls(
    settings: Settings, *, with_redis: bool
) -> AsyncIterator[tuple[str, str | EmbeddedStoresError | None, bool]]:
    """Where PostgreSQL is, where Redis is or why it is not, and whether the stores were started for us alone."""
    start_redis = with_redis and settings.redis_url is None
    async with AsyncExitStack() as stack:
        if settings.database_url is not None:
            redis_url: str | EmbeddedStoresError | None = settings.redis_url
            if start_redis:
                redis_url = running_redis_url(settings.data_dir)
                if redis_url is None or not await _redis_answers(redis_url):
                    stores = EmbeddedStores(settings.data_dir, postgres=False, log=_log(settings))
                    try:
                        await stack.enter_async_context(stores)
                        redis_url = stores.redis_url
                    except EmbeddedStoresError as error:
                        redis_url = error
            yield settings.database_url, redis_url, False
            return
        running = running_database_url(settings.data_dir)
        if running is not None and await _postgres_answers(running):
            yield running, settings.redis_url or running_redis_url(settings.data_dir), False
            return
        # Its lock keeps us out where a server is just starting or stopping.
        stores = EmbeddedStores(settings.data_dir, redis=start_redis, log=_log(settings))
        await stack.enter_async_context(stores)
        assert stores.database_url is not None  # noqa: S101
        yield stores.database_url, settings.redis_url or stores.redis_url, True


def _log(settings: Settings) -> Log:
    return logging.configure(settings.log_level, settings.log_format, secrets=settings.secrets)


# A socket may have been left behind by a server that was killed.


async def _postgres_answers(database_url: str) -> bool:
    try:
        found = await Postgres.connect(database_url, connections=1)
    except StoreUnavailable:
        return False
    await found.close()
    return True


async def _redis_answers(redis_url: str) -> bool:
    boards = Boards.connect(redis_url, "")
    try:
        await boards.ping()
    except StoreUnavailable:
        return False
    finally:
        await boards.close()
    return True


@asynccontextmanager
async def _connected(database_url: str, *, migrate: bool) -> AsyncIterator[Postgres]:
    try:
        await prepare_schema(database_url, migrate=migrate)
        postgres = await Postgres.connect(database_url, connections=_CONNECTIONS)
    except ValueError as error:
        said = Redaction(secrets_of_url(database_url)).known(str(error).partition("\n")[0])
        raise Refused(f"DATABASE_URL: {said}") from None
    try:
        yield postgres
    finally:
        await postgres.close()
