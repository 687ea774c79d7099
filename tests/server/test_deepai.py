"""DeepAI's API, played by a server of our own that answers as https://deepai.org/docs says, failures included."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import LogCapture

import server.deepai
from images.errors import ImageUnreadable
from protocol.errors import RequestError
from server.deepai import DeepAi
from server.log import Log
from storage.postgres import StoreUnavailable

KEY = "quickstart-QUdJIGlzIGNvbWluZy4uLi4K"
ONE, OTHER = b"picture one", b"picture \xff other"


@dataclass
class Api:
    """Answers in turn with what it is given; the last one stays."""

    answers: list[Callable[[], web.StreamResponse]]
    seen: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        files = {str(part.name): await part.read() async for part in await request.multipart()}  # type: ignore[union-attr]
        self.seen.append({"key": request.headers.get("api-key"), "method": request.method, **files})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is HANG:
            await asyncio.sleep(60)
        return answer()


def distance(value: object) -> Callable[[], web.StreamResponse]:
    return lambda: web.json_response({"id": "6e8f", "output": {"distance": value}})


def failure(status: int, text: str = '{"err": "something"}') -> Callable[[], web.StreamResponse]:
    return lambda: web.Response(status=status, text=text, content_type="application/json")


def HANG() -> web.StreamResponse:  # noqa: N802
    raise AssertionError("not reached")


class AnyPicture:
    async def check(self, _whose: int, *pictures: str) -> None:
        if "" in pictures:
            raise ImageUnreadable


@asynccontextmanager
async def api(*answers: Callable[[], web.StreamResponse]) -> AsyncIterator[Api]:
    played = Api(list(answers))
    app = web.Application()
    app.router.add_route("*", "/api/image-similarity", played.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    played.url = f"http://{host}:{port}/api/image-similarity"
    yield played
    await runner.cleanup()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TRY_SECONDS", 0.2), ("TOTAL_SECONDS", 1.5), ("_FIRST_PAUSE_SECONDS", 0.01)):
        monkeypatch.setattr(server.deepai, name, seconds)


async def asked(played: Api, log: Log) -> int:
    judge = DeepAi(played.url, KEY, AnyPicture(), log)
    try:
        return await judge.distance(
            1, base64.b64encode(ONE).decode(), "data:image/png;base64," + base64.b64encode(OTHER).decode()
        )
    finally:
        await judge.close()


async def test_api_is_asked_as_documented(log: Log) -> None:
    async with api(distance(12)) as played:
        assert await asked(played, log) == 12
    assert played.seen == [{"key": KEY, "method": "POST", "image1": ONE, "image2": OTHER}]


@pytest.mark.parametrize(("said", "given"), [(0, 0), (100, 100), (512, 100), (-3, 0), (17.6, 18)])
async def test_distance_is_cut_to_the_contracts_range(log: Log, said: float, given: int) -> None:
    async with api(distance(said)) as played:
        assert await asked(played, log) == given


@pytest.mark.parametrize(
    "first",
    [failure(500), failure(503), failure(429), HANG, distance("near"), distance(None), distance(True)]
    + [failure(200, text) for text in ("", "[]", "nonsense", '{"output": 5}', '{"output": {"distance": NaN}}')],
)
async def test_failure_that_may_pass_is_tried_again(log: Log, first: Callable[[], web.StreamResponse]) -> None:
    async with api(first, distance(7)) as played:
        assert await asked(played, log) == 7
        assert len(played.seen) == 2


@pytest.mark.parametrize("failing", [failure(500), HANG, failure(200, "{}")])
async def test_api_that_goes_on_failing_is_unavailable_after_a_few_tries(
    log: Log, capture: LogCapture, failing: Callable[[], web.StreamResponse]
) -> None:
    async with api(failing) as played:
        with pytest.raises(StoreUnavailable):
            await asked(played, log)
        assert len(played.seen) == 3
    assert [line["log_level"] for line in capture.entries] == ["warning"]


@pytest.mark.parametrize("status", [401, 403, 402, 400, 302])
async def test_refusal_is_not_asked_again_and_the_key_is_not_logged(log: Log, capture: LogCapture, status: int) -> None:
    async with api(failure(status, f'{{"err": "bad key {KEY}"}}')) as played:
        with pytest.raises(StoreUnavailable):
            await asked(played, log)
        assert len(played.seen) == 1
    assert KEY not in str(capture.entries)
    assert [line["log_level"] for line in capture.entries] == ["error"]


async def test_api_that_is_not_there_is_unavailable(log: Log) -> None:
    with pytest.raises(StoreUnavailable):
        await asked(Api([], url="http://127.0.0.1:1/api/image-similarity"), log)


async def test_what_is_no_picture_is_sent_nowhere(log: Log) -> None:
    async with api(distance(1)) as played:
        judge = DeepAi(played.url, KEY, AnyPicture(), log)
        with pytest.raises(ImageUnreadable):
            await judge.distance(1, "", "")
        await judge.close()
        assert played.seen == []


async def test_player_has_two_comparisons_under_way_and_others_theirs(log: Log) -> None:
    one = base64.b64encode(ONE).decode()
    async with api(HANG) as played:
        judge = DeepAi(played.url, KEY, AnyPicture(), log)
        asked = [asyncio.create_task(judge.distance(player, one, one)) for player in (1, 1, 1, 2)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [StoreUnavailable, StoreUnavailable, RequestError, StoreUnavailable]
        with pytest.raises(StoreUnavailable):  # those are over: no refusal
            await judge.distance(1, one, one)
        await judge.close()
