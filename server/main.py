"""Composition root: builds everything in order, runs it, and releases it in reverse."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, TextIO

import uvloop

from protocol.server_messages import LimitsData
from server import log as logging
from server.actions import Actions, Rules
from server.admin import Admin
from server.auth import Authentication
from server.board_reader import BoardReader
from server.changes import ChangedLadders
from server.clock import utc_now
from server.deepai import DeepAi
from server.door import Doorman
from server.drawing import Drawings, Workshop
from server.figures import Figures
from server.health import Health
from server.http import HttpEdge
from server.hub import Hub
from server.live_board import LiveBoards
from server.log import Log
from server.metrics import Metrics
from server.names import Names
from server.nodes import OtherNodes
from server.origins import OriginPolicy
from server.own_places import OwnPlaces
from server.passwords import Passwords
from server.projection import Projection
from server.revocations import Revocations
from server.secret import kept_secret
from server.sessions import Sessions
from server.settings import SettingError, Settings, parse_settings
from server.socket import IDLE_SECONDS, PING_SECONDS, Surroundings, text_frame
from server.tokens import Tokens
from server.version import VERSION
from storage.accounts import Accounts
from storage.boards import Boards
from storage.commits import Commits
from storage.data_folder import EmbeddedStoresError
from storage.embedded import EmbeddedStores
from storage.ladders import Ladders
from storage.logins import Logins
from storage.notices import Notices
from storage.operators import Operators
from storage.postgres import Postgres, StoreUnavailable
from storage.schema import SchemaError, prepare_schema
from storage.sessions import SessionStore

#: Exit codes: 0 after a signal, 1 when something failed while running, 2 when the server could not start.
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_CANNOT_START: Final = 2

#: Bytes of one message or HTTP body. The largest without a picture has some hundred.
MAX_MESSAGE_BYTES: Final = 64 * 1024
#: The same for players, who send two pictures in base64: a canvas of 2,000 x 2,000 pixels is well below 1 MB as PNG.
MAX_PLAYER_MESSAGE_BYTES: Final = 4 * 1024 * 1024
#: Seconds for requests under way to be answered and for clients to say goodbye.
DRAIN_SECONDS: Final = 8.0
#: Connections to PostgreSQL. One statement at a time commits; the second one is there while a broken one is replaced.
COMMIT_CONNECTIONS: Final = 2
CONNECTIONS: Final = 8
_CANCEL_SECONDS: Final = 1.0
_BACKLOG: Final = 1024


class CannotStart(Exception):
    """One line for the operator."""


def run(arguments: Sequence[str], output: TextIO = sys.stdout) -> int:
    """Run the server until it is told to stop; gives the exit code."""
    try:
        settings = parse_settings(arguments)
        log = logging.configure()
        return uvloop.run(serve(settings, log, output))
    except (SettingError, CannotStart, EmbeddedStoresError, SchemaError) as error:
        print(f"Brain Game cannot start: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START
    except KeyboardInterrupt:
        # Before the signal handlers were set up.
        return EXIT_OK


async def serve(settings: Settings, log: Log, output: TextIO) -> int:
    """Start, serve until SIGTERM or SIGINT, drain, stop. Raises before it is ready if it cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async with AsyncExitStack() as stack:
        database_url, redis_url = await _stores(settings, log, stack)
        postgres, boards, notices = await _connect(settings, database_url, redis_url, stack)

        accounts, logins, ladders = Accounts(postgres), Logins(postgres), Ladders(postgres)
        # Connections of their own, so that no login storm stands between an action and its commit.
        commits = Commits(await _pool(database_url, stack, connections=COMMIT_CONNECTIONS))
        changes = ChangedLadders()
        hub = Hub()

        def changed_here(ladders: Collection[str], since: Mapping[str, float] | None = None) -> None:
            changes.add(ladders, since)
            nodes.ladders_changed(ladders)

        projection = Projection(boards, ladders, utc_now, log, changed_here)
        reader = BoardReader(boards, projection, Names(accounts), utc_now)
        places = OwnPlaces(reader)
        figures = Figures(hub.count, lambda: projection.behind, utc_now)
        live = LiveBoards(
            reader,
            changes,
            utc_now,
            log,
            hertz=settings.board_hz,
            frame=text_frame,
            changed=places.mark,
            handed=figures.handed,
        )
        metrics = Metrics()
        metrics.watch(hub.count, lambda: projection.behind)
        store = SessionStore(postgres)
        sessions = Sessions(store, commits, utc_now, projection.put, metrics.commit, figures.committed)
        nodes = OtherNodes(notices, hub, sessions, log, changed=changes.add, missed=live.look_at_all)

        passwords = Passwords(settings.bcrypt_cost)
        stack.callback(passwords.close)
        secret = settings.jwt_secret or kept_secret(settings.data_dir)
        tokens = Tokens(secret, timedelta(seconds=settings.token_seconds), utc_now)
        authentication = Authentication(accounts, logins, passwords, tokens, utc_now)

        workshop = Workshop()
        stack.callback(workshop.close)
        drawings = _drawings(settings, workshop, log, stack)
        rules = Rules(settings.stages, settings.max_stage_score, judged_only=settings.scoring == "judged")
        actions = Actions(
            rules, authentication, sessions, reader, live, drawings, workshop, hub, nodes, metrics, utc_now, log
        )
        limits = LimitsData(
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_player_message_bytes=MAX_PLAYER_MESSAGE_BYTES,
            max_stage_score=settings.max_stage_score,
            stages=settings.stages,
            scoring=settings.scoring,
            board_hz=settings.board_hz,
            idle_seconds=IDLE_SECONDS,
            ping_seconds=PING_SECONDS,
        )
        around = Surroundings(actions, live, places, hub, utc_now, log, f"braingame/{VERSION}", limits, settings.limits)
        origins = OriginPolicy(settings.origins)
        edge = HttpEdge(
            actions,
            Admin(Operators(postgres), logins, reader, hub, figures, utc_now),
            authentication.identify,
            accounts.emails if settings.leaderboard_emails == "all" else None,
            Health(ladders, boards),
            metrics,
            origins,
            log,
            max_body_bytes=MAX_MESSAGE_BYTES,
            max_picture_bytes=MAX_PLAYER_MESSAGE_BYTES,
        )

        try:
            await projection.sweep()
        except StoreUnavailable as error:
            raise CannotStart(str(error)) from None
        tasks = [
            _start(stack, name, work)
            for name, work in (
                ("commits", commits.run()),
                ("projection", projection.run()),
                ("sweep", projection.sweep_for_ever()),
                ("live boards", live.run()),
                ("own places", places.run()),
                ("notices out", nodes.tell()),
                ("notices in", nodes.hear()),
                ("revocations", Revocations(logins, hub, utc_now).run()),
                ("figures", figures.run()),
            )
        ]

        http = await stack.enter_async_context(edge.serving())
        doorman = Doorman(http, around, authentication, sessions, origins)
        listener = await _listen(settings, doorman)
        stack.callback(listener.close)

        print(f"Brain Game is ready on {_address(listener)}", file=output, flush=True)
        failed = await _until_told_to_stop(stop, tasks, log)
        listener.close()
        await _drain(hub, log)
        await projection.flush()
    log.info("stopped")
    return EXIT_FAILED if failed else EXIT_OK


