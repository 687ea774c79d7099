"""HTTP: the same actions as on the socket, the pages, and whether the server is well."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from protocol.client_messages import (
    AnswerData,
    CancelData,
    CompareData,
    GetBoardData,
    LoginData,
    NoData,
    PasswordData,
    RefreshData,
    RegisterData,
    RevokeLoginData,
    ScoreData,
    StartData,
)
from protocol.codec import decode_data, encode_data
from protocol.contracts import asyncapi, openapi
from protocol.errors import ErrorCode, FieldProblem, RequestError
from protocol.fields import Wire
from protocol.http_messages import BoardRowData, HealthData, TokensData, encode_http_error
from protocol.http_routes import ROUTES, Route
from protocol.reference import reference
from protocol.server_messages import AuthenticatedData, LeaderboardData
from server.actions import Actions, Visitor, as_request_error, bounded
from server.addresses import Addresses
from server.admin import Admin
from server.auth import Login
from server.health import Health
from server.http_connection import KEEP_ALIVE_SECONDS, HttpConnection
from server.limits import PlayerBuckets, milliseconds
from server.log import Log
from server.metrics import CONTENT_TYPE, Metrics
from server.origins import OriginPolicy
from server.pages import PARTS, page_routes
from server.watch import Watch, arrived_with

#: The connection of a request that is marked so is closed behind the answer.
_LAST: Final = web.RequestKey("braingame.last", bool)
T = TypeVar("T", bound=Wire)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_JSON: Final = "application/json"
#: The route of a request that nothing is served for.
NO_ROUTE: Final = "none"
#: Says that a board may be out of date.
STALE_HEADER: Final = "Braingame-Stale"
#: For requests that are being answered when the server stops. aiohttp waits this long up to three times.
_SHUTDOWN_SECONDS: Final = 2.0
_RETRY_AFTER_DEFAULT_SECONDS: Final = 1
#: How aiohttp says that what it reads is no HTTP.
_BROKEN: Final = (HttpProcessingError, web.RequestPayloadError)
#: Fields of queries that are texts even where they look like numbers.
_TEXTS: Final = ("board", "find")
_SECURITY_HEADERS: Final = {
    # Without the versions of libraries, which aiohttp would name.
    "Server": "braingame",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # For pages that embed things without asking; fetch and modules from other origins go by CORS.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: Over TLS of our own. Only for this host, since others of its domain may not have it.
_HSTS: Final = {"Strict-Transport-Security": "max-age=31536000"}
_CORS_HEADERS: Final = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Expose-Headers": STALE_HEADER,
    "Access-Control-Max-Age": "600",
}


class HttpEdge:
    """The routes and what is around them."""

    def __init__(
        self,
        actions: Actions,
        admin: Admin,
        identify: Callable[[str], Awaitable[Login]],
        emails: Callable[[list[int]], Awaitable[Mapping[int, str]]] | None,
        health: Health,
        metrics: Metrics,
        origins: OriginPolicy,
        log: Log,
        *,
        max_body_bytes: int,
        max_picture_bytes: int,
        body_seconds: float,
        addresses: Addresses,
        buckets: PlayerBuckets | None,
        https: bool,
        watch: Watch | None = None,
    ) -> None:
        """`buckets` None: players may ask as often as they like."""
        self._actions = actions
        self._admin = admin
        self._identify = identify
        self._emails = emails
        self._health = health
        self._metrics = metrics
        self._origins = origins
        self._log = log
        self._max_body_bytes = max_body_bytes
        self._max_picture_bytes = max_picture_bytes
        self._body_seconds = body_seconds
        self._addresses = addresses
        self._buckets = buckets
        self._headers = _SECURITY_HEADERS | (_HSTS if https else {})
        self._watch = watch

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Callable[[], asyncio.BaseProtocol]]:
        """Gives the maker of protocols for connections that speak HTTP; ends them when left."""
        runner = web.AppRunner(
            self._make_app(),
            handle_signals=False,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            # A few bytes could become gigabytes.
            auto_decompress=False,
        )
        await runner.setup()
        try:
            assert runner.server is not None  # noqa: S101
            yield runner.server
        finally:
            await runner.cleanup()

    def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._around], client_max_size=self._max_picture_bytes)
        serve: dict[str, Handler] = {
            "register": self._register,
            "log_in": self._log_in,
            "refresh": self._refresh,
            "log_out": self._log_out,
            "me": self._me,
            "change_password": self._change_password,
            "delete_me": self._delete_me,
            "list_logins": self._list_logins,
            "revoke_login": self._revoke_login,
            "last": self._last,
            "start": self._start,
            "complete": self._complete,
            "close": self._close,
            "cancel": self._cancel,
            "deal": self._deal,
            "answer": self._answer,
            "leaderboard": self._leaderboard,
            "compare": self._compare,
            "live": self._live,
            "ready": self._ready,
            "openapi": self._document(openapi()),
            "asyncapi": self._document(asyncapi()),
            "docs": self._reference(),
            "metrics": self._scrape,
        }
        serve |= {route.operation: self._for_operators(route) for route in ROUTES if route.who == "admin"}
        app.add_routes([web.route(route.method, route.path, serve[route.operation]) for route in ROUTES])
        app.add_routes([web.get("/ws", self._not_a_socket), *page_routes()])
        return app

    # Accounts

    async def _register(self, request: web.Request) -> web.Response:
        data = await self._body(request, RegisterData)
        return _json(await self._actions.register_only(data, self._address(request)), 201)

    async def _log_in(self, request: web.Request) -> web.Response:
        return await self._tokens("auth.login", request, await self._body(request, LoginData))

    async def _refresh(self, request: web.Request) -> web.Response:
        return await self._tokens("auth.refresh", request, await self._body(request, RefreshData))

    async def _tokens(self, kind: str, request: web.Request, data: Wire) -> web.Response:
        granted = await self._actions.perform(kind, Visitor(None, self._address(request)), data)
        assert isinstance(granted, AuthenticatedData)  # noqa: S101
        assert granted.refresh_token is not None  # noqa: S101
        tokens = TokensData(
            token=granted.token, token_expires_at=granted.token_expires_at, refresh_token=granted.refresh_token
        )
        return _json(tokens)

    async def _log_out(self, request: web.Request) -> web.Response:
        await self._as_player("auth.logout", request, await self._body(request, NoData))
        return web.Response(status=204)

    async def _me(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("user.me", request, NoData()))

    async def _change_password(self, request: web.Request) -> web.Response:
        await self._as_player("user.password", request, await self._body(request, PasswordData))
        return web.Response(status=204)

    async def _delete_me(self, request: web.Request) -> web.Response:
        await self._as_player("user.delete", request, await self._body(request, NoData))
        return web.Response(status=204)

    async def _list_logins(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("logins.list", request, NoData()))

    async def _revoke_login(self, request: web.Request) -> web.Response:
        await self._body(request, NoData)
        login = decode_data(RevokeLoginData, b"", id=request.match_info["id"])
        await self._as_player("logins.revoke", request, login)
        return web.Response(status=204)

    # Sessions

    async def _last(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("session.last", request, NoData()))

    async def _start(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("session.start", request, await self._keyed_body(request, StartData)), 201)

    async def _complete(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("session.complete", request, await self._keyed_body(request, ScoreData)))

    async def _close(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("session.close", request, await self._keyed_body(request, ScoreData)))

    async def _cancel(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("session.cancel", request, await self._keyed_body(request, CancelData)))

    async def _deal(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("stage.deal", request, await self._body(request, NoData)))

    async def _answer(self, request: web.Request) -> web.Response:
        return _json(await self._as_player("stage.answer", request, await self._keyed_body(request, AnswerData)))

    # Boards

    async def _leaderboard(self, request: web.Request) -> web.Response:
        visitor = await self._visitor(request)
        query = _query(request, GetBoardData)
        board = await self._actions.perform("leaderboard.get", visitor, query)
        assert isinstance(board, LeaderboardData)  # noqa: S101
        assert board.entries is not None  # noqa: S101
        emails: Mapping[int, str] = {}
        if self._emails is not None:
            emails = await self._emails([entry.number for entry in board.entries])
        elif visitor.login is not None:
            emails = {visitor.login.player.number: visitor.login.player.email}
        rows = {
            str(entry.position): BoardRowData(
                username=entry.username,
                email=emails.get(entry.number),
                total_score=entry.total_score,
                passed_all_games=entry.passed_all_games,
                number=entry.number,
            )
            for entry in board.entries
        }
        # The body is that of the server before this one, in which there is no room for it.
        headers = {STALE_HEADER: "true"} if board.stale else {}
        body = {position: row.model_dump(mode="json") for position, row in rows.items()}
        return web.json_response(body, headers=headers)

    # Drawings

    async def _compare(self, request: web.Request) -> web.Response:
        # Who is not a player does not get to send pictures.
        visitor = await self._player(request)
        data = await self._body(request, CompareData, at_most=self._max_picture_bytes)
        return _json(await self._actions.perform("images.compare", visitor, data))

    # Operators

    def _for_operators(self, route: Route) -> Handler:
        async def serve(request: web.Request) -> web.Response:
            login = (await self._player(request)).login
            assert login is not None  # noqa: S101
            # Before anything else is looked at.
            operator = await self._admin.check(login)
            data: Wire | None = None
            if route.body is not None:
                data = await self._body(request, route.body)
            elif route.query is not None:
                data = _query(request, route.query)
            return _json(await self._admin.perform(route.operation, operator, request.match_info, data))

        return serve

    # Health, contracts and pages

    async def _live(self, _request: web.Request) -> web.Response:
        return _json(HealthData(status="live"))

    async def _ready(self, _request: web.Request) -> web.Response:
        down = await self._health.down()
        if down:
            return _json(HealthData(status="not ready", down=down), 503)
        return _json(HealthData(status="ready"))

    async def _scrape(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _not_a_socket(self, _request: web.Request) -> web.Response:
        error = RequestError(ErrorCode.UPGRADE_REQUIRED)
        response = _error(error, {"Upgrade": "websocket", "Connection": "Upgrade, close"})
        # A balancer that keeps connections to us would send the next one who asks for a socket here, too.
        response.force_close()
        return response

    def _document(self, contract: dict[str, Any]) -> Handler:
        text = json.dumps(contract, ensure_ascii=False)

        async def serve(_request: web.Request) -> web.Response:
            # A contract is for everybody: a tool on another page may read it.
            return web.json_response(text=text, headers={"Access-Control-Allow-Origin": "*"})

        return serve

    def _reference(self) -> Handler:
        text = reference()

        async def serve(_request: web.Request) -> web.Response:
            return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-cache"})

        return serve

    # Around every request

    async def _visitor(self, request: web.Request) -> Visitor:
        authorization = request.headers.get("Authorization")
        login = None if authorization is None else await self._identify(authorization)
        if login is not None and self._buckets is not None:
            now = asyncio.get_running_loop().time()
            wait = self._buckets.of(login.player.number, now).take(now)
            if wait:
                self._metrics.limit_hit("player_messages")
                raise RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=milliseconds(wait))
        return Visitor(login, self._address(request))

    def _address(self, request: web.Request) -> str | None:
        peername = None if request.transport is None else request.transport.get_extra_info("peername")
        headers = request.headers
        return self._addresses.of_request(
            peername, headers.getall("X-Forwarded-For", []), headers.getall("Forwarded", [])
        )

    async def _player(self, request: web.Request) -> Visitor:
        visitor = await self._visitor(request)
        if visitor.login is None:
            raise RequestError(ErrorCode.UNAUTHENTICATED)
        return visitor

    async def _as_player(self, kind: str, request: web.Request, data: Wire) -> Wire:
        with bounded(kind):
            return await self._actions.perform(kind, await self._player(request), data)

    async def _body(self, request: web.Request, model: type[T], /, at_most: int | None = None, **more: Any) -> T:
        most = self._max_body_bytes if at_most is None else at_most
        if (request.content_length or 0) > most:
            raise RequestError(ErrorCode.TOO_LARGE)
        if any(coding.strip().lower() != "identity" for coding in request.headers.getall("Content-Encoding", [])):
            raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "The body has to come uncompressed.")
        body = await self._read(request, most)
        if body and request.content_type != _JSON:
            raise RequestError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)
        return decode_data(model, body, **more)

    async def _read(self, request: web.Request, most: int) -> bytes:
        """The body, of which no more than `most` bytes and one piece are ever held."""
        body = bytearray()
        problem = None
        try:
            async with asyncio.timeout(self._body_seconds):
                async for piece in request.content.iter_any():
                    body += piece
                    if len(body) > most:
                        break
        except TimeoutError:
            self._metrics.limit_hit("message_seconds")
            request[_LAST] = True
            problem = "The body did not come in time."
        except (OSError, *_BROKEN) as broken:
            # A client that went away, or sent nonsense. The request's stream keeps this error, which keeps the frames
            # it came through, with the body: only the garbage collector could free them.
            broken.__traceback__ = None
            request[_LAST] = True
            problem = "The body is not complete."
        # Out here, so that the new error does not keep the old one.
        if problem is not None:
            raise RequestError(ErrorCode.MALFORMED, problem)
        if len(body) > most:
            raise RequestError(ErrorCode.TOO_LARGE)
        return bytes(body)

    async def _keyed_body(self, request: web.Request, model: type[T]) -> T:
        key = request.headers.get("Idempotency-Key")
        return await self._body(request, model) if key is None else await self._body(request, model, key=key)

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Errors become JSON, every answer gets its headers, and is counted."""
        connection = HttpConnection.of(request)
        if connection is None:
            return await self._answered(request, handler)
        connection.begin()
        try:
            return await self._answered(request, handler)
        finally:
            connection.end()

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.monotonic()
        try:
            response = self._preflight(request) or await self._handled(request, handler)
        except web.HTTPException as refusal:
            if refusal.status < 400:
                raise
            response = _error(_from_aiohttp(refusal), _kept_headers(refusal))
        except Exception as error:
            secrets = request.headers.getall("Authorization", [])
            about = {"method": request.method, "route": _route_of(request)}
            response = _error(as_request_error(error, self._log, secrets, **about))
        response.headers.update(self._headers)
        if request.path.startswith(PARTS):
            response.headers["Cache-Control"] = "no-cache"
        # Tokens, emails, and boards that are old in a second: nothing for anybody's cache.
        response.headers.setdefault("Cache-Control", "no-store")
        if _LAST in request:
            response.force_close()
        origin = request.headers.get("Origin")
        response.headers["Vary"] = "Origin"
        if origin is not None and self._origins.is_foreign(origin, request.headers.get("Host")):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers.update(_CORS_HEADERS)
        route = _route_of(request)
        method, seconds = "other" if route == NO_ROUTE else request.method, time.monotonic() - begun
        self._metrics.http(method, route, response.status, seconds)
        if self._watch is not None:
            self._log.debug("http", method=method, route=route, status=response.status, ms=round(seconds * 1000, 3))
        return response

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._watch is None:
            return await handler(request)
        with arrived_with(request.headers.get("traceparent")):
            return await handler(request)

    def _preflight(self, request: web.Request) -> web.Response | None:
        # Without the headers of CORS, which only an allowed origin gets, the browser takes this for a no.
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204)
        return None


