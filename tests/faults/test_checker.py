"""The checker finds nothing in a history as it should be, and each kind of damage."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from game.ranking import BOARDS, Entry, better, entry_of, ladders_of, ranked
from game.session import Cancel, Close, Command, Complete, PlayerState, Refusal, Start, step
from storage.sessions import Event
from tests.faults.checker import Truth, check
from tests.faults.history import History, Seen

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOARD = "all-time"
LIMIT = 10


class Right:
    """A server that does everything as it should, in one thread, and the history that its clients would write."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.seen: list[Seen] = []
        self.now = 0.0
        self.logs: dict[int, list[Event]] = {number: [] for number in (1, 2, 3)}
        self.states = {number: PlayerState(0, None) for number in self.logs}
        self.entries: dict[str, dict[int, Entry]] = {}
        self.version = 1
        self.ids = 0
        self.connection = {number: number for number in self.logs}

    def add(self, what: Any, connection: int, number: int | None = None, **data: Any) -> None:
        self.now += 0.01
        self.seen.append(Seen(self.now, what, connection, "one", number, data))

    def at(self) -> datetime:
        return NOON + timedelta(milliseconds=round(self.now * 1000))

    def session_of(self, number: int) -> dict[str, Any]:
        state = self.states[number]
        session = state.session
        if session is None:
            return {"sessionVersion": None, "sessionId": None}
        return {
            "sessionVersion": state.version,
            "sessionId": str(session.session_id),
            "sessionStatus": int(session.status),
            "sessionStage": session.stage,
            "sessionTotalScore": session.total_score,
            "sessionDifficulty": session.difficulty,
        }

    def connect(self, connection: int, number: int | None) -> None:
        self.add("connecting", connection, number)
        self.add("opened", connection, number)
        session = None if number is None or self.states[number].session is None else self.session_of(number)
        self.add("got", connection, number, type="welcome", data={"session": session})

    def subscribe(self, connection: int) -> None:
        self.connect(connection, None)
        self.add("sent", connection, type="leaderboard.subscribe", id="s", data={"board": BOARD, "limit": LIMIT})
        self.add("got", connection, type="leaderboard", re="s", data=self.board())

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "number": entry.number,
                "username": f"player {entry.number}",
                "totalScore": entry.total_score,
                "passedAllGames": entry.passed_all_games,
                "achievedAt": entry.achieved_at.isoformat(),
            }
            for entry in ranked(self.entries.get(BOARD, {}).values())
        ]

    def board(self) -> dict[str, Any]:
        rows = [{"position": place, **row} for place, row in enumerate(self.rows(), start=1)]
        return {"board": BOARD, "epoch": "e", "version": self.version, "total": len(rows), "entries": rows}

    def act(self, number: int, *, lost: bool = False) -> None:
        """One action, perhaps one whose reply is lost, so that it is sent again on another connection."""
        self.ids += 1
        connection = self.connection[number]
        key, state = f"key-{self.ids:04}", self.states[number]
        kind = self.draw.choice(["start", "complete", "complete", "complete", "close", "cancel"])
        data: dict[str, Any] = {"key": key}
        command: Command
        match kind:
            case "start":
                command, data["difficulty"] = Start(UUID(int=self.ids), 3, 0, 0), 0
            case "cancel":
                command = Cancel()
            case _:
                data["score"] = self.draw.randrange(50)
                command = (Complete if kind == "complete" else Close)(data["score"])
        self.add("sent", connection, number, type=f"session.{kind}", id=self.ids, data=data)
        after = step(state, command, self.at())
        if isinstance(after, Refusal):
            error = {"code": after.value, "message": "no", "retryable": False}
            self.add("got", connection, number, type="error", re=self.ids, data=error)
            return
        self.states[number] = after
        event = Event(number, key, command.action, data.get("score"), after, self.at())
        self.logs[number].append(event)
        before = self.rows()
        if after.session is not None and after.session.counts:
            entry = entry_of(number, after.session)
            for ladder in ladders_of(after.session):
                held = self.entries.setdefault(ladder, {})
                held[number] = better(held.get(number, entry), entry)
        if lost:
            self.add("lost", connection, number)
            connection = self.connection[number] = connection + 100
            self.connect(connection, number)
            self.add("sent", connection, number, type=f"session.{kind}", id=self.ids, data=data)
        told = {**self.session_of(number), **({"replayed": True} if lost else {})}
        self.add("got", connection, number, type="session", re=self.ids, data=told)
        rows = self.rows()
        if rows != before:
            self.version += 1
            upserts = [row for row in rows if row not in before]
            delta = {"board": BOARD, "epoch": "e", "from": self.version - 1, "version": self.version}
            for spectator in (11, 12):
                self.add(
                    "got",
                    spectator,
                    type="leaderboard.delta",
                    data={**delta, "total": len(rows), "upserts": upserts, "removals": []},
                )

    def truth(self) -> Truth:
        entries = {ladder: list(held.values()) for ladder, held in self.entries.items()}
        return Truth(self.logs, self.states, entries, {BOARD: BOARDS[BOARD].ladder(NOON)})


