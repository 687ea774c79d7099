"""Sessions: one action after the other, none lost, none twice, whichever node it comes to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from game.ranking import Entry
from game.session import Action, Cancel, Close, Command, Complete, PlayerState, Refusal, Start, Status, step
from protocol.errors import ErrorCode, RequestError
from server import sessions as module
from server.sessions import Outcome, Sessions
from storage.commits import Commits
from storage.postgres import Postgres, StoreUnavailable
from storage.sessions import Event, PlayerUnknown, SessionStore
from tests.server.conftest import NewPlayer
from tests.server.fakes import FakeClock, Running, until
from tests.server.gate import Gate

STAGES = 3


@dataclass
class Node:
    """One server's sessions: a memory, a committer and a pool of its own."""

    sessions: Sessions
    store: SessionStore
    improved: list[dict[str, list[Entry]]] = field(default_factory=list)
    #: As a socket asks for actions: without a task where that can be done.
    at_once: bool = False

    async def act(self, number: int, command: Command, key: str | None) -> Outcome:
        if self.at_once:
            told: asyncio.Queue[Outcome | Exception | None] = asyncio.Queue()
            if self.sessions.act_at_once(number, command, key, told.put_nowait):
                outcome = await told.get()
                if isinstance(outcome, Exception):
                    raise outcome
                if outcome is not None:
                    return outcome
        return await self.sessions.act(number, command, key)

    async def play(self, number: int, *commands: Command, key: str | None = None) -> Outcome:
        for command in commands:
            outcome = await self.act(number, command, key)
        return outcome


@asynccontextmanager
async def node_on(database_url: str, clock: FakeClock) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        postgres = await Postgres.connect(database_url, connections=2)
        stack.push_async_callback(postgres.close)
        commits = Commits(postgres)
        await stack.enter_async_context(Running(commits.run()))
        store, improved = SessionStore(postgres), list[dict[str, list[Entry]]]()
        yield Node(Sessions(store, commits, clock, improved.append), store, improved)


@pytest.fixture(params=["in a task", "at once"])
async def node(request: pytest.FixtureRequest, database_url: str, clock: FakeClock) -> AsyncIterator[Node]:
    async with node_on(database_url, clock) as found:
        found.at_once = request.param == "at once"
        yield found


@pytest.fixture
async def other_node(database_url: str, clock: FakeClock) -> AsyncIterator[Node]:
    async with node_on(database_url, clock) as found:
        yield found


@pytest.fixture
async def number(new_player: NewPlayer) -> int:
    return (await new_player()).number


def start(difficulty: int = 0) -> Start:
    return Start(uuid4(), STAGES, difficulty)


def command_of(event: Event) -> Command:
    session = event.state.session
    assert session is not None
    match event.action:
        case Action.START:
            return Start(session.session_id, session.stage_count, session.difficulty)
        case Action.COMPLETE:
            assert event.score is not None
            return Complete(event.score)
        case Action.CLOSE:
            assert event.score is not None
            return Close(event.score)
        case _:
            return Cancel()


def check_log(history: list[Event], last: PlayerState) -> None:
    """The log is a run of the state machine from nothing to the current state."""
    state = PlayerState(0, None)
    for event in history:
        after = step(state, command_of(event), event.at)
        assert not isinstance(after, Refusal), (state, event)
        assert after == event.state
        state = after
    assert state == last


