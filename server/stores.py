"""The way to both stores, or one line that says why the server cannot start."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from server.settings import Settings
from storage.attempts import AttemptCounts
from storage.boards import Boards
from storage.commits import Commits
from storage.kept_boards import KeptBoards
from storage.ladders import Ladders
from storage.notices import Notices
from storage.postgres import Postgres, StoreUnavailable
from storage.schema import prepare_schema

#: Connections of one process to PostgreSQL. One statement at a time commits; the second one is there while a broken one
#: is replaced.
COMMIT_CONNECTIONS: Final = 2
CONNECTIONS: Final = 8
CONNECTIONS_OF_A_NODE: Final = COMMIT_CONNECTIONS + CONNECTIONS


class CannotStart(Exception):
    """One line for the operator."""


@dataclass(frozen=True, slots=True)
class Stores:
    """PostgreSQL and Redis, as one process uses them."""

    postgres: Postgres
    #: Has connections of its own, so that no login storm stands between an action and its commit.
    commits: Commits
    boards: Boards
    notices: Notices
    kept_boards: KeptBoards
    attempts: AttemptCounts

    @classmethod
    async def connect(cls, settings: Settings, stack: AsyncExitStack) -> Stores:
        """Connect to where the settings say, both URLs given; the stack closes. Raises CannotStart."""
        assert settings.database_url is not None  # noqa: S101
        assert settings.redis_url is not None  # noqa: S101
        try:
            postgres = await _pool(settings, CONNECTIONS, stack)
            commits = Commits((await _pool(settings, COMMIT_CONNECTIONS, stack)).lasting())
            deployment = str(await Ladders(postgres).deployment())
        except StoreUnavailable as error:
            if "startup parameter" in str(error):
                said = "DATABASE_URL seems to lead to PgBouncer; say `transaction` if that is its mode"
                raise CannotStart(f"BRAINGAME_DATABASE_POOLER: {said}") from None
            raise CannotStart(f"DATABASE_URL: PostgreSQL does not answer ({_first_line(error)})") from None
        except ValueError as error:
            raise CannotStart(f"DATABASE_URL: {_first_line(error)}") from None
        try:
            boards = Boards.connect(settings.redis_url, deployment)
            stack.push_async_callback(boards.close)
            await boards.ping()
            notices = Notices.connect(settings.redis_url, deployment)
            stack.push_async_callback(notices.close)
            kept_boards = KeptBoards.connect(settings.redis_url, deployment)
            stack.push_async_callback(kept_boards.close)
            attempts = AttemptCounts.connect(settings.redis_url, deployment)
            stack.push_async_callback(attempts.close)
        except (StoreUnavailable, ValueError) as error:
            raise CannotStart(f"REDIS_URL: {_first_line(error)}") from None
        return cls(postgres, commits, boards, notices, kept_boards, attempts)


async def prepare_database(database_url: str, *, migrate: bool) -> str:
    """Bring the schema to what this version needs, and give its number. Raises CannotStart, SchemaError."""
    try:
        return await prepare_schema(database_url, migrate=migrate)
    except StoreUnavailable as error:
        raise CannotStart(f"DATABASE_URL: PostgreSQL does not answer ({_first_line(error)})") from None
    except ValueError as error:
        raise CannotStart(f"DATABASE_URL: {_first_line(error)}") from None


async def _pool(settings: Settings, connections: int, stack: AsyncExitStack) -> Postgres:
    assert settings.database_url is not None  # noqa: S101
    postgres = await Postgres.connect(settings.database_url, connections=connections, pooled=settings.pooled)
    stack.push_async_callback(postgres.close)
    return postgres


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
