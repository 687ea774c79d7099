"""SIGKILL in the middle of everything: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from game.ranking import BOARDS, Entry, ranked
from game.replay import replay
from game.session import Action, PlayerState, Status
from storage.sessions import Event, event_from
from tests.server_process import PATIENCE, Player, ServerProcess, credentials

PLAYERS = 200
#: Acknowledged actions, of all players together, after which the server is killed; then again.
ENOUGH = (3 * PLAYERS, 6 * PLAYERS)
#: The best entries by ladder and player.
Ladders = dict[str, dict[int, Entry]]
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
        async with await _connected(port, headers) as connection:
            player = Player(connection)
            state = (await player.receive())["data"]["session"]
            if diary.unanswered is not None:
                await _ask(player, diary, *diary.unanswered)
                state = diary.acknowledged[-1][2]
            while True:
                state = await _ask(player, diary, *_next_request(choose, state))
    except (ConnectionClosed, InvalidMessage, OSError):
        pass


async def _connected(port: int, headers: dict[str, str]) -> ClientConnection:
    """A socket, as soon as there is room: on a busy machine 200 who come at once are too many."""
    while True:
        try:
            return await connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers)
        except InvalidStatus as refused:
            if refused.response.status_code != 503:
                raise
            await asyncio.sleep(0.05)


async def _ask(player: Player, diary: Diary, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """Ask until it is done: on a busy machine some of 200 are told to come again, and do so with the same key."""
    diary.unanswered = (kind, data)
    while (reply := await player.ask(kind, **data))["type"] == "error":
        assert reply["data"]["retryable"], reply
        await asyncio.sleep(reply["data"].get("retryAfterMs", 100) / 1000)
    answer: dict[str, Any] = reply["data"]
    diary.unanswered = None
    diary.acknowledged.append((kind, data, answer))
    return answer


async def _register(port: int) -> Diary:
    async with connect(f"ws://127.0.0.1:{port}/ws") as connection:
        player = Player(connection)
        answer = await player.do("auth.register", **credentials())
        return Diary(answer["token"], answer["user"]["number"])


def _check_log(diary: Diary, events: list[Event], row: PlayerState, ladders: Ladders) -> None:
    """The log is a legal run that ends in the row, and holds every acknowledged action once. Adds its best entries."""
    played, problems = replay(diary.number, events)
    assert problems == []
    for name, best in played.best.items():
        ladders.setdefault(name, {})[diary.number] = best.entry
    assert played.state == row

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


async def test_kill_in_the_middle_of_200_players_loses_and_repeats_nothing(data_dir: str) -> None:
    settings = {"BRAINGAME_DATA_DIR": "/", "BRAINGAME_LIMITS": "off"}
    choose = random.Random(20261123)
    server = await ServerProcess.start("--data-dir", data_dir, **settings)
    diaries = await asyncio.gather(*(_register(server.port) for _ in range(PLAYERS)))

    for enough in ENOUGH:
        crowd = [asyncio.create_task(_play_until_cut_off(server.port, diary, choose)) for diary in diaries]
        async with asyncio.timeout(PATIENCE):
            while sum(len(diary.acknowledged) for diary in diaries) < enough:
                assert not any(task.done() for task in crowd), "somebody cannot play"
                await asyncio.sleep(0.005)
        assert await server.stop(signal.SIGKILL) == -signal.SIGKILL
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*crowd)
        server = await ServerProcess.start("--data-dir", data_dir, **settings)
    assert any(diary.unanswered for diary in diaries), "nobody was cut off in the middle: nothing was proved"

    async with server:
        database = await asyncpg.connect(f"postgresql://braingame@/braingame?host={data_dir}/stores/run")
        # What is still unanswered was done once or not at all, and its key tells which.
        ladders: Ladders = {}
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
            held = event_from({**row, "key": "", "action": 0, "score": None, "at": None, "answer": None}).state  # type: ignore[arg-type]
            _check_log(diary, events, held, ladders)
        await _check_ladders(database, ladders)
        await database.close()
        await _check_boards(server.port, ladders)


async def _check_ladders(database: asyncpg.Connection[asyncpg.Record], ladders: Ladders) -> None:
    """The stored entries are exactly those that the rules make of the log, in the same order."""
    stored = await database.fetch(
        "SELECT ladder, number, passed_all_games, total_score, achieved_at FROM ladder_entries "
        "ORDER BY ladder, passed_all_games DESC, total_score DESC, achieved_at, number"
    )
    found: dict[str, list[Entry]] = {}
    for ladder, *row in stored:
        found.setdefault(ladder, []).append(Entry(*row))
    assert found == {ladder: ranked(entries.values()) for ladder, entries in ladders.items()}


async def _check_boards(port: int, ladders: Ladders) -> None:
    """What everybody can see is the same once more."""
    async with connect(f"ws://127.0.0.1:{port}/ws") as connection:
        spectator = Player(connection)
        for board in BOARDS.values():
            before = board.ladder(datetime.now(UTC))
            shown: list[dict[str, Any]] = []
            for offset in range(0, PLAYERS, 100):
                page = await spectator.do("leaderboard.get", board=board.name, limit=100, offset=offset)
                shown += page["entries"]
            if board.ladder(datetime.now(UTC)) != before:
                continue  # midnight
            expected = ranked(ladders.get(before, {}).values())
            assert page["total"] == len(expected)
            assert [(row["number"], row["totalScore"], row["passedAllGames"]) for row in shown] == [
                (entry.number, entry.total_score, entry.passed_all_games) for entry in expected
            ]
            assert [datetime.fromisoformat(row["achievedAt"]) for row in shown] == [
                entry.achieved_at for entry in expected
            ]
            assert "@" not in json.dumps(shown)
