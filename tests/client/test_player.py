"""The whole client: actions are done once and in order, against a scripted server and against a real one."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from client.errors import Closed, RequestRefused
from client.player import Game, connect
from client.values import Status, Tokens
from tests.client.scripted import Json, Talk, scripted
from tests.server.gate import Gate
from tests.server.test_drawing import picture
from tests.server_process import ROOT
from tests.stores import Stores
from tests.whole.running import Server, database_of, server_on


async def quickly(_seconds: float) -> None:
    await asyncio.sleep(0.001)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(stores: Stores) -> AsyncIterator[Server]:
    async with server_on(stores) as found:
        yield found


async def logged_in(talk: Talk) -> None:
    await talk.log_in(await talk.next())


# A scripted server


async def test_action_whose_answer_was_lost_is_sent_again_with_its_key() -> None:
    keys: list[str] = []

    async def cut(talk: Talk) -> None:
        await logged_in(talk)
        keys.append((await talk.next("session.complete"))["data"]["key"])
        talk.socket.transport.abort()

    async def answer(talk: Talk) -> None:
        await logged_in(talk)
        request = await talk.next("session.complete")
        keys.append(request["data"]["key"])
        await talk.play(request, 5, replayed=True)

    async with scripted(cut, answer) as server, connect(server.url, sleep=quickly) as game:
        await game.login("a@b.example", "correct horse")
        session = await game.complete(120)
        assert (session.version, session.replayed) == (5, True)
        assert keys[0] == keys[1]
        assert 8 <= len(keys[0]) <= 64


async def test_refusal_that_may_pass_is_waited_out_with_the_same_key() -> None:
    requests: list[Json] = []

    async def serve(talk: Talk) -> None:
        await logged_in(talk)
        for code in ("unavailable", "rate_limited"):
            requests.append(await talk.next("session.start"))
            await talk.refuse(requests[-1], code, retryable=True, retryAfterMs=1)
        requests.append(await talk.next("session.start"))
        await talk.play(requests[-1], 1)

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        await game.login("a@b.example", "correct horse")
        await game.start(difficulty=3)
        assert len({request["data"]["key"] for request in requests}) == 1
        assert len({request["id"] for request in requests}) == 3


async def test_actions_are_sent_one_after_the_other() -> None:
    async def serve(talk: Talk) -> None:
        await logged_in(talk)
        for version in range(1, 6):
            request = await talk.next("session.complete")
            assert request["data"]["score"] == version
            await talk.play(request, version)

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        await game.login("a@b.example", "correct horse")
        sessions = await asyncio.gather(*(game.complete(score) for score in range(1, 6)))
        assert [session.version for session in sessions] == [1, 2, 3, 4, 5]


async def test_final_refusal_is_raised_with_what_the_server_said() -> None:
    async def serve(talk: Talk) -> None:
        await logged_in(talk)
        await talk.refuse(await talk.next(), "invalid", fields=[{"path": "score", "message": "at most 5"}])

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        await game.login("a@b.example", "correct horse")
        with pytest.raises(RequestRefused) as refused:
            await game.complete(6)
        assert [(field.path, field.message) for field in refused.value.fields] == [("score", "at most 5")]


async def test_session_of_another_device_is_known_and_an_older_one_changes_nothing() -> None:
    async def serve(talk: Talk) -> None:
        await logged_in(talk)
        request = await talk.next("session.start")
        await talk.play(request, 4)
        session = dict((await session_of(request)), sessionVersion=6)
        await talk.push("session", **session)
        await talk.push("session", **dict(session, sessionVersion=5))
        await talk.push("something.new", sessionVersion=99)
        await talk.answer(await talk.next("ping"), "pong", {"serverTime": "now"})

    async def session_of(_request: Json) -> Json:
        from protocol.examples import server_examples

        return dict(server_examples("session")[0]["data"])

    async with scripted(serve) as server, connect(server.url, sleep=quickly) as game:
        await game.login("a@b.example", "correct horse")
        await game.start()
        await game.ping()
        assert game.session is not None
        assert game.session.version == 6


async def test_call_waits_for_a_connection_only_as_long_as_its_caller_lets_it() -> None:
    async with connect("ws://127.0.0.1:1/ws", sleep=quickly) as game:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await game.ping()
        waiting = asyncio.create_task(game.ping())
        await asyncio.sleep(0)
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        await game.ping()


async def test_url_that_is_none_is_told_to_who_waits() -> None:
    async with connect("nonsense") as game:
        with pytest.raises(ValueError, match="nonsense"):
            await game.ping()


# A real server


@pytest.mark.asyncio(loop_scope="module")
async def test_session_is_played_and_seen_on_the_board(server: Server) -> None:
    async with connect(server.ws) as game, connect(server.ws) as spectator:
        user = await game.register("python@example.test", "python", "correct horse")
        assert user.number == (await game.me()).number
        assert await game.last_session() is None
        async with spectator.follow("all-time:9") as follower, game.follow("all-time:9") as own:
            session = await game.start(difficulty=9)
            for score in (100, 200, 300):
                session = await game.complete(score)
            assert (session.status, session.total_score) == (Status.FINISHED, 600)
            async for state in follower:
                if [(entry.username, entry.total_score) for entry in state.entries] == [("python", 600)]:
                    break
            while own.place is None or own.place.position != 1:
                await own.changed()
        around = await game.leaderboard("all-time:9", around_me=True)
        assert around.entries == state.entries
        with pytest.raises(RequestRefused, match="session_not_active"):
            await game.complete(1)
        assert await game.ping()
        assert game.limits["stages"] == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_stage_is_dealt_and_answered(server: Server) -> None:
    async with connect(server.ws) as game:
        await game.register("dealt@example.test", "dealt", "correct horse")
        await game.start()
        stage = await game.deal()
        assert stage.game == "sequence"
        assert await game.deal() == stage
        session = await game.answer({"rounds": []})
        assert (session.verdict, session.stage_score, session.status) == ("failed", 0, Status.FAILED)
        assert game.session is not None
        assert (game.session.version, game.session.verdict) == (session.version, None)


@pytest.mark.asyncio(loop_scope="module")
async def test_account_is_managed(server: Server) -> None:
    async with connect(server.ws) as game, connect(server.ws) as other:
        await game.register("manage@example.test", "manage", "correct horse")
        await other.login("manage@example.test", "correct horse")
        (away,) = [one.id for one in await game.logins() if not one.current]
        await game.revoke_login(away)
        while other.user is not None:
            await asyncio.sleep(0.01)
        await game.change_password("correct horse", "battery staple")
        await other.login("manage@example.test", "battery staple")
        assert await other.compare(picture(), f"data:image/png;base64,{picture()}") == 0
        with pytest.raises(RequestRefused, match="image_unreadable"):
            await other.compare(picture(), base64.b64encode(b"nothing").decode())
        tokens = other.tokens
        await other.logout()
        assert (other.tokens, other.user) == (None, None)
        assert tokens is not None
        with pytest.raises(RequestRefused, match="token_revoked"):
            await other.resume(tokens)
        await game.delete_account()
        with pytest.raises(RequestRefused, match="invalid_credentials"):
            await game.login("manage@example.test", "battery staple")


async def play_through(game: Game, count: int) -> None:
    for score in range(count):
        session = await game.start()
        session = await game.complete(score)
        assert session.total_score == score


async def test_play_goes_on_over_cut_connections_and_a_restart_and_nothing_is_done_twice(stores: Stores) -> None:
    async with database_of(stores) as settings:
        server = await Server.start(**settings)
        async with Gate(f"http://127.0.0.1:{server.port}") as gate:
            url = f"ws://{gate.url.partition('://')[2].rstrip('/')}/ws"
            kept: list[Tokens | None] = []
            async with connect(url, sleep=quickly, on_tokens=kept.append) as game:
                await game.register("enduring@example.test", "enduring", "correct horse")
                playing = asyncio.create_task(play_through(game, 40))
                for _ in range(6):
                    await asyncio.sleep(0.05)
                    await gate.shut()
                    await gate.open()
                async with server:
                    await gate.shut()
                    await server.stop()
                async with await Server.start("--port", str(server.port), **settings):
                    await gate.open()
                    async with asyncio.timeout(30):
                        await playing
                        last = await game.last_session()
                    assert last is not None
                    assert last.version == 80  # each of them once
                    assert [tokens for tokens in kept if tokens is None] == []


# The examples


@pytest.mark.asyncio(loop_scope="module")
async def test_examples_do_what_they_say(server: Server) -> None:
    async def program(name: str, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"client.examples.{name}", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )

    async with asyncio.timeout(60):
        watching = await program("watch", server.ws, "all-time:3")
        playing = await program("play", server.ws, "exemplary")
        said, _ = await playing.communicate()
        assert said.decode().splitlines() == [f"exemplary: {points} points" for points in (120, 240, 360)]
        assert playing.returncode == 0
        assert watching.stdout is not None
        while (await watching.stdout.readline()).decode() != "1. exemplary 360\n":
            pass
        watching.terminate()
        await watching.communicate()
