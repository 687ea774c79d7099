"""Stages played against a whole server: over the socket and HTTP, on two sockets, judged alone."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.server.clients import Client
from tests.stores import Stores
from tests.whole.running import Server, server_on

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def taps(client: Client, count: int) -> dict[str, Any]:
    """The first rounds of the sequence that was dealt, tapped right."""
    stage = await client.do("stage.deal")
    puzzle = stage["puzzle"]
    assert stage["game"] == "sequence"
    return {"rounds": [puzzle["tiles"][: puzzle["firstLength"] + number] for number in range(count)]}


async def test_player_is_dealt_a_stage_and_scored_by_the_server(server: Server) -> None:
    async with server.client() as client, server.client() as spectator:
        user = (await client.register("sequencer"))["user"]
        await spectator.do("leaderboard.subscribe", board="daily:9")
        await client.do("session.start", difficulty=9)
        answer = await taps(client, 1)
        refused = await client.ask("stage.answer", answer=answer)
        assert refused["data"]["code"] == "too_fast"
        await asyncio.sleep(2.5)  # as long as five tiles are shown and tapped
        reply = await client.do("stage.answer", answer=answer)
        assert (reply["verdict"], reply["sessionStage"]) == ("passed", 1)
        assert 1.9 * 300 < reply["stageScore"] == reply["sessionTotalScore"] < 1.9 * 500
        stage = await client.do("stage.deal")
        assert (stage["game"], stage["stage"]) == ("sums", 1)
        failed = await client.do("stage.answer", answer={"results": []})
        assert (failed["verdict"], failed["stageScore"], failed["sessionStatus"]) == ("failed", 0, 2)
        delta = await spectator.push("leaderboard.delta")
        assert [(row["number"], row["totalScore"]) for row in delta["upserts"]] == [
            (user["number"], reply["sessionTotalScore"])
        ]


async def test_other_socket_of_the_player_sees_the_deal_and_gets_the_same_stage(server: Server) -> None:
    async with server.client() as one:
        login = await one.register("two-screens")
        async with server.client(login["token"]) as other:
            await one.do("session.start")
            stage = await one.do("stage.deal")
            version = (await one.do("session.last"))["sessionVersion"]
            while (await other.push("session"))["sessionVersion"] < version:
                pass
            assert await other.do("stage.deal") == stage


async def test_answers_that_come_at_once_from_everywhere_count_once(server: Server) -> None:
    async with server.client() as one, aiohttp.ClientSession(f"http://{server.netloc}") as http:
        login = await one.register("everywhere")
        headers = {"Authorization": f"Bearer {login['token']}"}
        async with server.client(login["token"]) as other:
            await one.do("session.start")
            answer = await taps(one, 1)
            await asyncio.sleep(2.5)

            async def over_http() -> dict[str, Any]:
                body = {"answer": answer}
                async with http.post("/api/sessions/last/stage/answer", headers=headers, json=body) as said:
                    found: dict[str, Any] = await said.json()
                    return found

            said = await asyncio.gather(
                one.ask("stage.answer", answer=answer),
                other.ask("stage.answer", answer=answer),
                over_http(),
                over_http(),
            )
            outcomes = [reply.get("data", reply) for reply in said]
            (counted,) = [outcome for outcome in outcomes if "verdict" in outcome]
            assert {outcome["code"] for outcome in outcomes if outcome is not counted} == {"not_dealt"}
            last = await one.do("session.last")
            assert (last["sessionStage"], last["sessionTotalScore"]) == (1, counted["stageScore"])
            assert last["sessionVersion"] == 3  # start, deal, complete


async def test_stages_are_played_over_http_too(server: Server) -> None:
    async with server.client() as client, aiohttp.ClientSession(f"http://{server.netloc}") as http:
        login = await client.register("by-hand")
        headers = {"Authorization": f"Bearer {login['token']}"}
        async with http.post("/api/sessions/last/stage", headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "no_session")
        await client.do("session.start")
        async with http.post("/api/sessions/last/stage", headers=headers) as answer:
            assert answer.status == 200
            assert await answer.json() == await client.do("stage.deal")
        keyed = headers | {"Idempotency-Key": "one and only"}
        body: dict[str, Any] = {"answer": {"rounds": []}}
        for replayed in (None, True):
            async with http.post("/api/sessions/last/stage/answer", headers=keyed, json=body) as answer:
                found = await answer.json()
                assert (answer.status, found["verdict"], found.get("replayed")) == (200, "failed", replayed)
        async with http.post("/api/sessions/last/stage/answer", headers=keyed, json={"answer": {}}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (409, "key_reused")


async def test_server_that_keeps_the_score_takes_no_other(stores: Stores) -> None:
    async with (
        server_on(stores, BRAINGAME_SCORING="judged") as server,
        server.client() as client,
        aiohttp.ClientSession(f"http://{server.netloc}") as http,
    ):
        welcome = await client.push("welcome")
        assert welcome["limits"]["scoring"] == "judged"
        login = await client.register("cheater")
        started = await client.do("session.start")
        for kind, score in (("session.complete", 0), ("session.complete", 999_999), ("session.close", 1)):
            assert (await client.ask(kind, score=score))["data"]["code"] == "score_not_accepted"
        headers = {"Authorization": f"Bearer {login['token']}"}
        async with http.post("/api/sessions/last/complete", headers=headers, json={"score": 5}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (403, "score_not_accepted")
        assert await client.do("session.last") == started
        closed = await client.do("session.close", score=0)
        assert (closed["sessionStatus"], closed["sessionTotalScore"]) == (2, 0)
