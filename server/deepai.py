"""Comparing drawings by DeepAI's image-similarity API, as the server that this one replaces did.

https://deepai.org/machine-learning-model/image-similarity: POST with the header `api-key` and two files, `image1` and
`image2`; the answer is `{"id": …, "output": {"distance": 12}}`, an error `{"err": …}` or `{"status": …}`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp

from protocol.errors import ErrorCode, RequestError
from server.drawing import MAX_OF_ONE, RETRY_AFTER_MS
from server.log import Log
from storage.postgres import StoreUnavailable

#: Seconds for one try, and for all of them: nobody waits longer for the score of a drawing.
TRY_SECONDS: Final = 4.0
TOTAL_SECONDS: Final = 8.0
TRIES: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.2
_MAX_DISTANCE: Final = 100
_MAX_ANSWER_BYTES: Final = 64 * 1024
#: Comparisons that are under way at once.
_AT_ONCE: Final = 16


class Checker(Protocol):
    """Refuses what is no picture before it is sent anywhere."""

    async def check(self, whose: int, *pictures: str) -> None:
        """Raises ImageUnreadable, ImageTooLarge, or RequestError with `rate_limited`."""


class _TryAgain(Exception):
    """This try has failed; another one may not."""


class DeepAi:
    """The remote judge. Its owner closes it."""

    def __init__(self, url: str, key: str, checker: Checker, log: Log) -> None:
        self._url = url
        self._key = key
        self._checker = checker
        self._log = log
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)
        #: Comparisons under way, by player: nobody holds all the slots.
        self._asked: Counter[int] = Counter()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def distance(self, whose: int, original: str, drawn: str) -> int:
        """What the API says, cut to 100. Raises StoreUnavailable when it says nothing useful in time, and RequestError
        with `rate_limited` for a player who has MAX_OF_ONE under way."""
        if self._asked[whose] >= MAX_OF_ONE:
            raise RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=RETRY_AFTER_MS)
        self._asked[whose] += 1
        try:
            await self._checker.check(whose, original, drawn)
            return await self._judge(original, drawn)
        finally:
            self._asked[whose] -= 1
            if not self._asked[whose]:
                del self._asked[whose]

    async def _judge(self, original: str, drawn: str) -> int:
        pictures = {"image1": _bytes_of(original), "image2": _bytes_of(drawn)}
        reason = "no answer in time"
        try:
            async with asyncio.timeout(TOTAL_SECONDS), self._slots:
                for attempt in range(TRIES):
                    try:
                        return await self._ask(pictures)
                    except _TryAgain as failure:
                        reason = str(failure)
                    await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
        except TimeoutError:
            pass
        self._log.warning("the image comparison API is of no use", reason=reason)
        raise StoreUnavailable("the image comparison API does not answer")

    async def _ask(self, pictures: dict[str, bytes]) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_SECONDS))
        form = aiohttp.FormData()
        for name, picture in pictures.items():
            form.add_field(name, picture, filename=name, content_type="application/octet-stream")
        try:
            async with self._session.post(
                self._url, data=form, headers={"api-key": self._key}, allow_redirects=False
            ) as answer:
                body = await answer.content.read(_MAX_ANSWER_BYTES)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _TryAgain(type(error).__name__) from error
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _TryAgain(f"status {status}")
        if status != HTTPStatus.OK:
            # A wrong key, no credit left: asking again would change nothing. The text may hold the key, so it is not
            # logged.
            self._log.error("the image comparison API refuses us", status=status)
            raise StoreUnavailable("the image comparison API refuses")
        return _distance_in(body)


def _distance_in(body: bytes) -> int:
    try:
        answer = json.loads(body)
        distance = answer["output"]["distance"]
        if isinstance(distance, bool) or not isinstance(distance, int | float):
            raise TypeError
        return max(0, min(_MAX_DISTANCE, round(distance)))
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _TryAgain("an answer that is not as documented") from None


def _bytes_of(picture: str) -> bytes:
    text = picture.partition(",")[2] if picture.startswith("data:") else picture
    return base64.b64decode(text)