def _route_of(request: web.Request) -> str:
    """The pattern of the path: a path itself may be anything."""
    resource = request.match_info.route.resource
    return NO_ROUTE if resource is None else resource.canonical


def _query(request: web.Request, model: type[T]) -> T:
    fields: dict[str, Any] = {}
    for name, text in request.query.items():
        if name in fields:
            raise RequestError(ErrorCode.INVALID, fields=[FieldProblem(name, "given twice")])
        number = text.isascii() and text.isdigit() and len(text) < 20
        fields[name] = int(text) if number and name not in _TEXTS else text
    return decode_data(model, b"", **fields)


def _json(data: Wire, status: int = 200) -> web.Response:
    return web.Response(body=encode_data(data), status=status, content_type=_JSON)


def _error(error: RequestError, headers: Mapping[str, str] | None = None) -> web.Response:
    response = web.Response(body=encode_http_error(error), status=error.status, content_type=_JSON, headers=headers)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retryable:
        seconds = _RETRY_AFTER_DEFAULT_SECONDS if error.retry_after_ms is None else -(-error.retry_after_ms // 1000)
        response.headers["Retry-After"] = str(seconds)
    return response


def _from_aiohttp(refusal: web.HTTPException) -> RequestError:
    # 403 is a folder of the pages, or a way out of it: nothing that there is for anybody.
    codes = {
        403: ErrorCode.NOT_FOUND,
        404: ErrorCode.NOT_FOUND,
        405: ErrorCode.METHOD_NOT_ALLOWED,
        413: ErrorCode.TOO_LARGE,
    }
    default = ErrorCode.INTERNAL if refusal.status >= 500 else ErrorCode.MALFORMED
    return RequestError(codes.get(refusal.status, default))


def _kept_headers(refusal: web.HTTPException) -> dict[str, str]:
    return {"Allow": refusal.headers["Allow"]} if "Allow" in refusal.headers else {}
