"""Comparing off the loop: a bounded number waits, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest
from PIL import Image, ImageDraw

from images.errors import ImageTooLarge, ImageUnreadable
from protocol.errors import ErrorCode, RequestError
from server.drawing import MAX_OF_ONE, MAX_PICTURES, Workshop


def picture(shape: str = "circle", size: int = 128) -> str:
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    box = (size // 5, size // 5, size - size // 5, size - size // 5)
    if shape == "circle":
        draw.ellipse(box, outline="black", width=4)
    else:
        draw.line((box[0], box[1], box[2], box[3]), fill="black", width=4)
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return base64.b64encode(kept.getvalue()).decode()


@pytest.fixture
async def workshop() -> AsyncIterator[Workshop]:
    found = Workshop()
    yield found
    found.close()


async def test_same_drawing_has_no_distance_and_another_one_has(workshop: Workshop) -> None:
    assert await workshop.distance(1, picture(), picture()) == 0
    assert await workshop.distance(1, picture(), picture("line")) > 20


async def test_what_is_no_picture_is_refused(workshop: Workshop) -> None:
    with pytest.raises(ImageUnreadable):
        await workshop.distance(1, picture(), "AAAA")
    with pytest.raises(ImageUnreadable):
        await workshop.check(1, picture(), "AAAA")
    with pytest.raises(ImageTooLarge):
        await workshop.check(1, "A" * 20_000_000)
    await workshop.check(1, picture(), picture("line"))


async def test_more_than_can_wait_are_told_to_come_back(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slowly(_picture: str) -> object:
        assert go.wait(10)
        raise ImageUnreadable

    monkeypatch.setattr("server.drawing.decode", slowly)
    waiting = [asyncio.create_task(workshop.distance(player, "a", "b")) for player in range(MAX_PICTURES + 1)]
    await asyncio.sleep(0)
    assert workshop.waiting() == MAX_PICTURES
    with pytest.raises(RequestError) as refused:
        await workshop.distance(-1, "a", "b")
    assert (refused.value.code, refused.value.retry_after_ms) == (ErrorCode.RATE_LIMITED, 1000)
    # One that is given up makes room, and nobody who waits is lost.
    waiting.pop().cancel()
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(workshop.distance(-1, "a", "b")))
    go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ImageUnreadable}
    assert workshop.waiting() == 0


async def test_player_with_many_pictures_keeps_nobody_out_and_is_served_in_turn(workshop: Workshop) -> None:
    """One player sends forty, others one each: all others are served, and before that player's second one."""
    go = threading.Event()
    served: list[int] = []

    def work(player: int) -> bool:
        assert go.wait(10)
        served.append(player)
        return True

    running = asyncio.create_task(workshop.run(partial(work, 9), 9))
    await asyncio.sleep(0)
    greedy = [asyncio.create_task(workshop.run(partial(work, 1), 1)) for _ in range(40)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(workshop.run(partial(work, player), player)) for player in (2, 3, 4)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(running, *others) == [True] * 4
    outcomes = await asyncio.gather(*greedy, return_exceptions=True)
    assert outcomes.count(True) == MAX_OF_ONE
    refused = [outcome for outcome in outcomes if isinstance(outcome, RequestError)]
    assert {refusal.code for refusal in refused} == {ErrorCode.RATE_LIMITED}
    assert len(refused) == 40 - MAX_OF_ONE
    assert served == [9, 1, 2, 3, 4, 1]
    assert await workshop.run(lambda: True, 1)  # the next one is welcome


async def test_pictures_hold_up_no_answer(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slowly(_picture: str) -> object:
        assert go.wait(10)
        raise ImageUnreadable

    monkeypatch.setattr("server.drawing.decode", slowly)
    pictures = [asyncio.create_task(workshop.distance(player, "a", "b")) for player in range(MAX_PICTURES)]
    await asyncio.sleep(0)
    assert await workshop.run(lambda: "judged", 0) == "judged"
    assert not any(picture.done() for picture in pictures)
    go.set()
    await asyncio.gather(*pictures, return_exceptions=True)


async def test_who_waits_when_it_closes_is_not_left_waiting() -> None:
    workshop, go = Workshop(), threading.Event()
    waiting = [asyncio.create_task(workshop.run(lambda: go.wait(10), player)) for player in range(3)]
    await asyncio.sleep(0)
    workshop.close()
    go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert outcomes[0] is True
    assert [type(outcome) for outcome in outcomes[1:]] == [asyncio.CancelledError] * 2
