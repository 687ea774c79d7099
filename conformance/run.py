"""One run of a scenario: carries out its script, with as many connections as the client makes one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from conformance.checks import TOLERANCE, as_awaited
from conformance.peer import Lost, Offered, Opened, Request
from conformance.report import REPORT, StateReport
from conformance.stage import Failed, Stage
from conformance.steps import (
    ANYTHING,
    Ask,
    Change,
    Cut,
    EndLogin,
    FallSilent,
    Gather,
    Handling,
    Holds,
    NewEpoch,
    Pace,
    Push,
    Quiet,
    Refuse,
    Release,
    Resend,
    Return,
    Scenario,
    Step,
)
from conformance.verdict import Verdict
from conformance.world import ACTIONS
from protocol.client_messages import ClientMessage
from protocol.errors import RequestError
from protocol.server_messages import Error, ErrorData

#: Seconds until a client that holds something else is asked once more: it may just be subscribing.
ASK_AGAIN: Final = 0.05
#: How many rows a follower holds who did not say.
_USUAL_LIMIT: Final = 10


class Run:
    """A script, what the client has done so far, and what came of it. `play` is its one task."""

    def __init__(self, scenario: Scenario, name: str, pace: Pace, on_end: Callable[[Verdict], None]) -> None:
        self.verdict = Verdict(scenario.name, name)
        self.stage = Stage(name)
        self.over = asyncio.Event()
        self._steps = scenario.steps
        self._pace = pace
        self._on_end = on_end
        self._expected = "a connection"

    async def play(self) -> None:
        """Carry out the script, tell what came of it, then serve on as a plain server until canceled."""
        try:
            await self._follow_script()
            self.verdict.end()
            self._on_end(self.verdict)
            self.over.set()
            await self._serve_on()
        finally:
            self.over.set()  # whoever still waits for the verdict waits for nothing
            await self.stage.drop_silent()

    async def _follow_script(self) -> None:
        try:
            await self._connection()
            for step in self._steps:
                self._expected = getattr(step, "says", self._expected)
                await self._carry_out(step)
        except Failed as failed:
            self.verdict.fail(self._expected, failed.got)
            if failed.request is not None:
                await self.stage.answer(failed.request)
        await self.stage.release()
        await self.stage.drop_silent()

    async def _carry_out(self, step: Step) -> None:
        stage, board = self.stage, self.stage.world.board
        match step:
            case Ask():
                await self._ask(step)
            case Gather():
                await self._gather(step)
            case Quiet():
                await self._quiet(step)
            case Return():
                await self._return(step)
            case Holds():
                await self._holds(step)
            case Release():
                await stage.release(step.count)
            case Push():
                await stage.broadcast(step.make(stage.world), extras=step.extras)
            case Change():
                change = board.change(step.number, step.score)
                if not step.lost:
                    await stage.send_delta(change)
            case Resend():
                await stage.send_delta(board.changes[step.index])
            case NewEpoch():
                board.begin_epoch(step.version)
                await stage.send_board()
            case Cut():
                await stage.cut(step.code)
            case FallSilent():
                stage.fall_silent()
            case EndLogin():
                stage.world.account.end(step.code)

    async def _connection(self) -> None:
        """An author may ask for the verdict long before the client starts: no patience is lost here."""
        while not isinstance(await self.stage.listen(None), Opened):
            pass

    async def _serve_on(self) -> None:
        # The verdict stands; a client that goes on must not hang on us.
        while True:
            try:
                event = await self.stage.listen(None)
            except Failed as failed:
                event = failed.request
            if isinstance(event, Request):
                await self.stage.answer(event)

    async def _ask(self, step: Ask) -> None:
        stage = self.stage
        if step.handshake and any(peer.visitor.is_player for peer in stage.peers):
            self._ok("a token in the handshake")
            return
        until = stage.now + step.wait_ms / 1000 + self._pace.patience
        while True:
            request = await self._request(until)
            message = request.message
            if isinstance(message, StateReport) or stage.memory.is_elsewhere(message) or not step.awaits(message.type):
                await self._beside(request)
                continue
            seconds = request.at - stage.spoke_at
            problem = as_awaited(step, message, seconds, stage.world, stage.memory)
            if problem is not None:
                raise Failed(problem, request)
            stage.memory.keep(message)
            await self._take(step.handling, request, message)
            return

    async def _take(self, handling: Handling | Refuse, request: Request, message: ClientMessage) -> None:
        stage = self.stage
        match handling:
            case Refuse(code, retry_after_ms):
                error = RequestError(code, retry_after_ms=retry_after_ms)
                await stage.reply(request, Error(data=ErrorData.of(error)))
            case Handling.LOSE:
                stage.outcome(request)
            case Handling.HOLD:
                stage.held.append(request)
            case Handling.ANSWER | Handling.EXTRAS:
                reply = await stage.answer(request, extras=handling is Handling.EXTRAS)
                if isinstance(reply, Error):
                    raise Failed(f"{message.type}, which had to be refused: {reply.data.code}")
        self._ok(_named(request))

    async def _gather(self, step: Gather) -> None:
        until = self.stage.now + self._pace.patience
        found: list[Request] = []
        while len(found) < step.count:
            try:
                found.append(await self._request(until))
            except Failed as failed:
                raise Failed(f"{len(found)} of {step.count} requests, then {failed.got}", failed.request) from None
            self.stage.held.append(found[-1])
        ids = [request.message.id for request in found]
        if len(set(ids)) < len(ids):
            raise Failed(f"the same id twice: {ids}")
        self._ok(f"requests with the ids {ids}")

    async def _quiet(self, step: Quiet) -> None:
        stage = self.stage
        until = stage.now + self._pace.seconds(step.span)
        while (event := await stage.listen(until)) is not None:
            match event:
                case Request(message=message):
                    if step.kinds == ANYTHING or message.type in step.kinds:
                        raise Failed(_named(event), event)
                    await stage.answer(event)
                case Offered() if "auth.resume" in step.kinds:
                    raise Failed("the token in a handshake")
                case Lost(peer) if step.stay and not stage.peers:
                    raise Failed(_closed(peer.close_code))
        self._ok(f"nothing of the kind for {self._pace.seconds(step.span):g} s")

    async def _return(self, step: Return) -> None:
        stage = self.stage
        until = stage.now + step.wait_ms / 1000 + self._pace.patience
        while (event := await stage.listen(until)) is not None:
            if isinstance(event, Opened):
                seconds = event.at - stage.spoke_at
                if seconds < step.wait_ms / 1000 - TOLERANCE:
                    raise Failed(f"a connection after {seconds * 1000:.0f} ms")
                await stage.drop_silent()
                self._ok(f"a connection after {seconds * 1000:.0f} ms")
                return
        raise Failed(f"no connection for {self._pace.patience:g} s")

    async def _holds(self, step: Holds) -> None:
        stage, board = self.stage, self.stage.world.board
        until = stage.now + self._pace.settle
        await self._ask_for_report()
        ask_again_at = until
        got: str | None = None
        limit = _USUAL_LIMIT
        while True:
            event = await stage.listen(min(until, ask_again_at))
            match event:
                case None if stage.now >= until:
                    break
                case None:
                    ask_again_at = until
                    await self._ask_for_report()
                case Request(peer, StateReport(data=report)):
                    await stage.answer(event)
                    if report.board != stage.memory.board:
                        continue
                    limit = peer.visitor.follows.get(report.board, _USUAL_LIMIT)
                    if board.agrees(report.entries, limit):
                        board.settle()
                        self._ok("the client says that it holds just this")
                        return
                    got = str([(entry.number, entry.total_score) for entry in report.entries or []])
                    ask_again_at = stage.now + ASK_AGAIN
                case Request(message=message):
                    if (
                        step.steady
                        and message.type == "leaderboard.subscribe"
                        and not stage.memory.is_elsewhere(message)
                    ):
                        raise Failed(_named(event), event)
                    await stage.answer(event)
                case Lost() if not stage.peers:
                    break
        if got is not None:
            right = [(row.entry.number, row.entry.total_score) for row in board.now.top(limit)]
            raise Failed(f"(number, totalScore) {got}, not {right}")
        board.settle()
        self._ok("not told (conformance.state), so not checked")

    async def _ask_for_report(self) -> None:
        await self.stage.broadcast({"type": REPORT, "data": {"board": self.stage.memory.board}})

    async def _request(self, until: float) -> Request:
        """The next request; raises Failed when there is none, or nobody to send one."""
        stage = self.stage
        while True:
            event = await stage.listen(until)
            match event:
                case Request():
                    return event
                case Lost(peer) if not stage.peers:
                    raise Failed(_closed(peer.close_code))
                case None:
                    raise Failed(f"nothing of the kind for {self._pace.patience:g} s")

    async def _beside(self, request: Request) -> None:
        """What was not awaited is answered as usual, if it is harmless."""
        if request.message.type in ACTIONS:
            raise Failed(f"{_named(request)}, out of turn", request)
        await self.stage.answer(request)

    def _ok(self, got: str) -> None:
        self.verdict.note(self._expected, got)


def _named(request: Request) -> str:
    message = request.message
    key = getattr(message.data, "key", None)
    return message.type if key is None else f"{message.type} with the key {key}"


def _closed(code: int | None) -> str:
    return f"the client closed the connection ({code})"
