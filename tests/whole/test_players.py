"""Players as the contract describes them, seen from outside: accounts, sessions, keys, several sockets, HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.server.clients import Client
from tests.whole.running import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

SESSION_FIELDS = {
    "sessionId",
    "sessionStatus",
    "sessionStage",
    "sessionTotalScore",
    "sessionDifficulty",
    "sessionStageCount",
    "sessionStartedAt",
    "sessionVersion",
}
IN_PROGRESS, FINISHED, FAILED, CANCELED = range(4)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.origin) as session:
        yield session


def facts(session: dict[str, Any]) -> tuple[int, int, int]:
    return session["sessionStatus"], session["sessionStage"], session["sessionTotalScore"]


# Accounts


async def test_register_gives_a_login_and_an_account(server: Server) -> None:
    async with server.client() as client:
        granted = await client.do(
            "auth.register", email="Ada@Example.test", username="  Ada  ", password="correct horse"
        )
        assert set(granted) == {"token", "tokenExpiresAt", "refreshToken", "user", "session"}
        assert set(granted["user"]) == {"id", "username", "email", "number"}
        assert granted["user"]["username"] == "Ada"
        assert granted["session"] is None
        left = datetime.fromisoformat(granted["tokenExpiresAt"]) - datetime.now(UTC)
        assert timedelta(minutes=55) < left <= timedelta(hours=1)
        assert await client.do("user.me") == granted["user"]


async def test_numbers_go_up_by_one(server: Server) -> None:
    async with server.client() as client:
        numbers = [(await client.register(f"number{index}"))["user"]["number"] for index in range(3)]
        assert numbers == list(range(numbers[0], numbers[0] + 3))


async def test_what_is_taken_is_refused(server: Server) -> None:
    async with server.client() as client:
        await client.register("taken")
        for email, username, code in (
            ("TAKEN@example.test", "free", "email_taken"),
            ("free@example.test", "TAKEN", "username_taken"),
        ):
            error = await client.error("auth.register", email=email, username=username, password="correct horse")
            assert error["code"] == code


async def test_bad_accounts_are_refused_field_by_field(server: Server) -> None:
    async with server.client() as client:
        error = await client.error("auth.register", email="nonsense", username=" ", password="short")
        assert error["code"] == "invalid"
        assert sorted(field["path"] for field in error["fields"]) == ["email", "password", "username"]
        error = await client.error("auth.register", email="a@example.test", username="a", password="ä" * 37)
        assert [field["path"] for field in error["fields"]] == ["password"]


async def test_login_resume_and_refresh_lead_to_the_same_player(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("again")
        begun = await client.do("session.start", difficulty=3)
        by_login = await client.do("auth.login", email="AGAIN@example.test", password="correct horse")
        assert (by_login["user"], by_login["session"]) == (granted["user"], begun)
        by_token = await client.do("auth.resume", token=granted["token"])
        assert (by_token["user"], by_token["session"], by_token["token"]) == (granted["user"], begun, granted["token"])
        assert "refreshToken" not in by_token
        by_refresh = await client.do("auth.refresh", refreshToken=granted["refreshToken"])
        assert (by_refresh["user"], by_refresh["session"]) == (granted["user"], begun)
        assert by_refresh["refreshToken"] != granted["refreshToken"]


async def test_wrong_credentials_are_refused_alike(server: Server) -> None:
    async with server.client() as client:
        await client.register("alike")
        errors = [
            await client.error("auth.login", email=email, password=password)
            for email, password in (
                ("alike@example.test", "wrong horse"),
                ("nobody@example.test", "correct horse"),
                ("alike@example.test", "x" * 1000),
                ("\0", ""),
            )
        ]
        assert {json.dumps(error) for error in errors} == {json.dumps(errors[0])}
        assert errors[0]["code"] == "invalid_credentials"


async def test_bad_tokens_are_refused(server: Server) -> None:
    async with server.client() as client:
        granted = await client.register("badtokens")
        for kind, data, code in (
            ("auth.resume", {"token": "nonsense"}, "unauthenticated"),
            ("auth.resume", {"token": granted["refreshToken"]}, "unauthenticated"),
            ("auth.refresh", {"refreshToken": "nonsense"}, "unauthenticated"),
            ("auth.refresh", {"refreshToken": granted["token"]}, "unauthenticated"),
        ):
            assert (await client.error(kind, **data))["code"] == code
        await client.do("user.me")  # a refused login takes nothing away


async def test_spectator_may_not_do_what_is_a_players(server: Server) -> None:
    async with server.client() as client:
        for kind, data in (
            ("auth.logout", {}),
            ("user.me", {}),
            ("session.start", {}),
            ("session.last", {}),
            ("session.complete", {"score": 1}),
            ("session.close", {"score": 1}),
            ("session.cancel", {}),
            ("leaderboard.get", {"around": "me"}),
        ):
            assert (await client.error(kind, **data))["code"] == "unauthenticated"


# Logging out


async def test_logout_makes_the_socket_a_spectators_and_closes_the_others_of_the_login(
    server: Server, http: aiohttp.ClientSession
) -> None:
    async with server.client() as client, server.client() as apart:
        granted = await client.register("leaving")
        elsewhere = await apart.do("auth.login", email="leaving@example.test", password="correct horse")
        async with server.client(granted["token"]) as second, server.client() as third:
            await third.do("auth.resume", token=granted["token"])
            assert await client.do("auth.logout") == {}
            assert await second.closed() == 4401
            assert await third.closed() == 4401
        assert (await client.error("user.me"))["code"] == "unauthenticated"
        assert (await client.error("auth.resume", token=granted["token"]))["code"] == "token_revoked"
        assert (await client.error("auth.refresh", refreshToken=granted["refreshToken"]))["code"] == "token_revoked"
        async with http.get("/api/users/me", headers={"Authorization": f"Bearer {granted['token']}"}) as answer:
            assert answer.status == 401
        await apart.do("user.me")  # another login of the same player goes on
        async with http.get("/api/users/me", headers={"Authorization": f"Bearer {elsewhere['token']}"}) as answer:
            assert answer.status == 200
        await client.do("leaderboard.subscribe")  # the socket goes on as well


async def test_logout_over_http_ends_the_sockets(server: Server, http: aiohttp.ClientSession) -> None:
    async with server.client() as client:
        granted = await client.register("httpleaving")
        async with http.post("/logout", headers={"Authorization": f"Bearer {granted['token']}"}) as answer:
            assert answer.status == 204
        assert await client.closed() == 4401


async def test_refresh_token_used_twice_ends_the_login_everywhere(server: Server) -> None:
    async with server.client() as client, server.client() as thief:
        granted = await client.register("stolen")
        await client.do("auth.refresh", refreshToken=granted["refreshToken"])
        error = await thief.error("auth.refresh", refreshToken=granted["refreshToken"])
        assert error["code"] == "token_revoked"
        assert await client.closed() == 4401
        await thief.do("ping")


# Sessions


async def test_session_is_played_to_its_end(server: Server) -> None:
    async with server.client() as client:
        await client.register("player")
        assert await client.do("session.last") == dict.fromkeys(SESSION_FIELDS)
        begun = await client.do("session.start", difficulty=9)
        assert set(begun) == SESSION_FIELDS
        assert facts(begun) == (IN_PROGRESS, 0, 0)
        assert (begun["sessionDifficulty"], begun["sessionStageCount"], begun["sessionVersion"]) == (9, 3, 1)
        assert facts(await client.do("session.complete", score=1)) == (IN_PROGRESS, 1, 1)
        assert facts(await client.do("session.complete", score=0)) == (IN_PROGRESS, 2, 1)
        done = await client.do("session.complete", score=1_000_000)
        assert facts(done) == (FINISHED, 2, 1_000_001)  # it stays on the last stage
        assert (done["sessionId"], done["sessionVersion"]) == (begun["sessionId"], 4)
        assert await client.do("session.last") == done


async def test_session_ends_in_other_ways(server: Server) -> None:
    async with server.client() as client:
        await client.register("loser")
        first = await client.do("session.start")
        await client.do("session.complete", score=5)
        assert facts(await client.do("session.close", score=6)) == (FAILED, 1, 11)
        second = await client.do("session.start")
        assert second["sessionId"] != first["sessionId"]
        assert facts(await client.do("session.cancel")) == (CANCELED, 0, 0)
        await client.do("session.start")
        third = await client.do("session.start")  # cancels the one in progress
        assert (facts(third), third["sessionVersion"]) == ((IN_PROGRESS, 0, 0), 7)


async def test_refused_action_carries_the_session_and_changes_nothing(server: Server) -> None:
    async with server.client() as client:
        await client.register("refused")
        actions: list[tuple[str, dict[str, int]]] = [
            ("session.complete", {"score": 1}),
            ("session.close", {"score": 1}),
            ("session.cancel", {}),
        ]
        for kind, data in actions:
            assert (await client.error(kind, **data))["code"] == "no_session"
        await client.do("session.start")
        ended = await client.do("session.close", score=7)
        for kind, data in actions:
            error = await client.error(kind, **data)
            assert (error["code"], error["retryable"], error["session"]) == ("session_not_active", False, ended)
        assert await client.do("session.last") == ended


async def test_scores_and_difficulties_out_of_bounds_are_invalid(server: Server) -> None:
    async with server.client() as client:
        await client.register("bounds")
        for difficulty in (-1, 10):
            assert (await client.error("session.start", difficulty=difficulty))["code"] == "invalid"
        begun = await client.do("session.start")
        for score in (-1, 1_000_001, 2**63, 10**30):
            for kind in ("session.complete", "session.close"):
                error = await client.error(kind, score=score)
                assert (error["code"], error["fields"][0]["path"]) == ("invalid", "score")
        assert await client.do("session.last") == begun


# Keys


async def test_action_with_its_key_is_done_once_on_whatever_way_it_comes(
    server: Server, http: aiohttp.ClientSession
) -> None:
    async with server.client() as client:
        granted = await client.register("keys")
        begun = await client.do("session.start", difficulty=2, key="the start's key")
        done = await client.do("session.complete", score=5, key="the stage's key")
        await client.do("session.complete", score=6)
        assert await client.do("session.complete", score=5, key="the stage's key") == {**done, "replayed": True}
        assert await client.do("session.start", difficulty=2, key="the start's key") == {**begun, "replayed": True}
    headers = {"Authorization": f"Bearer {granted['token']}", "Idempotency-Key": "the stage's key"}
    async with http.post("/api/sessions/last/complete", headers=headers, json={"score": 5}) as answer:
        assert (answer.status, await answer.json()) == (200, {**done, "replayed": True})
    async with server.client(granted["token"]) as client:
        assert (await client.push("welcome"))["session"]["sessionVersion"] == 3


async def test_key_of_another_action_is_refused(server: Server) -> None:
    async with server.client() as client:
        await client.register("reused")
        await client.do("session.start", key="one key only")
        for kind, data in (
            ("session.start", {"difficulty": 1}),
            ("session.complete", {"score": 1}),
            ("session.close", {"score": 1}),
            ("session.cancel", {}),
        ):
            error = await client.error(kind, **data, key="one key only")
            assert (error["code"], error["retryable"]) == ("key_reused", False)
        assert (await client.do("session.last"))["sessionVersion"] == 1


async def test_bad_keys_are_invalid(server: Server) -> None:
    async with server.client() as client:
        await client.register("badkeys")
        for key in ("", "1234567", "x" * 65, "with\nnewline", "\u0001abcdefgh"):
            error = await client.error("session.start", key=key)
            assert (error["code"], error["fields"][0]["path"]) == ("invalid", "key")
        for key in ("12345678", "x" * 64, "größe ✓ 😀"):
            assert "replayed" not in await client.do("session.start", key=key)


async def test_one_key_sent_from_many_sockets_at_once_is_done_once(server: Server) -> None:
    async with server.client() as client:
        token = (await client.register("atonce"))["token"]
        await client.do("session.start")
        clients = [server.client(token) for _ in range(8)]
        opened = await asyncio.gather(*(one.__aenter__() for one in clients))
        done = await asyncio.gather(*(one.do("session.complete", score=5, key="sent by all") for one in opened))
        assert sorted("replayed" in one for one in done) == [False] + [True] * 7
        assert {one["sessionVersion"] for one in done} == {2}
        await asyncio.gather(*(one.__aexit__(None, None, None) for one in clients))


# Several sockets


async def test_two_sockets_of_a_player_hear_of_each_other(server: Server, http: aiohttp.ClientSession) -> None:
    async with server.client() as phone, server.client() as stranger:
        granted = await phone.register("both")
        await stranger.register("stranger")
        async with server.client(granted["token"]) as tablet:
            begun = await phone.do("session.start")
            assert await tablet.push("session") == begun
            done = await tablet.do("session.complete", score=5)
            assert await phone.push("session") == done
            headers = {"Authorization": f"Bearer {granted['token']}"}
            async with http.post("/api/sessions/last/close", headers=headers, json={"score": 6}) as answer:
                ended = await answer.json()
            assert await phone.push("session") == ended
            assert await tablet.push("session") == ended
            # Neither a refusal nor a replay is news.
            await phone.error("session.cancel")
            again = await phone.do("session.start", key="not news again")
            assert await tablet.push("session") == again
            assert (await phone.do("session.start", key="not news again"))["replayed"] is True
            await tablet.do("ping")
            await stranger.do("ping")
            for client in (phone, tablet, stranger):
                assert "session" not in [message["type"] for message in client.pushes]


async def test_actions_from_many_sockets_of_one_player_are_all_applied_one_at_a_time(server: Server) -> None:
    async with server.client() as first:
        token = (await first.register("crowd"))["token"]
        clients = [server.client(token) for _ in range(6)]
        opened: list[Client] = await asyncio.gather(*(one.__aenter__() for one in clients))

        async def play(client: Client) -> list[int]:
            return [(await client.do("session.start"))["sessionVersion"] for _ in range(20)]

        versions = await asyncio.gather(*(play(client) for client in opened))
        assert sorted(version for one in versions for version in one) == list(range(1, 121))
        assert (await first.do("session.last"))["sessionVersion"] == 120
        await asyncio.gather(*(one.__aexit__(None, None, None) for one in clients))


# Pages beside them


async def test_pages_health_and_api_share_the_port(server: Server, http: aiohttp.ClientSession) -> None:
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/api/leaderboard", 200), ("/nowhere", 404)):
        async with http.get(path) as answer:
            assert answer.status == status
            assert answer.content_type == "application/json"
    async with http.get("/ws") as answer:
        assert (answer.status, (await answer.json())["code"]) == (426, "upgrade_required")
