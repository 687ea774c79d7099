"""Requests that are watched: from the request over its commit and the board to the push, under one id.

Watched are those that are to be logged (level debug) and those that are traced (server/traces.py). All others cost the
question whether there is a watch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Final, Protocol, TypeVar

from protocol.errors import RequestError
from server.log import Log

T = TypeVar("T")

#: Requests that one push is said to carry; of more, the last ones.
_MOST_CARRIED: Final = 64

Facts = Mapping[str, str | int | float]


class Span(Protocol):
    """A part of a trace."""

    def end(self, outcome: str) -> None:
        """It is over."""


class Tracer(Protocol):
    """Where traces begin and go to."""

    def wants(self, parent: str | None) -> bool:
        """Whether the next request is traced, which came perhaps with a W3C traceparent."""

    def begin(self, kind: str, facts: Facts, parent: str | None) -> Span:
        """Such a request has come."""

    def follow(self, kind: str, after: Sequence[Span], seconds: float, outcome: str, facts: Facts) -> Span:
        """What has come of these and has just ended: a child of the first one, linked to all."""


class Watched:
    """A request and what has come of it so far: its id, and its part of a trace where it is traced."""

    __slots__ = ("begun", "facts", "id", "kind", "span")

    def __init__(self, kind: str, number: str, span: Span | None, facts: Facts) -> None:
        self.kind = kind
        self.id = number
        self.span = span
        self.facts = facts
        self.begun = time.monotonic()


#: The request that the code at hand serves, and the traceparent that an HTTP request came with.
_CURRENT: Final[ContextVar[Watched | None]] = ContextVar("watched", default=None)
_PARENT: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)


def reference() -> str:
    """The id of the request under way, or where it has none a new one: to be found in the log."""
    current = _CURRENT.get()
    return new_id() if current is None else current.id


def new_id() -> str:
    """An id for a request. It opens nothing, so it may be guessed."""
    return f"{random.getrandbits(64):016x}"


@contextmanager
def arrived_with(traceparent: str | None) -> Iterator[None]:
    """Requests inside came with this header."""
    token = _PARENT.set(traceparent)
    try:
        yield
    finally:
        _PARENT.reset(token)


class Watch:
    """Follows watched requests. A process has one, or none where there is nothing to watch."""

    def __init__(self, log: Log, tracer: Tracer | None, *, debug: bool) -> None:
        """`debug`: every request is logged, and every commit and push."""
        self._log = log
        self._tracer = tracer
        self._debug = debug
        #: By ladder: requests whose entries wait for Redis, are on their way there, and are on the board but not yet
        #: pushed.
        self._committed: dict[str, list[Watched]] = {}
        self._applying: dict[str, list[Watched]] = {}
        self._projected: dict[str, list[Watched]] = {}

    # Requests

    def begin(self, kind: str, facts: Callable[[], Facts]) -> Watched | None:
        """A request has come. None where it is not watched."""
        traced = self._tracer is not None and self._tracer.wants(_PARENT.get())
        if not (traced or self._debug):
            return None
        number, known = new_id(), facts()
        span = None
        if traced and self._tracer is not None:
            span = self._tracer.begin(kind, {**known, "request": number}, _PARENT.get())
        return Watched(kind, number, span, known)

    @contextmanager
    def _serving(self, watched: Watched) -> Iterator[None]:
        token = _CURRENT.set(watched)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def _end(self, watched: Watched, outcome: str) -> None:
        seconds = time.monotonic() - watched.begun
        if watched.span is not None:
            watched.span.end(outcome)
        if self._debug:
            self._log.debug(
                "request", request=watched.id, type=watched.kind, **watched.facts, outcome=outcome, ms=_ms(seconds)
            )

    async def over(self, watched: Watched, work: Awaitable[T]) -> T:
        """Do the work of a request and give what it gives. Raises what it raises: RequestErrors, by their codes."""
        outcome = "canceled"
        try:
            with self._serving(watched):
                result = await work
            outcome = "ok"
        except RequestError as error:
            outcome = error.code
            raise
        finally:
            self._end(watched, outcome)
        return result

    def at_once(
        self,
        watched: Watched,
        work: Callable[[Callable[[T], None]], bool],
        settled: Callable[[T], None],
        outcome_of: Callable[[T], str],
    ) -> bool:
        """The same for work that tells its end later, where it says that it can be done that way."""

        def told(outcome: T) -> None:
            self._end(watched, outcome_of(outcome))
            settled(outcome)

        with self._serving(watched):
            return work(told)

    def answered(self) -> None:
        """What is done from here on serves another request: the client's next one may begin where its last one ends."""
        _CURRENT.set(None)

    # What comes of them

    def under_way(self) -> tuple[Watched, Context] | None:
        """The request that is served, and where to go on with it; None where it is not watched."""
        current = _CURRENT.get()
        return None if current is None else (current, copy_context())

    def batch(self, requests: Sequence[Watched], size: int, seconds: float, outcome: str) -> None:
        """So many changes were committed together, among them those of these requests."""
        self._tell("commit", requests, seconds, outcome, {"size": size})

    def put(self, ladders: Collection[str]) -> None:
        """The request under way has changed these ladders."""
        current = _CURRENT.get()
        if current is not None:
            for ladder in ladders:
                _keep(self._committed, ladder, [current])

    def taken(self, ladders: Collection[str]) -> None:
        """What was put for these ladders is on its way."""
        self._applying = {ladder: self._committed.pop(ladder) for ladder in ladders if ladder in self._committed}

    def projected(self, ladders: Collection[str], seconds: float, outcome: str) -> None:
        """What was on its way is on the boards, or could not be put there: then the next sweep will do it, which knows
        of no requests."""
        applied, self._applying = self._applying, {}
        requests = list({id(one): one for some in applied.values() for one in some}.values())
        span = self._tell("projection", requests, seconds, outcome, {"ladders": " ".join(sorted(ladders))})
        if outcome == "ok":
            for ladder, some in applied.items():
                after = [Watched(one.kind, one.id, one.span and span, one.facts) for one in some]
                _keep(self._projected, ladder, after)

    def pushed(self, board: str, ladder: str, version: int, subscribers: int, seconds: float) -> None:
        """Subscribers of a board were sent its new state."""
        requests = self._projected.pop(ladder, [])
        facts: Facts = {"board": board, "version": version, "subscribers": subscribers}
        self._tell("push", requests, seconds, "ok", facts)

    def looked(self, ladders: Collection[str]) -> None:
        """The boards of these were looked at: whatever was not pushed, nobody follows."""
        for ladder in ladders:
            self._projected.pop(ladder, None)

    def _tell(self, kind: str, requests: Sequence[Watched], seconds: float, outcome: str, facts: Facts) -> Span | None:
        spans = list({id(one.span): one.span for one in requests if one.span is not None}.values())
        span = None
        if self._tracer is not None and spans:
            span = self._tracer.follow(kind, spans, seconds, outcome, facts)
        if self._debug:
            ids = [one.id for one in requests]
            self._log.debug(kind, requests=ids, **facts, outcome=outcome, ms=_ms(seconds))
        return span


def _keep(held: dict[str, list[Watched]], ladder: str, more: list[Watched]) -> None:
    if more:
        held[ladder] = [*held.get(ladder, []), *more][-_MOST_CARRIED:]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
