"""Stages of real sessions: dealt once, judged by the server's clock, and judged the same from the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from game.session import Action, Cancel, Close, Complete, PlayerState, Session, Start, Status, Verdict
from game.stages.catalog import stage_at
from game.stages.stage import dealt, judged
from images.strokes import stroke_distance
from protocol.errors import ErrorCode, RequestError
from server.drawing import Workshop
from server.sessions import Outcome, Sessions
from server.stages import Answering, stage_data
from storage.commits import Commits
from storage.postgres import Postgres
from storage.sessions import SessionStore
from tests.game.stages.answers import nothing, perfect
from tests.server.conftest import NewPlayer
from tests.server.fakes import FakeClock, Running

SEED = 7_000_000_000_000_000_001
MOST = 1_000_000


@dataclass
class Table:
    """A player, and the server that deals."""

    sessions: Sessions
    store: SessionStore
    number: int
    clock: FakeClock
    eyes: Workshop

    async def start(self, difficulty: int = 0, seed: int = SEED) -> None:
        await self.sessions.act(self.number, Start(uuid4(), 3, difficulty, seed), None)

    async def deal(self) -> Session:
        return session_of(await self.sessions.deal(self.number))

    async def answer(self, answer: dict[str, Any], *, after: float = 0, key: str | None = None) -> Outcome:
        self.clock.advance(seconds=after)
        return await self.sessions.answer(self.number, Answering(self.number, answer, MOST, self.eyes), key)

    async def refused(self, answer: dict[str, Any], *, after: float = 0, key: str | None = None) -> ErrorCode:
        with pytest.raises(RequestError) as caught:
            await self.answer(answer, after=after, key=key)
        return caught.value.code

    async def play_stage(self, *, after: float = 60, key: str | None = None) -> Outcome:
        return await self.answer(perfect_data(await self.deal()), after=after, key=key)


def session_of(outcome: Outcome | PlayerState) -> Session:
    state = outcome.state if isinstance(outcome, Outcome) else outcome
    assert state.session is not None
    return state.session


def as_data(answer: Any) -> dict[str, Any]:
    return {name: json.loads(json.dumps(getattr(answer, name))) for name in answer.__dataclass_fields__}


def perfect_data(session: Session) -> dict[str, Any]:
    stage = stage_at(session.stage)
    return as_data(perfect(stage, dealt(stage, session.seed, session.stage, session.difficulty)))


@pytest.fixture
async def table(database_url: str, clock: FakeClock, new_player: NewPlayer) -> AsyncIterator[Table]:
    async with AsyncExitStack() as stack:
        postgres = await Postgres.connect(database_url, connections=2)
        stack.push_async_callback(postgres.close)
        commits = Commits(postgres)
        await stack.enter_async_context(Running(commits.run()))
        store, eyes = SessionStore(postgres), Workshop()
        stack.callback(eyes.close)
        number = (await new_player()).number
        yield Table(Sessions(store, commits, clock, lambda _: None), store, number, clock, eyes)


async def test_player_plays_three_games_that_the_server_scores(table: Table) -> None:
    await table.start(difficulty=5)
    for stage in range(3):
        outcome = await table.play_stage()
        assert outcome.judged is not None
        assert outcome.judged.verdict is Verdict.PASSED
        assert outcome.score is not None
        assert 1400 < outcome.score <= 1500
        assert session_of(outcome).stage == min(stage + 1, 2)
    session = session_of(outcome)
    assert session.status is Status.FINISHED
    assert session.total_score > 4200


async def test_session_can_be_replayed_from_its_log(table: Table) -> None:
    """Every score in the log follows from the seed, the times and the answers that it holds."""
    await table.start(difficulty=3)
    await table.play_stage(after=75)
    await table.deal()
    await table.answer({"results": [1, 2, None]}, after=20)
    await table.start(difficulty=0, seed=5)
    await table.play_stage()
    await table.play_stage()
    await table.deal()
    await table.answer({"strokes": [[10, 10, 900, 900]]}, after=30)
    await table.start(seed=6)
    await table.deal()
    await table.answer(as_data(nothing(stage_at(0))), after=200)

    judgements = []
    history = await table.store.history(table.number)
    for before, event in pairwise(history):
        if event.judged is None:
            continue
        session = session_of(before.state)
        assert before.action is Action.DEAL
        assert session.dealt_at is not None
        stage = stage_at(session.stage)
        fields = json.loads(event.judged.answer)
        answer = stage.answer_class(*(_tuples(value) for value in fields.values()))
        elapsed = event.at - session.dealt_at
        again = judged(stage, session.seed, session.stage, session.difficulty, answer, elapsed, stroke_distance)
        assert (again.score, again.verdict) == (event.score, event.judged.verdict)
        judgements.append((stage.name, again.verdict))
    assert judgements == [
        ("sequence", Verdict.PASSED),
        ("sums", Verdict.FAILED),
        ("sequence", Verdict.PASSED),
        ("sums", Verdict.PASSED),
        ("drawing", Verdict.FAILED),
        ("sequence", Verdict.LATE),
    ]


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


async def test_stage_is_dealt_once_however_often_it_is_asked_for(table: Table, clock: FakeClock) -> None:
    await table.start()
    first = await table.deal()
    clock.advance(seconds=9)
    assert await table.deal() == first
    assert [event.action for event in await table.store.history(table.number)] == [Action.START, Action.DEAL]


async def test_stage_survives_the_server(table: Table, database_url: str, clock: FakeClock) -> None:
    await table.start()
    first = await table.deal()
    clock.advance(seconds=30)
    async with AsyncExitStack() as stack:
        postgres = await Postgres.connect(database_url, connections=2)
        stack.push_async_callback(postgres.close)
        commits = Commits(postgres)
        await stack.enter_async_context(Running(commits.run()))
        after_restart = Sessions(SessionStore(postgres), commits, clock, lambda _: None)
        again = session_of(await after_restart.deal(table.number))
    assert stage_data(again) == stage_data(first)


async def test_two_sockets_that_ask_at_once_get_the_same_stage(table: Table) -> None:
    await table.start()
    sessions = await asyncio.gather(*(table.deal() for _ in range(5)))
    assert len({session.dealt_at for session in sessions}) == 1
    assert len(await table.store.history(table.number)) == 2


async def test_what_is_sent_holds_no_seed(table: Table) -> None:
    await table.start()
    data = stage_data(await table.deal()).model_dump_json()
    assert str(SEED) not in data
    assert "seed" not in data


async def test_answer_to_a_stage_that_was_not_dealt_is_refused(table: Table) -> None:
    await table.start()
    assert await table.refused({"rounds": []}) == "not_dealt"
    await table.play_stage()
    assert await table.refused({"results": []}) == "not_dealt"  # the next stage


async def test_second_answer_does_not_score(table: Table) -> None:
    await table.start()
    answer = perfect_data(await table.deal())
    first = await table.answer(answer, after=60)
    assert await table.refused(answer) == "not_dealt"
    assert session_of(await table.sessions.last(table.number)).total_score == first.score


async def test_answer_sent_again_with_its_key_is_the_first_one(table: Table) -> None:
    await table.start()
    answer = perfect_data(await table.deal())
    first = await table.answer(answer, after=60, key="my own key")
    again = await table.answer(answer, after=500, key="my own key")
    assert again.replayed
    assert (again.state, again.score, again.judged) == (first.state, first.score, first.judged)
    assert await table.refused({"rounds": [[1]]}, key="my own key") == "key_reused"


async def test_key_of_an_answer_is_no_key_of_a_reported_score(table: Table) -> None:
    await table.start()
    first = await table.play_stage(key="my own key")
    assert first.score is not None
    with pytest.raises(RequestError) as caught:
        await table.sessions.act(table.number, Complete(first.score), "my own key")
    assert caught.value.code == "key_reused"


async def test_answer_faster_than_a_human_is_refused_and_leaves_the_stage(table: Table) -> None:
    await table.start()
    answer = perfect_data(await table.deal())
    assert await table.refused(answer, after=2, key="a first try") == "too_fast"
    outcome = await table.answer(answer, after=60, key="a first try")
    assert not outcome.replayed
    assert session_of(outcome).stage == 1


async def test_answer_of_another_form_is_refused_and_leaves_the_stage(table: Table) -> None:
    await table.start()
    await table.deal()
    assert await table.refused({"results": [1]}, after=10) == "invalid"
    assert (await table.deal()).stage == 0


async def test_late_answer_fails_the_session_without_points(table: Table) -> None:
    await table.start()
    await table.play_stage()
    before = session_of(await table.sessions.last(table.number)).total_score
    answer = perfect_data(await table.deal())
    outcome = await table.answer(answer, after=64)
    assert outcome.judged is not None
    assert (outcome.judged.verdict, outcome.score) == (Verdict.LATE, 0)
    session = session_of(outcome)
    assert (session.status, session.total_score) == (Status.FAILED, before)


async def test_without_a_session_in_progress_there_is_nothing_to_deal_or_to_answer(table: Table) -> None:
    with pytest.raises(RequestError, match="no session") as caught:
        await table.deal()
    assert caught.value.code == "no_session"
    assert await table.refused({"rounds": []}) == "no_session"
    await table.start()
    await table.sessions.act(table.number, Cancel(), None)
    with pytest.raises(RequestError) as caught:
        await table.deal()
    assert caught.value.code == "session_not_active"
    assert await table.refused({"rounds": []}) == "session_not_active"


async def test_reported_score_ends_a_stage_that_was_dealt(table: Table) -> None:
    await table.start()
    await table.deal()
    session = session_of(await table.sessions.act(table.number, Complete(5), None))
    assert (session.stage, session.dealt_at) == (1, None)
    await table.deal()
    assert session_of(await table.sessions.act(table.number, Close(5), None)).status is Status.FAILED


async def test_score_is_cut_to_the_most_that_a_stage_may_have(table: Table) -> None:
    await table.start()
    answer = perfect_data(await table.deal())
    table.clock.advance(seconds=60)
    outcome = await table.sessions.answer(table.number, Answering(table.number, answer, 100, table.eyes), None)
    assert outcome.score == 100