def played(seed: int = 7) -> tuple[list[Seen], Truth]:
    """A history of three players and two spectators, and the truth that goes with it."""
    server = Right(seed)
    for spectator in (11, 12):
        server.subscribe(spectator)
    for number in server.logs:
        server.connect(number, number)
    for turn in range(60):
        number = server.draw.choice(list(server.logs))
        server.act(number, lost=turn % 20 == 10)
        if turn % 15 == 0:
            server.add("sent", server.connection[number], number, type="session.last", id=f"l{turn}")
            server.add(
                "got", server.connection[number], number, type="session", re=f"l{turn}", data=server.session_of(number)
            )
    for spectator in (11, 12):
        server.add("end", spectator)
    return server.seen, server.truth()


@pytest.mark.parametrize("seed", range(20))
def test_history_as_it_should_be_has_no_violation(seed: int, tmp_path: Path) -> None:
    seen, truth = played(seed)
    history = History(seen)
    assert check(history, truth) == []
    history.write(tmp_path / "history")
    again = History.read(tmp_path / "history")
    assert again.seen == seen


# Damage


Damage = Callable[[list[Seen], Truth], tuple[list[Seen], Truth]]


def changed(seen: list[Seen], index: int, **data: Any) -> list[Seen]:
    """With other values in the data of one message."""
    message = seen[index].data
    return [
        *seen[:index],
        replace(seen[index], data={**message, "data": {**message["data"], **data}}),
        *seen[index + 1 :],
    ]


def find(seen: list[Seen], kind: str, *, skip: int = 0, **wanted: Any) -> int:
    """Where a message of this type came or went, with these values in its data."""
    found = [
        index
        for index, one in enumerate(seen)
        if one.data.get("type") == kind and wanted.items() <= one.data.get("data", {}).items()
    ]
    return found[skip]


def acknowledgement(seen: list[Seen], *, skip: int = 5, **wanted: Any) -> int:
    """Where an action was acknowledged for the first time."""
    found = [
        index
        for index, one in enumerate(seen)
        if one.what == "got"
        and one.data["type"] == "session"
        and isinstance(one.data.get("re"), int)
        and wanted.items() <= one.data["data"].items()
        and "replayed" not in one.data["data"]
    ]
    return found[skip]


def with_log(truth: Truth, number: int, log: list[Event]) -> Truth:
    return replace(truth, logs={**truth.logs, number: log})


def event_of(seen: list[Seen], truth: Truth, index: int) -> tuple[int, int]:
    """Player and place in the log of what was acknowledged there."""
    number = seen[index].number
    assert number is not None
    return number, seen[index].data["data"]["sessionVersion"] - 1


