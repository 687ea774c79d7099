"""SIGKILL in the middle of everything: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

from game.ranking import Entry, better, entry_of, ranked
from game.session import Action, Cancel, Close, Command, Complete, PlayerState, Start, Status, step
from storage.sessions import Event, event_from
from tests.server_process import PATIENCE, Player, ServerProcess, credentials

PLAYERS = 200
_KINDS = {
    "session.start": Action.START,
    "session.complete": Action.COMPLETE,
    "session.close": Action.CLOSE,
    "session.cancel": Action.CANCEL,
}


@dataclass
class Diary:
    """What one player asked for and was told, in order."""

    token: str
    number: int
    acknowledged: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    unanswered: tuple[str, dict[str, Any]] | None = None


@pytest.fixture
def data_dir() -> Iterator[str]:
    with TemporaryDirectory(prefix="bg-") as name:
        Path(name).chmod(0o755)
        yield f"{name}/var"


def _next_request(choose: random.Random, state: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    key = secrets.token_hex(8)
    if state is None or state["sessionStatus"] != Status.IN_PROGRESS:
        return "session.start", {"difficulty": choose.randint(0, 3), "key": key}
    kind = choose.choices(list(_KINDS), [1, 20, 2, 1])[0]
    match kind:
        case "session.start":
            return kind, {"difficulty": 1, "key": key}
        case "session.cancel":
            return kind, {"key": key}
    return kind, {"score": choose.randint(0, 50), "key": key}


async def _play_until_cut_off(port: int, diary: Diary, choose: random.Random) -> None:
    """Act, action after action, until the connection is lost; then the last request may or may not have been done."""
    headers = {"Authorization": f"Bearer {diary.token}"}
    try:
        async with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers) as connection:
            player = Player(connection)
            state = (await player.receive())["data"]["session"]
            if diary.unanswered is not None:
                await _ask(player, diary, *diary.unanswered)
                state = diary.acknowledged[-1][2]
            while True:
                state = await _ask(player, diary, *_next_request(choose, state))
    except (ConnectionClosed, InvalidMessage, OSError):
        pass


async def _ask(player: Player, diary: Diary, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    diary.unanswered = (kind, data)
    answer = await player.do(kind, **data)
    diary.unanswered = None
    diary.acknowledged.append((kind, data, answer))
    return answer


async def _register(port: int) -> Diary:
    async with connect(f"ws://127.0.0.1:{port}/ws") as connection:
        player = Player(connection)
        answer = await player.do("auth.register", **credentials())
        return Diary(answer["token"], answer["user"]["number"])


def _command_of(event: Event) -> Command:
    session = event.state.session
    assert session is not None
    match event.action:
        case Action.START:
            return Start(session.session_id, session.stage_count, session.difficulty)
        case Action.COMPLETE:
            return Complete(event.score or 0)
        case Action.CLOSE:
            return Close(event.score or 0)
    return Cancel()


def _check_log(diary: Diary, events: list[Event], row: PlayerState) -> Entry | None:
    """The log is a legal run that ends in the row, and holds every acknowledged action once. Gives the best entry."""
    state, best = PlayerState(0, None), None
    for event in events:
        state = step(state, _command_of(event), event.at)  # type: ignore[assignment]
        assert state == event.state
        if state.session is not None and state.session.counts:
            entry = entry_of(diary.number, state.session)
            best = entry if best is None else better(best, entry)
    assert state == row

    by_key = {event.key: event for event in events}
    assert len(by_key) == len(events)
    for kind, data, answer in diary.acknowledged:
        event = by_key[data["key"]]
        assert event.action is _KINDS[kind]
        assert event.score == data.get("score")
        assert event.state.version == answer["sessionVersion"]
        assert event.state.session is not None
        assert event.state.session.total_score == answer["sessionTotalScore"]
    asked = {data["key"] for _, data, _ in diary.acknowledged}
    if diary.unanswered is not None:
        asked.add(diary.unanswered[1]["key"])
    assert set(by_key) <= asked, "something was done that nobody asked for"
    return best


async def test_kill_in_the_middle_of_200_players_loses_and_repeats_nothing(data_dir: str) -> None:
    settings = {"BRAINGAME_DATA_DIR": "/", "BRAINGAME_LIMITS": "off"}
    choose = random.Random(20261123)
    server = await ServerProcess.start("--data-dir", data_dir, **settings)
    diaries = await asyncio.gather(*(_register(server.port) for _ in range(PLAYERS)))

    for seconds in (1.5, 1.0):
        crowd = [asyncio.create_task(_play_until_cut_off(server.port, diary, choose)) for diary in diaries]
        await asyncio.sleep(seconds)
        assert await server.stop(signal.SIGKILL) == -signal.SIGKILL
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*crowd)
        server = await ServerProcess.start("--data-dir", data_dir, **settings)
    assert sum(len(diary.acknowledged) for diary in diaries) > PLAYERS
    assert any(diary.unanswered for diary in diaries), "nobody was cut off in the middle: nothing was proved"

    async with server:
        database = await asyncpg.connect(f"postgresql://braingame@/braingame?host={data_dir}/stores/run")
        # What is still unanswered was done once or not at all, and its key tells which.
        best: list[Entry] = []
        for diary in diaries:
            if diary.unanswered is not None:
                kind, data = diary.unanswered
                headers = {"Authorization": f"Bearer {diary.token}"}
                async with connect(f"ws://127.0.0.1:{server.port}/ws", additional_headers=headers) as connection:
                    await _ask(Player(connection), diary, kind, data)
            events = [
                event_from(row)
                for row in await database.fetch(
                    "SELECT * FROM session_events WHERE number = $1 ORDER BY version", diary.number
                )
            ]
            row = await database.fetchrow("SELECT * FROM sessions WHERE number = $1", diary.number)
            assert row is not None
            held = event_from({**row, "key": "", "action": 0, "score": None, "at": None}).state  # type: ignore[arg-type]
            entry = _check_log(diary, events, held)
            best += [] if entry is None else [entry]

        stored = await database.fetch(
            "SELECT number FROM ladder_entries WHERE ladder = 'all-time' "
            "ORDER BY passed_all_games DESC, total_score DESC, achieved_at, number"
        )
        await database.close()
        assert [row["number"] for row in stored] == [entry.number for entry in ranked(best)]

        async with connect(f"ws://127.0.0.1:{server.port}/ws") as connection:
            spectator = Player(connection)
            shown: list[dict[str, Any]] = []
            for offset in range(0, PLAYERS, 100):
                board = await spectator.do("leaderboard.get", limit=100, offset=offset)
                shown += board["entries"]
        assert board["total"] == len(best)
        assert [(row["number"], row["totalScore"], row["passedAllGames"]) for row in shown] == [
            (entry.number, entry.total_score, entry.passed_all_games) for entry in ranked(best)
        ]
    assert json.dumps(shown).count("@") == 0