async def refusal(node: Node, number: int, command: Command, key: str | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await node.act(number, command, key)
    return caught.value


# One node


async def test_session_is_played_to_its_end(node: Node, number: int) -> None:
    begun = await node.play(number, start(difficulty=4))
    assert begun.state.session is not None
    assert (begun.state.session.status, begun.state.session.stage) == (Status.IN_PROGRESS, 0)
    done = await node.play(number, Complete(1), Complete(20), Complete(300))
    session = done.state.session
    assert session is not None
    assert (session.status, session.stage, session.total_score, session.difficulty) == (Status.FINISHED, 2, 321, 4)
    assert done.state.version == 4
    assert await node.sessions.last(number) == done.state


async def test_acknowledged_action_is_in_the_database(
    node: Node, number: int, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await node.play(number, start(), Complete(7))
    row = await sql.fetchrow("SELECT version, stage, total_score FROM sessions WHERE number = $1", number)
    assert row is not None
    assert tuple(row) == (2, 1, 7)


async def test_ended_session_is_told_to_the_boards(node: Node, number: int, clock: FakeClock) -> None:
    await node.play(number, start(difficulty=2), Complete(5))
    assert node.improved == []
    await node.play(number, Close(6))
    (told,) = node.improved
    entry = Entry(number, False, 11, clock.now)
    assert told == {
        "all-time": [entry],
        "all-time:2": [entry],
        "daily@2026-11-23": [entry],
        "daily:2@2026-11-23": [entry],
        "weekly@2026-11-23": [entry],
        "weekly:2@2026-11-23": [entry],
    }


async def test_worse_session_is_not_told_and_neither_is_a_canceled_one(
    node: Node, number: int, clock: FakeClock
) -> None:
    await node.play(number, start(), Close(10))
    node.improved.clear()
    clock.advance(seconds=1)
    await node.play(number, start(), Close(9))
    await node.play(number, start(), Close(10))  # as good, but later
    await node.play(number, start(), Complete(1_000), Cancel())
    assert node.improved == []


async def test_player_who_never_played_has_no_session(node: Node, number: int) -> None:
    assert await node.sessions.last(number) == PlayerState(0, None)
    commands: list[Command] = [Complete(1), Close(1), Cancel()]
    for command in commands:
        assert (await refusal(node, number, command)).code is ErrorCode.NO_SESSION


async def test_unknown_player_is_no_player(node: Node) -> None:
    with pytest.raises(PlayerUnknown):
        await node.sessions.last(99)
    with pytest.raises(PlayerUnknown):
        await node.act(99, start(), None)


async def test_refusal_carries_the_session_and_changes_nothing(node: Node, number: int) -> None:
    ended = await node.play(number, start(), Close(10))
    for command in (Complete(1), Close(1), Cancel()):
        error = await refusal(node, number, command)
        assert error.code is ErrorCode.SESSION_NOT_ACTIVE
        assert error.session == ended.state
    assert await node.sessions.last(number) == ended.state


async def test_action_whose_client_has_gone_does_not_disturb_the_next(node: Node, number: int) -> None:
    await node.play(number, start())
    going = asyncio.create_task(node.act(number, Complete(1), "key-of-the-one-who-left"))
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    again = await node.play(number, Complete(1), key="key-of-the-one-who-left")
    assert again.state.session is not None
    assert (again.state.version, again.state.session.total_score) == (2, 1)
    check_log(await node.store.history(number), again.state)


async def test_actions_of_one_player_sent_at_once_are_applied_in_their_order(node: Node, number: int) -> None:
    commands: list[Command] = [start(), Complete(1), Complete(2), Complete(3), start(), Close(4)]
    outcomes = await asyncio.gather(*(node.act(number, command, None) for command in commands))
    assert [outcome.state.version for outcome in outcomes] == [1, 2, 3, 4, 5, 6]
    check_log(await node.store.history(number), outcomes[-1].state)


async def test_memory_is_bounded_and_forgets_nobody_in_the_middle_of_an_action(
    node: Node, new_player: NewPlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 3)
    numbers = [(await new_player()).number for _ in range(12)]
    for _ in range(3):
        await asyncio.gather(*(node.act(number, start(), None) for number in numbers))
        await asyncio.gather(*(node.act(number, Complete(1), None) for number in numbers for _ in range(2)))
    for number in numbers:
        state = await node.sessions.last(number)
        assert state.version == 9
        check_log(await node.store.history(number), state)
    await node.play((await new_player()).number, start())
    assert len(node.sessions._players) <= 4


# Keys


async def test_action_sent_again_with_its_key_is_not_done_again(node: Node, number: int) -> None:
    await node.play(number, start())
    first = await node.play(number, Complete(5), key="the same key")
    await node.play(number, Complete(6))
    again = await node.play(number, Complete(5), key="the same key")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.state == first.state  # the first outcome, not the current state
    assert (await node.sessions.last(number)).version == 3
    assert len(await node.store.history(number)) == 3


async def test_every_action_can_be_replayed_even_where_it_would_be_refused_now(node: Node, number: int) -> None:
    begun = start(3)
    first = [
        await node.play(number, begun, key="key-start"),
        await node.play(number, Complete(5), key="key-complete"),
        await node.play(number, Close(6), key="key-close"),
        await node.play(number, start(), key="key-start-2"),
        await node.play(number, Cancel(), key="key-cancel"),
    ]
    again = [
        await node.play(number, start(3), key="key-start"),  # another session id: it is drawn anew each time
        await node.play(number, Complete(5), key="key-complete"),
        await node.play(number, Close(6), key="key-close"),
        await node.play(number, start(), key="key-start-2"),
        await node.play(number, Cancel(), key="key-cancel"),
    ]
    assert [outcome.state for outcome in again] == [outcome.state for outcome in first]
    assert all(outcome.replayed for outcome in again)
    assert (await node.sessions.last(number)).version == 5


async def test_same_key_with_another_action_is_refused_and_does_nothing(node: Node, number: int) -> None:
    await node.play(number, start(3), key="key-of-start")
    await node.play(number, Complete(5), key="key-of-complete")
    before = await node.sessions.last(number)
    for command, key in (
        (start(4), "key-of-start"),  # another difficulty
        (Complete(5), "key-of-start"),
        (Complete(6), "key-of-complete"),  # another score
        (Close(5), "key-of-complete"),
        (Cancel(), "key-of-complete"),
    ):
        assert (await refusal(node, number, command, key)).code is ErrorCode.KEY_REUSED
    assert await node.sessions.last(number) == before
    await node.play(number, Cancel())
    assert (await refusal(node, number, Close(5), "key-of-complete")).code is ErrorCode.KEY_REUSED


async def test_refused_action_is_looked_at_again_with_its_key(node: Node, number: int) -> None:
    assert (await refusal(node, number, Complete(1), "key-of-complete")).code is ErrorCode.NO_SESSION
    await node.play(number, start())
    done = await node.play(number, Complete(1), key="key-of-complete")
    assert not done.replayed
    assert done.state.version == 2


async def test_key_belongs_to_its_player(node: Node, new_player: NewPlayer) -> None:
    for _ in range(2):
        outcome = await node.play((await new_player()).number, start(), key="everybody's key")
        assert not outcome.replayed


async def test_key_sent_twice_at_once_is_done_once(node: Node, other_node: Node, number: int) -> None:
    await node.play(number, start())
    outcomes = await asyncio.gather(*(one.act(number, Complete(1), "the same key") for one in (node, other_node) * 4))
    assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 7
    assert len({outcome.state for outcome in outcomes}) == 1
    assert (await node.sessions.last(number)).version == 2


# Two nodes


async def test_action_on_another_node_is_built_upon(node: Node, other_node: Node, number: int) -> None:
    await node.play(number, start())
    await other_node.play(number, Complete(10))
    done = await node.play(number, Complete(100))
    assert done.state.session is not None
    assert (done.state.session.stage, done.state.session.total_score) == (2, 110)


async def test_nothing_is_refused_because_of_what_was_true_before(node: Node, other_node: Node, number: int) -> None:
    # The node remembers a session that has ended; another node has begun the next one since.
    await node.play(number, start(), Close(1))
    await other_node.play(number, start())
    done = await node.play(number, Complete(5))
    assert done.state.session is not None
    assert (done.state.version, done.state.session.total_score) == (4, 5)


async def test_nothing_is_allowed_because_of_what_was_true_before(node: Node, other_node: Node, number: int) -> None:
    # The node remembers a session in progress; another node has ended it since.
    await node.play(number, start())
    ended = await other_node.play(number, Close(5))
    error = await refusal(node, number, Complete(1))
    assert error.code is ErrorCode.SESSION_NOT_ACTIVE
    assert error.session == ended.state
    assert await node.sessions.last(number) == ended.state


async def test_replay_on_another_node_gives_the_first_outcome(node: Node, other_node: Node, number: int) -> None:
    await node.play(number, start())
    first = await node.play(number, Close(5), key="the same key")
    again = await other_node.play(number, Close(5), key="the same key")
    assert (again.state, again.replayed) == (first.state, True)
    assert other_node.improved == []


async def test_200_actions_from_two_nodes_make_one_legal_log_with_each_acknowledged_action_once(
    node: Node, other_node: Node, number: int, clock: FakeClock
) -> None:
    clock.step = timedelta(milliseconds=1)
    draw = random.Random(1)
    await node.play(number, start())
    acknowledged: dict[str, tuple[Command, PlayerState]] = {}
    refused: dict[str, ErrorCode] = {}

    async def act(on: Node, command: Command, key: str) -> None:
        try:
            outcome = await on.act(number, command, key)
        except RequestError as error:
            refused[key] = error.code
        else:
            assert not outcome.replayed
            acknowledged[key] = (command, outcome.state)

    async def player(on: Node, name: str) -> None:
        for index in range(50):
            score = draw.randrange(1000)
            commands: list[Command] = [
                start(draw.randrange(10)),
                Complete(score),
                Complete(score),
                Close(score),
                Cancel(),
            ]
            await act(on, draw.choice(commands), f"{name}-key-{index:03}")

    # Two sockets of the player on each node.
    await asyncio.gather(player(node, "a"), player(node, "b"), player(other_node, "c"), player(other_node, "d"))
    assert len(acknowledged) + len(refused) == 200
    assert set(refused.values()) == {ErrorCode.SESSION_NOT_ACTIVE}

    history = await node.store.history(number)
    check_log(history, await node.sessions.last(number))
    logged = {event.key: event for event in history[1:]}
    assert logged.keys() == acknowledged.keys()
    assert len(history) == 1 + len(acknowledged)
    for key, (command, state) in acknowledged.items():
        assert logged[key].state == state
        assert logged[key].action is command.action


async def test_200_actions_of_many_players_on_two_nodes_do_not_wait_for_each_other_in_vain(
    node: Node, other_node: Node, new_player: NewPlayer
) -> None:
    numbers = [(await new_player()).number for _ in range(10)]
    await asyncio.gather(
        *(one.act(number, start(), None) for _ in range(10) for number in numbers for one in (node, other_node))
    )
    for number in numbers:
        state = await node.sessions.last(number)
        assert state.version == 20
        check_log(await node.store.history(number), state)


# While PostgreSQL is away


async def test_state_is_read_again_after_postgresql_was_away(
    postgres_gate: Gate, node: Node, number: int, clock: FakeClock
) -> None:
    async with node_on(postgres_gate.url, clock) as cut_off:
        cut_off.at_once = node.at_once
        await cut_off.play(number, start())
        await postgres_gate.shut()
        with pytest.raises(StoreUnavailable):
            await cut_off.act(number, Complete(1), "lost-in-the-night")
        # Meanwhile the player goes on elsewhere.
        await node.play(number, Complete(10), Complete(20))
        await postgres_gate.open()
        done = await cut_off.play(number, Complete(30))
        assert done.state.session is not None
        assert (done.state.session.status, done.state.session.total_score) == (Status.FINISHED, 60)
        check_log(await node.store.history(number), done.state)


async def test_action_whose_answer_was_lost_is_found_by_its_key(
    postgres_gate: Gate, node: Node, number: int, clock: FakeClock
) -> None:
    async with node_on(postgres_gate.url, clock) as cut_off:
        cut_off.at_once = node.at_once
        await cut_off.play(number, start())
        postgres_gate.swallow_answers()
        with pytest.raises(StoreUnavailable):
            await cut_off.act(number, Complete(1), "the unanswered one")
        assert (await node.sessions.last(number)).version == 2  # it was committed
        await postgres_gate.shut()
        await postgres_gate.open()
        again = await cut_off.play(number, Complete(1), key="the unanswered one")
        assert (again.replayed, again.state.version) == (True, 2)


async def test_connection_lost_in_the_middle_of_a_commit_shows_as_a_delay(
    postgres_gate: Gate, node: Node, number: int, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is, the way is open again before the action is given up.
    monkeypatch.setattr("storage.commits.PATIENCE_SECONDS", 30.0)
    async with node_on(postgres_gate.url, clock) as cut_off:
        cut_off.at_once = node.at_once
        await cut_off.play(number, start())
        postgres_gate.swallow_answers()
        acting = asyncio.create_task(cut_off.act(number, Complete(1), None))

        async def committed() -> bool:
            return (await node.sessions.last(number)).version == 2

        await until(committed, "the action reaches PostgreSQL")
        await postgres_gate.shut()
        await postgres_gate.open()
        outcome = await acting
        assert (outcome.state.version, outcome.replayed) == (2, False)
        check_log(await node.store.history(number), await node.sessions.last(number))


async def test_actions_under_way_when_the_server_stops_are_told_so(
    database_url: str, number: int, clock: FakeClock
) -> None:
    postgres = await Postgres.connect(database_url, connections=1)
    sessions = Sessions(SessionStore(postgres), Commits(postgres), clock, lambda _: None)
    commits = sessions._commits
    task = asyncio.create_task(commits.run())
    acting = [asyncio.create_task(sessions.act(number, start(), None)) for _ in range(3)]
    await until(lambda: bool(commits._queue) or any(act.done() for act in acting), "an action waits for its commit")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    first = await asyncio.gather(acting[0], return_exceptions=True)
    assert isinstance(first[0], (StoreUnavailable, Outcome))
    for act in acting[1:]:
        act.cancel()
    await asyncio.gather(*acting[1:], return_exceptions=True)
    await postgres.close()


def test_start_is_drawn_with_an_id_of_its_own() -> None:
    assert isinstance(start().session_id, UUID)
    assert start().session_id != start().session_id
