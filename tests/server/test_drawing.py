"""Comparing off the loop: a bounded number waits, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import AsyncIterator

import pytest
from PIL import Image, ImageDraw

from images.errors import ImageTooLarge, ImageUnreadable
from protocol.errors import ErrorCode, RequestError
from server.drawing import MAX_WAITING, Workshop


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
    assert await workshop.distance(picture(), picture()) == 0
    assert await workshop.distance(picture(), picture("line")) > 20


async def test_what_is_no_picture_is_refused(workshop: Workshop) -> None:
    with pytest.raises(ImageUnreadable):
        await workshop.distance(picture(), "AAAA")
    with pytest.raises(ImageUnreadable):
        await workshop.check(picture(), "AAAA")
    with pytest.raises(ImageTooLarge):
        await workshop.check("A" * 20_000_000)
    await workshop.check(picture(), picture("line"))


async def test_more_than_can_wait_are_told_to_come_back(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slowly(_picture: str) -> object:
        assert go.wait(10)
        raise ImageUnreadable

    monkeypatch.setattr("server.drawing.decode", slowly)
    waiting = [asyncio.create_task(workshop.distance("a", "b")) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(RequestError) as refused:
        await workshop.distance("a", "b")
    assert (refused.value.code, refused.value.retry_after_ms) == (ErrorCode.RATE_LIMITED, 1000)
    # One that is given up makes room, and nobody who waits is lost.
    waiting.pop().cancel()
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(workshop.distance("a", "b")))
    go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ImageUnreadable}
