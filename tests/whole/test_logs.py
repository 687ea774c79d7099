"""What a whole server logs: one id from a request to the push, and nothing that is secret, whatever is done to it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.server.clients import Client, client_to
from tests.server_process import PATIENCE, ServerProcess
from tests.stores import Stores
from tests.whole.failing_server import MARK
from tests.whole.running import database_of

JWT_SECRET = "this-signs-tokens-and-is-shown-to-nobody"


class FailingServer(ServerProcess):
    program = "tests/whole/failing_server.py"

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        """The lines that say so. Every line of the log is a JSON object."""
        lines = [json.loads(line) for line in self.log.splitlines()]
        return [line for line in lines if wanted.items() <= line.items()]

    async def line(self, **wanted: object) -> dict[str, Any]:
        """The first such line, waiting for it."""
        async with asyncio.timeout(PATIENCE):
            while not (found := self.lines(**wanted)):
                await asyncio.sleep(0.01)
        return found[0]


class Secrets(set[str]):
    """What was used and may not be seen."""

    def __call__(self, value: str) -> str:
        self.add(value)
        return value


async def test_log_at_debug_shows_no_secret_and_one_id_from_request_to_push(stores: Stores) -> None:
    secrets = Secrets({JWT_SECRET})
    async with (
        database_of(stores) as settings,
        await FailingServer.start(
            **settings | {"BRAINGAME_LOG_LEVEL": "debug", "BRAINGAME_JWT_SECRET": JWT_SECRET}
        ) as server,
    ):
        await _log_in_and_out(server, secrets)
        await _send_garbage(server, secrets)
        references = await _fail(server, secrets)
        await _play(server)
        assert await server.stop() == 0
    for secret in secrets:
        assert secret not in server.log
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w", server.log), "an email"
    # Who was told a reference can be helped.
    for reference, kind in references:
        (line,) = server.lines(level="error", request=reference)
        assert line["type"] == kind
        assert "Error" in line["exception"]
        assert line["connection"]
    assert server.lines(level="error", type="session.start")[0]["player"] == 1
    asked = {(line["type"], line["outcome"]) for line in server.lines(event="request")}
    assert asked >= {
        ("auth.register", "ok"),
        ("auth.login", "invalid_credentials"),
        ("auth.refresh", "ok"),
        ("auth.login", "internal"),
        ("session.close", "ok"),
    }
    assert server.lines(event="http", route="/login", status=401)


async def refused(client: Client, code: str, kind: str, **data: object) -> None:
    assert (await client.error(kind, **data))["code"] == code


async def _log_in_and_out(server: FailingServer, secrets: Secrets) -> None:
    email, password = secrets("ada.l@example.test"), secrets("correct horse 'battery'")
    ws = f"ws://127.0.0.1:{server.port}/ws"
    async with client_to(ws) as client, aiohttp.ClientSession(server.origin) as http:
        given = await client.do("auth.register", email=email, username="ada", password=password)
        for token in ("token", "refreshToken"):
            secrets(given[token])
        await refused(client, "email_taken", "auth.register", email=email, username="bob", password=password)
        await refused(
            client, "invalid_credentials", "auth.login", email=email, password=secrets("wrong battery staple")
        )
        again = await client.do("auth.refresh", refreshToken=given["refreshToken"])
        await refused(client, "unauthenticated", "auth.resume", token=secrets(again["token"][:-20] + "x" * 20))
        for token in ("token", "refreshToken"):
            secrets(again[token])
        async with client_to(ws) as thief:
            # Which ends the login, and the owner's socket with it.
            await refused(thief, "token_revoked", "auth.refresh", refreshToken=given["refreshToken"])
        assert await client.closed() == 4401
        credentials = {"email": email, "password": secrets("still not the one")}
        assert (await http.post("/login", json=credentials)).status == 401
        assert (await http.post("/login", json=credentials | {"password": password})).status == 200
        bad = {"Authorization": f"Bearer {secrets('neither this nor that')}"}
        assert (await http.get("/api/users/me", headers=bad)).status == 401


async def _send_garbage(server: FailingServer, secrets: Secrets) -> None:
    password = secrets("in the middle of garbage")
    ws = f"ws://127.0.0.1:{server.port}/ws"
    async with client_to(ws) as client, aiohttp.ClientSession(server.origin) as http:
        await client.connection.send(f'{{"type": "auth.login", "data": {{"password": "{password}"')
        await refused(client, "invalid", "auth.login", email="e", password=password, more=password)
        await refused(client, "unknown_type", password)
        broken = f'{{"password": "{password}"'
        kind = {"Content-Type": "application/json"}
        assert (await http.post("/login", data=broken, headers=kind)).status == 400
        assert (await http.get(f"/{password}")).status == 404
        assert (await http.get("/api/leaderboard", params={"token": password})).status == 400


async def _fail(server: FailingServer, secrets: Secrets) -> list[tuple[str, str]]:
    email, password = secrets(f"{MARK}@example.test"), secrets("a\\pass'word\"of ünusual signs")
    secrets("failing@example.test")
    references = []
    ws = f"ws://127.0.0.1:{server.port}/ws"
    asked: list[tuple[str, dict[str, Any]]] = [
        ("auth.register", {"email": email, "username": f"x {MARK}", "password": password}),
        ("auth.login", {"email": email, "password": password}),
        ("auth.resume", {"token": secrets(f"short-{MARK}")}),
        ("session.start", {"key": f"{MARK}-1"}),
    ]
    async with client_to(ws) as client:
        await client.do("auth.login", email="ada.l@example.test", password="correct horse 'battery'")
        await client.do("session.start")
        for kind, data in asked:
            error = (await client.ask(kind, **data))["data"]
            assert error["code"] == "internal"
            (reference,) = re.findall(r"Reference: (\w+)\.$", error["message"])
            references.append((reference, kind))
    return references


async def _play(server: FailingServer) -> None:
    ws = f"ws://127.0.0.1:{server.port}/ws"
    async with client_to(ws) as spectator, client_to(ws) as player:
        await spectator.do("leaderboard.subscribe", board="daily:7")
        await player.do("auth.login", email="ada.l@example.test", password="correct horse 'battery'")
        await player.do("session.start", difficulty=7)
        await player.do("session.close", score=3)
        await spectator.push("leaderboard.delta")
    request = (await server.line(event="request", type="session.close"))["request"]
    for event in ("commit", "projection"):
        assert [request] in [line["requests"] for line in server.lines(event=event)]
    push = await server.line(event="push", board="daily:7")
    assert push["requests"] == [request]
    assert push["subscribers"] == 1


def unreachable(password: str) -> dict[str, str]:
    return {"DATABASE_URL": f"postgresql://game:{password}@127.0.0.1:1/game", "REDIS_URL": "redis://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("variables", "hidden"),
    [
        (lambda _: unreachable("s3cret-of-ours"), ["s3cret"]),
        (lambda _: unreachable("s3cret/of?ours"), ["s3cret", "of?ours", "ours@"]),
        (lambda settings: settings | {"REDIS_URL": "redis://:s3cret-of-ours@127.0.0.1:1/0"}, ["s3cret"]),
        (lambda settings: settings | {"REDIS_URL": "redis://:s3cret/of-ours@127.0.0.1:1/0"}, ["s3cret", "of-ours"]),
    ],
)
async def test_server_that_cannot_start_shows_no_password(
    stores: Stores, variables: Callable[[dict[str, str]], dict[str, str]], hidden: list[str]
) -> None:
    async with database_of(stores) as settings:
        server = await ServerProcess.spawn(**variables(settings) | {"BRAINGAME_LOG_LEVEL": "debug"})
        assert await server.exit_code() == 2
    assert "Brain Game cannot start" in server.log
    for part in hidden:
        assert part not in server.log
