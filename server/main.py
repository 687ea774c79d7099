"""From the command line to a server that runs: settings, stores, schema, then one node here or several workers."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final, TextIO

import uvloop

from server import garbage
from server import log as logging
from server.log import Log
from server.node import serve_node
from server.redaction import Redaction
from server.secret import secret_for
from server.service_manager import ServiceManager
from server.settings import SettingError, Settings, parse_settings, unknown_variables
from server.stores import CONNECTIONS_OF_A_NODE, CannotStart, prepare_database
from server.workers import serve_with_workers
from storage.data_folder import EmbeddedStoresError
from storage.embedded import EmbeddedStores
from storage.schema import SchemaError, known_revisions

#: Exit codes: 0 after a signal, 1 when something failed while running, 2 when the server could not start.
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_CANNOT_START: Final = 2

#: Connections to the embedded PostgreSQL beside the workers': an operator's psql, commands, a backup.
SPARE_CONNECTIONS: Final = 30


def run(arguments: Sequence[str], output: TextIO = sys.stdout) -> int:
    """Run the server until it is told to stop; gives the exit code."""
    hidden = Redaction()
    try:
        settings = parse_settings(arguments, _commands(arguments))
        hidden = Redaction(settings.secrets)
        log = logging.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
        for line in unknown_variables():
            log.warning("unknown setting", what=line)
        garbage.look_seldom()
        return uvloop.run(serve(settings, log, output))
    except (SettingError, CannotStart, EmbeddedStoresError, SchemaError) as error:
        for line in str(error).splitlines():
            print(f"Brain Game cannot start: {hidden.known(line)}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START
    except KeyboardInterrupt:
        # Before the signal handlers were set up.
        return EXIT_OK


def _commands(arguments: Sequence[str]) -> str:
    if not {"-h", "--help"} & set(arguments):
        return ""
    # They bring imports of their own, for which no start should wait.
    from server.operator import list_commands

    return list_commands()


async def serve(settings: Settings, log: Log, output: TextIO) -> int:
    """Start, serve until SIGTERM or SIGINT, drain, stop. Raises before it is ready if it cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    manager = ServiceManager()

    def told_to_stop() -> None:
        stop.set()
        manager.stopping()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop)

    def ready(address: str) -> None:
        print(f"Brain Game is ready on {address}", file=output, flush=True)
        manager.ready(address)

    if settings.database_url is not None:
        # Before anything is started that would only have to be ended.
        secret_for(settings)
    async with AsyncExitStack() as stack:
        signs = asyncio.create_task(manager.give_signs())
        stack.callback(signs.cancel)
        database_url, redis_url = await _stores(settings, log, stack)
        schema = await prepare_database(database_url, migrate=settings.migrates)
        if schema not in known_revisions():
            log.warning("the schema is of a newer version, which lets this one use it", schema=schema)
        secret = secret_for(settings)
        settings = settings.model_copy(
            update={"database_url": database_url, "redis_url": redis_url, "jwt_secret": secret}
        )
        serve_here = serve_node if settings.workers == 1 else serve_with_workers
        failed = await serve_here(settings, log, stop, ready)
    log.info("stopped")
    return EXIT_FAILED if failed else EXIT_OK


async def _stores(settings: Settings, log: Log, stack: AsyncExitStack) -> tuple[str, str]:
    """Where both stores are; those that the settings do not name are our own, and run until the stack ends."""
    if settings.database_url is not None and settings.redis_url is not None:
        return settings.database_url, settings.redis_url
    embedded = EmbeddedStores(
        settings.data_dir,
        postgres=settings.database_url is None,
        redis=settings.redis_url is None,
        log=log,
        postgres_connections=SPARE_CONNECTIONS + settings.workers * CONNECTIONS_OF_A_NODE,
    )
    await stack.enter_async_context(embedded)
    database_url = settings.database_url or embedded.database_url
    redis_url = settings.redis_url or embedded.redis_url
    assert database_url is not None  # noqa: S101
    assert redis_url is not None  # noqa: S101
    return database_url, redis_url