def lost_from_the_log(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    number, place = event_of(seen, truth, acknowledgement(seen))
    log = list(truth.logs[number])
    del log[place]
    return seen, with_log(truth, number, log)


def lost_at_the_end(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    log = list(truth.logs[1])
    return seen, replace(
        with_log(truth, 1, log[:-1]), rows={**truth.rows, 1: log[-2].state}, entries=entries_of(truth, 1, log[:-1])
    )


def entries_of(truth: Truth, number: int, log: list[Event]) -> dict[str, list[Entry]]:
    """The entries as they would be with another log of one player."""
    found: dict[str, dict[int, Entry]] = {}
    for other, events in {**truth.logs, number: log}.items():
        for event in events:
            session = event.state.session
            if session is not None and session.counts:
                for ladder in ladders_of(session):
                    entry = entry_of(other, session)
                    held = found.setdefault(ladder, {})
                    held[other] = better(held.get(other, entry), entry)
    return {ladder: list(held.values()) for ladder, held in found.items()}


def done_twice(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    log = list(truth.logs[1])
    again = replace(log[-1], state=log[-1].state._replace(version=log[-1].state.version + 1))
    return seen, replace(with_log(truth, 1, [*log, again]), rows={**truth.rows, 1: again.state})


def done_unasked(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    log = list(truth.logs[2])
    return seen, with_log(truth, 2, [*log[:-1], replace(log[-1], key="nobody's key")])


def done_though_refused(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = acknowledgement(seen)
    error = {"type": "error", "re": seen[index].data["re"]}
    error |= {"data": {"code": "session_not_active", "message": "no", "retryable": False}}
    return [*seen[:index], replace(seen[index], data=error), *seen[index + 1 :]], truth


def other_score(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    return changed(seen, acknowledgement(seen), sessionTotalScore=999), truth


def two_outcomes(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = acknowledgement(seen)
    asked = next(one for one in seen if one.what == "sent" and one.data["id"] == seen[index].data["re"])
    other = changed(seen, index, sessionVersion=seen[index].data["data"]["sessionVersion"] + 1)[index]
    return [*seen, replace(asked, at=99.0), replace(other, at=99.1)], truth


def row_behind(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    return seen, replace(truth, rows={**truth.rows, 3: truth.logs[3][-2].state})


def illegal_step(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    log = list(truth.logs[1])
    place = next(index for index, event in enumerate(log) if event.score)
    session = log[place].state.session
    assert session is not None
    wrong = log[place].state._replace(session=session._replace(total_score=session.total_score + 1))
    log[place] = replace(log[place], state=wrong)
    return seen, with_log(truth, 1, log)


def out_of_order(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    """As if the later of two actions had been applied before the earlier one."""
    mine = [acknowledgement(seen, skip=skip) for skip in range(20)]
    first, second = [index for index in mine if seen[index].number == 1][1:3]
    swapped = changed(seen, first, sessionVersion=seen[second].data["data"]["sessionVersion"])
    return changed(swapped, second, sessionVersion=seen[first].data["data"]["sessionVersion"]), truth


def stale_answer(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = next(
        index
        for index, one in enumerate(seen)
        if one.data.get("type") == "session"
        and str(one.data.get("re", "")).startswith("l")
        and one.data["data"]["sessionVersion"]
        and one.data["data"]["sessionVersion"] > 1
    )
    return changed(seen, index, sessionVersion=1), truth


def stale_welcome(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = next(index for index, one in enumerate(seen) if one.connection > 100 and one.data.get("type") == "welcome")
    return changed(seen, index, session=None), truth


def wrong_entry(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    ladder = "daily@2026-11-23"
    first, *rest = truth.entries[ladder]
    worse = first._replace(total_score=first.total_score - 1)
    return seen, replace(truth, entries={**truth.entries, ladder: [worse, *rest]})


def missing_entry(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    ladder = "weekly:0@2026-11-23"
    return seen, replace(truth, entries={**truth.entries, ladder: truth.entries[ladder][1:]})


def missed_delta(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = find(seen, "leaderboard.delta", skip=4)
    return [*seen[:index], *seen[index + 1 :]], truth


def last_delta_missing(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = find(seen, "leaderboard.delta", skip=-1)
    return [*seen[:index], *seen[index + 1 :]], truth


def wrong_delta(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = find(seen, "leaderboard.delta", skip=2)
    (row, *rest) = seen[index].data["data"]["upserts"]
    return changed(seen, index, upserts=[{**row, "totalScore": row["totalScore"] + 1}, *rest]), truth


def delta_twice(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = find(seen, "leaderboard.delta", skip=2)
    return [*seen[: index + 1], seen[index], *seen[index + 1 :]], truth


def wrong_total(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    return changed(seen, find(seen, "leaderboard.delta", skip=-1), total=17), truth


def email_on_the_board(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = find(seen, "leaderboard.delta", skip=2)
    (row, *rest) = seen[index].data["data"]["upserts"]
    return changed(seen, index, upserts=[{**row, "email": "ada@example.test"}, *rest]), truth


def error_of(code: str, *, retryable: bool) -> Damage:
    def damage(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
        sent = next(index for index, one in enumerate(seen) if one.what == "sent" and one.number == 1)
        asked = seen[sent]
        data = {"code": code, "message": "no", "retryable": retryable}
        request = {**asked.data, "id": "x"}
        if "data" in request:
            request["data"] = {**request["data"], "key": "another key"}
        more = [
            replace(asked, data=request),
            replace(asked, what="got", data={"type": "error", "re": "x", "data": data}),
        ]
        return [*seen[:sent], *more, *seen[sent:]], truth

    return damage


def replies_swapped(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = acknowledgement(seen)
    seen = list(seen)
    seen[index] = replace(seen[index], data={**seen[index].data, "re": 9999})
    return seen, truth


def reply_twice(seen: list[Seen], truth: Truth) -> tuple[list[Seen], Truth]:
    index = acknowledgement(seen)
    return [*seen[: index + 1], seen[index], *seen[index + 1 :]], truth


DAMAGES: dict[str, tuple[Damage, str]] = {
    "lost from the log": (lost_from_the_log, "nothing acknowledged is lost"),
    "lost at the end": (lost_at_the_end, "nothing acknowledged is lost"),
    "done twice": (done_twice, "nothing is done twice"),
    "done unasked": (done_unasked, "nothing is done that nobody asked for"),
    "done though refused": (done_though_refused, "what is refused is not done"),
    "another score": (other_score, "the log has what was told"),
    "two outcomes": (two_outcomes, "one outcome for one key"),
    "row behind": (row_behind, "the row is where the log ends"),
    "illegal step": (illegal_step, "a legal run"),
    "out of order": (out_of_order, "one after the other"),
    "stale answer": (stale_answer, "never older than what was told"),
    "stale welcome": (stale_welcome, "never older than what was told"),
    "wrong entry": (wrong_entry, "entries are what the rules make of the log"),
    "missing entry": (missing_entry, "entries are what the rules make of the log"),
    "missed delta": (missed_delta, "deltas fit"),
    "last delta missing": (last_delta_missing, "the board is the true one in the end"),
    "wrong delta": (wrong_delta, "one board of one version"),
    "delta twice": (delta_twice, "deltas fit"),
    "wrong total": (wrong_total, "the board is the true one in the end"),
    "email": (email_on_the_board, "no email"),
    "internal": (error_of("internal", retryable=False), "nothing internal"),
    "unexpected refusal": (error_of("key_reused", retryable=False), "no other refusal"),
    "unavailable for good": (error_of("unavailable", retryable=False), "retryable as the contract says"),
    "reply to another request": (replies_swapped, "one reply each, in order"),
    "reply twice": (reply_twice, "one reply each, in order"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(damage: str) -> None:
    do, rule = DAMAGES[damage]
    found = check(*_as_history(*do(*played())))
    assert rule in {violation.rule for violation in found}, found


def _as_history(seen: list[Seen], truth: Truth) -> tuple[History, Truth]:
    return History(seen), truth


def test_action_that_was_lost_before_it_was_applied_may_be_refused_later() -> None:
    """Sent twice at once: one try comes before the session is begun, the other after it."""
    seen, truth = played()
    index = acknowledgement(seen)
    sent = next(
        place for place, one in enumerate(seen) if one.what == "sent" and one.data["id"] == seen[index].data["re"]
    )
    twin = replace(seen[sent], connection=500)
    refusal = {"type": "error", "re": twin.data["id"]}
    refusal |= {"data": {"code": "no_session", "message": "no", "retryable": False}}
    early = [twin, replace(twin, what="got", data=refusal)]
    assert check(History([*seen[:sent], *early, *seen[sent:]]), truth) == []
    late = [replace(one, at=one.at + 50) for one in early]
    found = check(History([*seen, *late]), truth)
    assert {violation.rule for violation in found} == {"what is done is not refused afterwards"}