async def _stores(settings: Settings, log: Log, stack: AsyncExitStack) -> tuple[str, str]:
    if settings.database_url is not None and settings.redis_url is not None:
        return settings.database_url, settings.redis_url
    embedded = EmbeddedStores(
        settings.data_dir, postgres=settings.database_url is None, redis=settings.redis_url is None, log=log
    )
    await stack.enter_async_context(embedded)
    database_url = settings.database_url or embedded.database_url
    redis_url = settings.redis_url or embedded.redis_url
    assert database_url is not None  # noqa: S101
    assert redis_url is not None  # noqa: S101
    return database_url, redis_url


async def _connect(
    settings: Settings, database_url: str, redis_url: str, stack: AsyncExitStack
) -> tuple[Postgres, Boards, Notices]:
    try:
        await prepare_schema(database_url, migrate=settings.migrates)
        postgres = await _pool(database_url, stack, connections=CONNECTIONS)
        deployment = await Ladders(postgres).deployment()
    except StoreUnavailable as error:
        raise CannotStart(f"DATABASE_URL: PostgreSQL does not answer ({_first_line(error)})") from None
    except ValueError as error:
        raise CannotStart(f"DATABASE_URL: {_first_line(error)}") from None
    try:
        boards = Boards.connect(redis_url, str(deployment))
        stack.push_async_callback(boards.close)
        await boards.ping()
        notices = Notices.connect(redis_url, str(deployment))
        stack.push_async_callback(notices.close)
    except StoreUnavailable as error:
        raise CannotStart(f"REDIS_URL: {_first_line(error)}") from None
    except ValueError as error:
        raise CannotStart(f"REDIS_URL: {_first_line(error)}") from None
    return postgres, boards, notices


def _drawings(settings: Settings, workshop: Workshop, log: Log, stack: AsyncExitStack) -> Drawings:
    if settings.deepai_key is None:
        return workshop
    remote = DeepAi(settings.deepai_url, settings.deepai_key, workshop, log)
    stack.push_async_callback(remote.close)
    return remote


async def _pool(database_url: str, stack: AsyncExitStack, connections: int) -> Postgres:
    postgres = await Postgres.connect(database_url, connections=connections)
    stack.push_async_callback(postgres.close)
    return postgres


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _start(stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        # More than once if need be: a library that swallows a cancellation must not keep the server from stopping.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_SECONDS)

    stack.push_async_callback(end)
    return task


async def _listen(settings: Settings, doorman: Doorman) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(
            doorman, settings.host, settings.port, backlog=_BACKLOG, reuse_address=True
        )
    except OSError as error:
        raise CannotStart(f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}") from None


def _address(listener: asyncio.Server) -> str:
    host, port = listener.sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _until_told_to_stop(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]], log: Log) -> bool:
    """Wait for a signal; True when a task failed first, which must not go unnoticed."""
    told = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    failed = [task for task in tasks if task in done]
    for task in failed:
        log.error("a part of the server failed", part=task.get_name(), exc_info=task.exception())
    return bool(failed)


async def _drain(hub: Hub, log: Log) -> None:
    log.info("draining", connections=len(hub))
    hub.drain()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await hub.wait_until_empty()
    except TimeoutError:
        log.warning("some clients did not say goodbye", connections=len(hub))
    for member in hub:
        member.abort()
