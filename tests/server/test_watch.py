"""What is watched of requests: one id from the request over its commit and the board to the push."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from protocol.errors import ErrorCode, RequestError
from server.watch import Facts, Span, Watch, Watched, arrived_with, reference


class Part:
    def __init__(self, kind: str, after: Sequence[Span] = (), parent: str | None = None) -> None:
        self.kind, self.after, self.parent = kind, list(after), parent
        self.outcome = ""

    def end(self, outcome: str) -> None:
        self.outcome = outcome


class Tracing:
    """Traces all requests, or none."""

    def __init__(self, *, all_of_them: bool) -> None:
        self.all_of_them = all_of_them
        self.parts: list[Part] = []

    def wants(self, parent: str | None) -> bool:
        return self.all_of_them

    def begin(self, kind: str, facts: Facts, parent: str | None) -> Span:
        assert facts["request"]
        self.parts.append(Part(kind, parent=parent))
        return self.parts[-1]

    def follow(self, kind: str, after: Sequence[Span], seconds: float, outcome: str, facts: Facts) -> Span:
        self.parts.append(Part(kind, after))
        return self.parts[-1]


class Watching:
    def __init__(self, *, traced: bool = False, debug: bool = True) -> None:
        self.capture = LogCapture()
        log = structlog.wrap_logger(
            None,
            processors=[structlog.processors.add_log_level, self.capture],
            # Whatever level another test has set for the process.
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        )
        self.tracing = Tracing(all_of_them=traced)
        self.watch = Watch(log, self.tracing, debug=debug)

    def lines(self, event: str) -> list[Any]:
        return [line for line in self.capture.entries if line["event"] == event]

    def request(self, kind: str) -> Watched:
        watched = self.watch.begin(kind, dict)
        assert watched is not None
        return watched

    def act(self, kind: str, ladders: Sequence[str] = ("weekly",)) -> None:
        """A request whose commit improves these ladders, by the way of one that is answered at once."""

        def work(told: Callable[[str], None]) -> bool:
            under_way = self.watch.under_way()
            if under_way is None:
                self.watch.batch([], 1, 0.001, "ok")
                told("ok")
                return True
            request, context = under_way
            self.watch.batch([request], 1, 0.001, "ok")

            def settle() -> None:
                self.watch.put(ladders)
                told("ok")

            context.run(settle)
            return True

        watched = self.watch.begin(kind, lambda: {"player": 7})
        if watched is None:
            work(lambda _: None)
        else:
            assert self.watch.at_once(watched, work, lambda _: None, str)

    def deliver(self, *ladders: str, outcome: str = "ok") -> None:
        self.watch.taken(ladders)
        self.watch.projected(ladders, 0.002, outcome)


def test_one_id_leads_from_the_request_to_the_push() -> None:
    watching = Watching()
    watching.act("session.complete")
    watching.deliver("weekly")
    watching.watch.pushed("weekly", "weekly", 5, 3, 0.001)
    (request,), (commit,) = watching.lines("request"), watching.lines("commit")
    (projection,), (push,) = watching.lines("projection"), watching.lines("push")
    assert (request["type"], request["player"], request["outcome"]) == ("session.complete", 7, "ok")
    assert commit["requests"] == projection["requests"] == push["requests"] == [request["request"]]
    assert (push["board"], push["version"], push["subscribers"]) == ("weekly", 5, 3)


def test_parts_of_a_trace_follow_each_other() -> None:
    watching = Watching(traced=True)
    watching.act("session.complete")
    watching.act("session.complete")
    watching.deliver("weekly")
    watching.watch.pushed("weekly", "weekly", 5, 3, 0.001)
    first, one, second, two, projection, push = watching.tracing.parts
    assert [part.kind for part in (one, two, projection, push)] == ["commit", "commit", "projection", "push"]
    assert (one.after, two.after) == ([first], [second])
    assert projection.after == [first, second]
    assert push.after == [projection]
    assert first.outcome == "ok"


def test_what_is_neither_logged_nor_traced_is_not_followed() -> None:
    watching = Watching(debug=False)
    watching.act("session.complete")
    watching.deliver("weekly")
    watching.watch.pushed("weekly", "weekly", 5, 3, 0.001)
    assert watching.capture.entries == []
    assert watching.tracing.parts == []


def test_request_is_not_carried_by_pushes_of_other_boards_nor_twice() -> None:
    watching = Watching()
    watching.act("session.complete", ["weekly"])
    watching.deliver("weekly")
    watching.watch.pushed("daily", "daily@1", 5, 3, 0.001)
    watching.watch.pushed("weekly", "weekly", 5, 3, 0.001)
    watching.watch.pushed("weekly", "weekly", 6, 3, 0.001)
    assert [len(line["requests"]) for line in watching.lines("push")] == [0, 1, 0]


def test_board_that_nobody_follows_keeps_no_request_for_later() -> None:
    watching = Watching()
    watching.act("session.complete")
    watching.deliver("weekly")
    watching.watch.looked(["weekly"])
    watching.watch.pushed("weekly", "weekly", 5, 3, 0.001)
    assert watching.lines("push")[0]["requests"] == []


def test_what_could_not_be_put_on_the_board_is_logged_as_that() -> None:
    watching = Watching()
    watching.act("session.complete")
    watching.deliver("weekly", outcome="failed")
    assert watching.lines("projection")[0]["outcome"] == "failed"
    watching.watch.pushed("weekly", "weekly", 5, 3, 0.001)
    assert watching.lines("push")[0]["requests"] == []


def test_one_that_comes_while_others_are_on_their_way_goes_with_the_next() -> None:
    watching = Watching()
    watching.act("session.complete")
    watching.watch.taken(["weekly"])
    watching.act("session.close")
    watching.watch.projected(["weekly"], 0.001, "ok")
    watching.deliver("weekly")
    assert [len(line["requests"]) for line in watching.lines("projection")] == [1, 1]


def test_memory_stays_bounded_while_redis_is_away() -> None:
    watching = Watching()
    for _ in range(200):
        watching.act("session.complete")
    watching.deliver("weekly")
    assert len(watching.lines("projection")[0]["requests"]) < 100


async def test_outcome_of_a_request_is_the_code_of_its_error() -> None:
    watching = Watching()

    async def refuse() -> None:
        raise RequestError(ErrorCode.NO_SESSION)

    with pytest.raises(RequestError):
        await watching.watch.over(watching.request("session.last"), refuse())
    assert watching.lines("request")[0]["outcome"] == "no_session"


async def test_reference_is_the_id_of_the_request_under_way() -> None:
    watching = Watching()
    seen: list[str] = []

    async def work() -> None:
        seen.append(reference())

    await watching.watch.over(watching.request("ping"), work())
    assert watching.lines("request")[0]["request"] == seen[0]
    assert reference() not in (seen[0], reference())


def test_request_by_http_hands_its_traceparent_on() -> None:
    watching = Watching(traced=True)
    with arrived_with("00-abc"):
        watching.act("session.start")
    watching.act("session.start")
    assert [part.parent for part in watching.tracing.parts if part.kind == "session.start"] == ["00-abc", None]
