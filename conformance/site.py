"""The address of each run: sockets for clients, and plain GETs for those who want to know what came of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit
from weakref import WeakSet

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, NegotiationError
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from conformance.peer import Frame, Lost, Offered, Opened, Peer
from conformance.run import Run
from conformance.steps import Pace, Scenario
from conformance.verdict import Verdict
from conformance.world import Visitor
from protocol.errors import RequestError

SUBPROTOCOL: Final = Subprotocol("braingame.v1")
#: Verdicts are kept for so many runs; the oldest goes first. A day of an author's tests, and no leak.
MAX_RUNS: Final = 1000
#: Seconds that a GET of a verdict may wait for it.
MAX_WAIT: Final = 60.0
#: The run of `/ws` where one scenario is served alone.
ONLY_RUN: Final = "default"
_MAX_MESSAGE_BYTES: Final = 4_194_304
#: Seconds for a client to answer our close.
_CLOSE_SECONDS: Final = 1.0
_ADDRESS: Final = re.compile(r"/(?P<scenario>[a-z-]+)(?:/(?P<run>[A-Za-z0-9._-]{1,64}))?/(?P<what>ws|verdict)")


class _Connection(ServerConnection):
    """Remembers from the handshake which run it belongs to, and whose it is."""

    let_in: tuple[Run, Visitor] | None = None


class Site:
    """All runs of all scenarios that are served, and who asks about them."""

    def __init__(self, scenarios: Mapping[str, Scenario], pace: Pace, say: Callable[[str], None]) -> None:
        self._scenarios = scenarios
        self._pace = pace
        self._say = say
        self._runs: dict[tuple[str, str], tuple[Run, asyncio.Task[None]]] = {}
        self._connections: WeakSet[_Connection] = WeakSet()
        # Handshakes that are none are a client's affair, and told to it.
        self._logger = logging.getLogger("conformance.websockets")
        self._logger.addHandler(logging.NullHandler())
        self._logger.propagate = False

    @asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve until the end of the block; gives the port. A script that breaks ends the block with its error."""
        server = await serve(
            self._handle,
            host,
            port,
            process_request=self._process_request,
            select_subprotocol=_select_subprotocol,
            create_connection=cast("type[ServerConnection]", self._connection),  # it is only called
            max_size=_MAX_MESSAGE_BYTES,
            open_timeout=MAX_WAIT + 10,  # a GET that waits is a handshake to websockets
            close_timeout=_CLOSE_SECONDS,
            ping_interval=None,  # a script may be silent
            logger=self._logger,
            start_serving=False,  # not before there is an owner for the runs
        )
        async with server:
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    await server.start_serving()
                    yield next(iter(server.sockets)).getsockname()[1]
                    for _, task in self._runs.values():
                        task.cancel()
            finally:
                # A browser opens some in reserve; websockets would wait for their requests.
                for connection in self._connections:
                    if connection.state is State.CONNECTING:
                        connection.transport.abort()

    def listing(self) -> dict[str, Any]:
        """`{scenarios: [{name, task, why, socket, verdict}], patienceSeconds}`; put your own name for {run}."""
        return {
            "scenarios": [
                {
                    "name": name,
                    "task": scenario.task,
                    "why": scenario.why,
                    "socket": f"/{name}/{{run}}/ws",
                    "verdict": f"/{name}/{{run}}/verdict",
                }
                for name, scenario in self._scenarios.items()
            ],
            "patienceSeconds": self._pace.patience,
        }

    def _connection(self, *arguments: Any, **settings: Any) -> _Connection:
        connection = _Connection(*arguments, **settings)
        self._connections.add(connection)
        return connection

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        path = address.path
        if path == "/":
            return _json(HTTPStatus.OK, self.listing())
        if path in ("/ws", "/verdict") and len(self._scenarios) == 1:
            path = f"/{next(iter(self._scenarios))}/{ONLY_RUN}{path}"
        found = _ADDRESS.fullmatch(path)
        if found is None or found["scenario"] not in self._scenarios:
            return _json(HTTPStatus.NOT_FOUND, {"error": "There is no such scenario; GET / lists them."})
        if found["what"] == "verdict":
            return await self._tell(found["scenario"], found["run"], address.query)
        run = self._run(found["scenario"], found["run"] or secrets.token_hex(6))
        visitor = Visitor()
        token = _token(request)
        if token is not None:
            run.stage.inbox.put_nowait(Offered())
            try:
                run.stage.world.account.resume(token)
            except RequestError as error:
                return _json(error.status, {"error": error.message, "code": error.code})
            visitor.is_player = True
        assert isinstance(connection, _Connection)  # noqa: S101
        connection.let_in = run, visitor
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Connection)  # noqa: S101
        assert connection.let_in is not None  # noqa: S101
        run, visitor = connection.let_in
        peer = Peer(connection, visitor)
        inbox = run.stage.inbox
        clock = asyncio.get_running_loop().time
        inbox.put_nowait(Opened(peer, clock()))
        try:
            async for content in connection:
                inbox.put_nowait(Frame(peer, content, clock()))
        except ConnectionClosed:
            pass
        finally:
            inbox.put_nowait(Lost(peer))

    async def _tell(self, scenario: str, name: str | None, query: str) -> Response:
        if name is None:
            return _json(HTTPStatus.NOT_FOUND, {"error": "Name the run: /<scenario>/<run>/verdict."})
        run = self._run(scenario, name)
        try:
            seconds = float(parse_qs(query).get("wait", ["0"])[0])
        except ValueError:
            return _json(HTTPStatus.BAD_REQUEST, {"error": "wait is a number of seconds."})
        if seconds > 0:
            try:
                async with asyncio.timeout(min(seconds, MAX_WAIT)):
                    await run.over.wait()
            except TimeoutError:
                pass
        return _json(HTTPStatus.OK, run.verdict.as_json())

    def _run(self, scenario: str, name: str) -> Run:
        found = self._runs.get((scenario, name))
        if found is not None:
            return found[0]
        if len(self._runs) >= MAX_RUNS:
            _, task = self._runs.pop(next(iter(self._runs)))
            task.cancel()
        run = Run(self._scenarios[scenario], name, self._pace, self._end)
        self._runs[scenario, name] = run, self._tasks.create_task(run.play())
        return run

    def _end(self, verdict: Verdict) -> None:
        self._say(verdict.line())


def _token(request: Request) -> str | None:
    for value in request.headers.get_all("Authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
    return None


def _select_subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    if offered:
        raise NegotiationError(f"the subprotocol is {SUBPROTOCOL}")
    return None


def _json(status: HTTPStatus, content: dict[str, Any]) -> Response:
    body = f"{json.dumps(content, indent=2)}\n".encode()
    headers = Headers(
        {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
            # A client under test in a browser comes from a page of its author's.
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": "no-store",
        }
    )
    return Response(status.value, status.phrase, headers, body)
