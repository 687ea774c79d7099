"""One node: all that serves on a port from one process, built in order and released in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from protocol.server_messages import LimitsData
from server.actions import Actions, Rules
from server.addresses import Addresses
from server.admin import Admin
from server.admission import Admission
from server.attempts import AttemptLimits, Attempts
from server.auth import Authentication
from server.board_reader import BoardReader
from server.canary import PROVEN_SECONDS, Canary
from server.certificate import Certificate
from server.changes import ChangedLadders
from server.clock import utc_now
from server.deepai import DeepAi
from server.door import HEAD_SECONDS, Doorman
from server.drawing import Drawings, Workshop
from server.figures import Figures
from server.frames import text_frame
from server.gauges import Buffers
from server.health import Health
from server.http import HttpEdge
from server.hub import Hub
from server.limits import PlayerBuckets, SocketLimits
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
from server.rolling_check import RollingCheck
from server.sessions import Sessions
from server.settings import SettingError, Settings
from server.socket import IDLE_SECONDS, PING_SECONDS, Connection, Surroundings
from server.stores import CannotStart, Stores
from server.tokens import Tokens
from server.version import VERSION
from server.watch import Watch
from storage.accounts import Accounts
from storage.ladders import Ladders
from storage.logins import Logins
from storage.operators import Operators
from storage.postgres import StoreUnavailable
from storage.sessions import SessionStore

#: Seconds for requests under way to be answered and for clients to say goodbye.
DRAIN_SECONDS: Final = 8.0
_CANCEL_SECONDS: Final = 1.0
_BACKLOG: Final = 1024


class Node:
    """Everything that one process serves with. `settings` name both stores and the secret."""

    def __init__(self, settings: Settings, stores: Stores, log: Log, stack: AsyncExitStack) -> None:
        """Put it together; nothing runs yet. What has to be closed is left to the stack."""
        assert settings.jwt_secret is not None  # noqa: S101
        self._settings = settings
        self._log = log
        postgres, boards = stores.postgres, stores.boards
        accounts, logins, ladders = Accounts(postgres), Logins(postgres), Ladders(postgres)
        self._hub = hub = Hub()
        watch = stores.commits.watch = _watch(settings, log, stack)
        metrics = Metrics()
        changes = ChangedLadders()

        def changed_here(ladders: Collection[str], since: Mapping[str, float] | None = None) -> None:
            changes.add(ladders, since)
            nodes.ladders_changed(ladders)

        self._projection = projection = Projection(
            boards, ladders, utc_now, log, changed_here, applied=metrics.projected, watch=watch
        )
        reader = BoardReader(boards, projection, Names(accounts), utc_now)
        places = OwnPlaces(reader)
        figures = Figures(hub.count, lambda: projection.behind, utc_now)

        def handed(seconds: float) -> None:
            figures.handed(seconds)
            metrics.delivered(seconds)

        live = LiveBoards(
            reader,
            changes,
            utc_now,
            log,
            hertz=settings.board_hz,
            frame=text_frame,
            changed=places.mark,
            handed=handed,
            ticked=metrics.ticked,
            watch=watch,
        )
        metrics.watch(hub.count, lambda: projection.behind)
        metrics.gauges.staleness(lambda: _seconds_since(projection.waiting_since, changes.waiting_since))
        metrics.gauges.buffers(lambda: _buffers(hub))
        metrics.gauges.queue("commits", stores.commits.waiting)
        metrics.gauges.queue("projection", projection.waiting)
        metrics.gauges.pool("commits", stores.commits.pool)
        metrics.gauges.pool("requests", postgres.use)
        sessions = Sessions(
            SessionStore(postgres), stores.commits, utc_now, projection.put, metrics.commit, figures.committed
        )
        nodes = OtherNodes(
            stores.notices,
            hub,
            sessions,
            log,
            changed=changes.add,
            missed=live.look_at_all,
            canary=lambda flight: self._canary.heard(flight),
        )

        passwords = Passwords(settings.bcrypt_cost)
        stack.callback(passwords.close)
        metrics.gauges.queue("bcrypt", passwords.waiting)
        life = timedelta(seconds=settings.token_seconds)
        tokens = Tokens(settings.jwt_secret, life, utc_now, settings.jwt_secret_previous)
        attempts = _attempts(settings, stores, log, metrics)
        authentication = Authentication(accounts, logins, passwords, tokens, utc_now, attempts)

        workshop = Workshop()
        stack.callback(workshop.close)
        metrics.gauges.queue("drawings", workshop.waiting)
        drawings = _drawings(settings, workshop, log, stack)
        rules = Rules(
            settings.stages,
            settings.max_stage_score,
            judged_only=settings.scoring == "judged",
            sockets_per_account=settings.sockets_per_account if settings.limits else None,
        )
        actions = Actions(
            rules, authentication, sessions, reader, live, drawings, workshop, hub, nodes, metrics, utc_now, log, watch
        )
        buckets = PlayerBuckets(settings.player_messages_per_second, settings.player_messages_at_once)
        around = Surroundings(
            actions,
            live,
            places,
            hub,
            utc_now,
            log,
            f"braingame/{VERSION}",
            _limits(settings),
            settings.limits,
            _socket_limits(settings),
            buckets,
            metrics.limit_hit,
        )
        origins = OriginPolicy(settings.origins)
        addresses = Addresses(settings.trusted_proxies)
        self._canary = Canary(
            lambda hub: Doorman(_no_http, replace(around, hub=hub), authentication, sessions, origins),
            live,
            nodes.release,
            metrics.landed,
        )
        health = Health(ladders, boards, lambda: self._canary.proven)
        self._edge = HttpEdge(
            actions,
            Admin(Operators(postgres), logins, reader, hub, figures, utc_now),
            authentication.identify,
            accounts.emails if settings.leaderboard_emails == "all" else None,
            health,
            metrics,
            origins,
            log,
            max_body_bytes=settings.message_bytes,
            max_picture_bytes=settings.player_message_bytes,
            body_seconds=settings.message_seconds,
            addresses=addresses,
            buckets=buckets if settings.limits else None,
            https=settings.tls_certificate is not None,
            watch=watch,
        )
        self._doorman = partial(
            Doorman,
            around=around,
            authentication=authentication,
            sessions=sessions,
            origins=origins,
            admission=Admission(
                addresses,
                sockets_per_address=settings.sockets_per_address if settings.limits else None,
                doorway=settings.doorway_connections,
                limit_hit=metrics.limit_hit,
            ),
        )
        self._certificate = _certificate(settings, log)
        self._work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "commits": stores.commits.run,
            "projection": projection.run,
            "sweep": projection.sweep_for_ever,
            "live boards": live.run,
            "own places": places.run,
            "canary": self._canary.run,
            "notices out": nodes.tell,
            "notices in": nodes.hear,
            "revocations": Revocations(logins, hub, utc_now).run,
            "figures": figures.run,
            "rolling check": RollingCheck(postgres, stores.kept_boards, ladders, utc_now, log, metrics).run,
            "metrics": metrics.run,
            "health": partial(health.watch, metrics.gauges.down),
        }
        if self._certificate is not None:
            self._work["certificate"] = self._certificate.run

    async def serve(self, stop: asyncio.Event, ready: Callable[[str], None], *, shared_port: bool) -> bool:
        """Serve until told to stop, then drain. `ready` is told the address; `shared_port`: other processes listen
        there, too. True when a part has failed. Raises CannotStart."""
        async with AsyncExitStack() as stack:
            try:
                await self._projection.sweep()
            except StoreUnavailable as error:
                raise CannotStart(str(error)) from None
            tasks = [_start(stack, name, work()) for name, work in self._work.items()]
            http = await stack.enter_async_context(self._edge.serving())
            listener = await self._listen(self._doorman(http), shared_port=shared_port)
            stack.callback(listener.close)

            await self._prove_delivery()
            ready(_address(listener, "http" if self._certificate is None else "https"))
            failed = await _until_told_to_stop(stop, tasks, self._log)
            listener.close()
            await self._drain()
            await self._projection.flush()
        return failed

    async def _listen(self, doorman: Doorman, *, shared_port: bool) -> asyncio.Server:
        host, port = self._settings.host, self._settings.port
        tls: dict[str, Any] = {}
        if self._certificate is not None:
            tls = {"ssl": self._certificate.context, "ssl_handshake_timeout": HEAD_SECONDS}
        try:
            return await asyncio.get_running_loop().create_server(
                doorman, host, port, backlog=_BACKLOG, reuse_address=True, reuse_port=shared_port, **tls
            )
        except OSError as error:
            raise CannotStart(cannot_listen(host, port, error)) from None

    async def _prove_delivery(self) -> None:
        try:
            async with asyncio.timeout(PROVEN_SECONDS):
                await self._canary.first_landing()
        except TimeoutError:
            # Play does not depend on it; /readyz will tell.
            self._log.warning("changes are not delivered to sockets yet")

    async def _drain(self) -> None:
        hub, log = self._hub, self._log
        log.info("draining", connections=len(hub))
        hub.drain()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await hub.wait_until_empty()
        except TimeoutError:
            log.warning("some clients did not say goodbye", connections=len(hub))
        for member in hub:
            member.abort()


async def serve_node(
    settings: Settings, log: Log, stop: asyncio.Event, ready: Callable[[str], None], *, shared_port: bool = False
) -> bool:
    """Build a node on the stores that the settings name, and serve with it: see Node.serve."""
    async with AsyncExitStack() as stack:
        node = Node(settings, await Stores.connect(settings, stack), log, stack)
        return await node.serve(stop, ready, shared_port=shared_port)


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """What the operator is told of an address that cannot be listened on."""
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def _watch(settings: Settings, log: Log, stack: AsyncExitStack) -> Watch | None:
    debug, tracer = settings.log_level == "debug", None
    if settings.traces_url is not None:
        # Here, so that whoever does without it does not even load it.
        from server.traces import Traces

        tracer = Traces(settings.traces_url, settings.traces_share, log)
        stack.push_async_callback(tracer.close)
    return Watch(log, tracer, debug=debug) if debug or tracer is not None else None


def _seconds_since(*times: float | None) -> float:
    """How long ago the earliest was; 0 if there is none."""
    now = asyncio.get_running_loop().time()
    return max((now - time for time in times if time is not None), default=0.0)


def _buffers(hub: Hub) -> Buffers:
    size = full = 0
    for member in hub:
        if isinstance(member, Connection):
            size += member.unsent
            full += member.congested
    return Buffers(size, full)


def _no_http() -> asyncio.BaseProtocol:
    raise AssertionError("the canary asks for a socket only")


def _limits(settings: Settings) -> LimitsData:
    return LimitsData(
        max_message_bytes=settings.message_bytes,
        max_player_message_bytes=settings.player_message_bytes,
        max_stage_score=settings.max_stage_score,
        stages=settings.stages,
        scoring=settings.scoring,
        board_hz=settings.board_hz,
        idle_seconds=IDLE_SECONDS,
        ping_seconds=PING_SECONDS,
    )


def _socket_limits(settings: Settings) -> SocketLimits:
    return SocketLimits(
        messages_per_second=settings.messages_per_second,
        messages_at_once=settings.messages_at_once,
        message_fragments=settings.message_fragments,
        message_seconds=settings.message_seconds,
        subscriptions=settings.subscriptions_per_socket,
    )


def _attempts(settings: Settings, stores: Stores, log: Log, metrics: Metrics) -> Attempts | None:
    if not settings.limits:
        return None
    assert settings.jwt_secret is not None  # noqa: S101
    limits = AttemptLimits(
        settings.failures_per_account,
        settings.failures_per_account_anywhere,
        settings.failures_per_address,
        settings.registrations_per_address,
        settings.longest_delay_seconds,
    )
    return Attempts(stores.attempts, settings.jwt_secret, log, metrics.limit_hit, limits)


def _certificate(settings: Settings, log: Log) -> Certificate | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_certificate, settings.tls_key, log)
    except SettingError as error:
        raise CannotStart(str(error)) from None


def _drawings(settings: Settings, workshop: Workshop, log: Log, stack: AsyncExitStack) -> Drawings:
    if settings.deepai_key is None:
        return workshop
    remote = DeepAi(settings.deepai_url, settings.deepai_key, workshop, log)
    stack.push_async_callback(remote.close)
    return remote


def _start(stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        # More than once if need be: a library that swallows a cancellation must not keep the server from stopping.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_SECONDS)

    stack.push_async_callback(end)
    return task


def _address(listener: asyncio.Server, scheme: str) -> str:
    host, port = listener.sockets[0].getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def _until_told_to_stop(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]], log: Log) -> bool:
    """Wait for a signal; True when a task failed first, which must not go unnoticed."""
    told = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    failed = [task for task in tasks if task in done]
    for task in failed:
        log.error("a part of the server failed", part=task.get_name(), exc_info=task.exception())
    return bool(failed)
