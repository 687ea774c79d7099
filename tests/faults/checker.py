"""Holds what clients saw against what PostgreSQL has, and says what is not as promised. Pure.

What it proves of a history in which it finds nothing:

- every acknowledged action is in the log once, with the outcome that was told, however often it was sent;
- nothing is in the log that nobody asked for, and nothing whose refusal was told;
- each player's log is a legal run from nothing, without holes, and ends in the player's row;
- actions of one player that followed each other did so in the log; what a player was told of its session later on was
  never older than what had been acknowledged before;
- the best entries are what the rules make of the logs;
- every subscriber held the board at each version: deltas fit, no two hold different boards of one version, and after a
  quiet end each holds the true one;
- on each connection every request has one reply, in order; nothing internal and no email was told.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from game.ranking import Entry, better, entry_of, ladders_of, ranked
from game.session import Action, Cancel, Close, Command, Complete, Deal, PlayerState, Start, step
from storage.sessions import Event
from tests.faults.history import History, Seen

ACTIONS: Final = {
    "session.start": Action.START,
    "session.complete": Action.COMPLETE,
    "session.close": Action.CLOSE,
    "session.cancel": Action.CANCEL,
}
#: What an action may be refused with for good.
LEGAL_REFUSALS: Final = frozenset({"session_not_active", "no_session"})
#: What it may be refused with for now: it is to be sent again with its key.
PASSING_REFUSALS: Final = frozenset({"unavailable", "rate_limited"})


@dataclass(frozen=True, slots=True)
class Truth:
    """What PostgreSQL has after a run: of each player of the run the log and the row; all entries by ladder, also those
    of others; and which ladder each board showed at the end."""

    logs: Mapping[int, Sequence[Event]]
    rows: Mapping[int, PlayerState]
    entries: Mapping[str, Sequence[Entry]]
    ladders: Mapping[str, str]

    def on(self, board: str) -> list[Entry]:
        """What the board has to show, the best first."""
        return ranked(self.entries.get(self.ladders[board], ()))


def rows_as(entries: Iterable[Entry]) -> list[tuple[int, int, bool]]:
    """What is compared of a row."""
    return [(entry.number, entry.total_score, entry.passed_all_games) for entry in entries]


def rows_in(shown: Iterable[Row]) -> list[tuple[int, int, bool]]:
    """The same of rows as they came."""
    return [(row["number"], row["totalScore"], row["passedAllGames"]) for row in shown]


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    rule: str
    what: str


@dataclass(slots=True)
class Asked:
    """An action under one key: when it was sent first, and what came of it."""

    number: int
    kind: str
    data: dict[str, Any]
    sent_at: float
    tries: int = 0
    acknowledged_at: float | None = None
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    #: When the tries were sent that were refused for good.
    refused: list[float] = field(default_factory=list)


def check(history: History, truth: Truth) -> list[Violation]:
    """Every violation that is found; none of a history as it should be."""
    asked, found = _exchanges(history)
    found += _actions(asked, truth)
    found += _logs(asked, truth)
    found += _order(asked)
    found += _freshness(history)
    found += _entries(truth)
    found += _subscribers(history, truth)
    return found


def actions_of(history: History) -> dict[tuple[int, str], Asked]:
    """What was asked for, by player and key."""
    return _exchanges(history)[0]


# Exchanges


def _exchanges(history: History) -> tuple[dict[tuple[int, str], Asked], list[Violation]]:
    asked: dict[tuple[int, str], Asked] = {}
    found: list[Violation] = []
    waiting: dict[int, list[Seen]] = defaultdict(list)
    for seen in history:
        if seen.what == "sent":
            waiting[seen.connection].append(seen)
            kind, data = seen.data["type"], seen.data.get("data", {})
            if kind in ACTIONS:
                assert seen.number is not None
                action = asked.setdefault((seen.number, data["key"]), Asked(seen.number, kind, data, seen.at))
                assert (action.kind, action.data) == (kind, data), "the client itself reuses a key"
                action.tries += 1
        elif seen.what == "got":
            if "@" in json.dumps(seen.data) and seen.data["type"].startswith("leaderboard"):
                found.append(Violation("no email", str(seen)))
            if seen.data["type"] == "error" and seen.data["data"]["code"] == "internal":
                found.append(Violation("nothing internal", str(seen)))
            if "re" in seen.data:
                queue = waiting[seen.connection]
                if not queue or queue[0].data["id"] != seen.data["re"]:
                    found.append(Violation("one reply each, in order", str(seen)))
                    continue
                found += _reply(asked, queue.pop(0), seen)
    return asked, found


def _reply(asked: Mapping[tuple[int, str], Asked], request: Seen, reply: Seen) -> Iterable[Violation]:
    kind, data = request.data["type"], request.data.get("data", {})
    told = reply.data["data"]
    if kind not in ACTIONS or request.number is None:
        return
    action = asked[request.number, data["key"]]
    if reply.data["type"] == "error":
        if told["code"] in LEGAL_REFUSALS:
            action.refused.append(request.at)
        elif told["code"] not in PASSING_REFUSALS:
            yield Violation("no other refusal", str(reply))
        if told["retryable"] is not (told["code"] in PASSING_REFUSALS):
            yield Violation("retryable as the contract says", str(reply))
    else:
        if action.acknowledged_at is None:
            action.acknowledged_at = reply.at
        action.outcomes.append({name: value for name, value in told.items() if name != "replayed"})


# Actions and logs


def _actions(asked: Mapping[tuple[int, str], Asked], truth: Truth) -> Iterable[Violation]:
    logged = {(number, event.key): event for number, log in truth.logs.items() for event in log}
    for (number, key), action in asked.items():
        event = logged.get((number, key))
        if any(outcome != action.outcomes[0] for outcome in action.outcomes):
            yield Violation("one outcome for one key", f"player {number}: {action.outcomes}")
        if action.outcomes and event is None:
            yield Violation("nothing acknowledged is lost", f"player {number}: {action.outcomes[0]}")
        elif action.outcomes and event is not None and not _is_outcome(action.outcomes[0], event):
            yield Violation("the log has what was told", f"player {number}: {action.outcomes[0]} is {event}")
        # A refusal is not kept: of two tries under way at once one may be refused and the other done. Never the other
        # way round.
        if action.acknowledged_at is not None and any(sent > action.acknowledged_at for sent in action.refused):
            yield Violation("what is done is not refused afterwards", f"player {number}: {key} {action.outcomes[0]}")
        if event is not None and len(action.refused) == action.tries:
            yield Violation("what is refused is not done", f"player {number}: {event}")


def _is_outcome(told: Mapping[str, Any], event: Event) -> bool:
    session = event.state.session
    return session is not None and (
        told["sessionVersion"],
        told["sessionId"],
        told["sessionStatus"],
        told["sessionStage"],
        told["sessionTotalScore"],
        told["sessionDifficulty"],
    ) == (
        event.state.version,
        str(session.session_id),
        session.status,
        session.stage,
        session.total_score,
        session.difficulty,
    )


def _logs(asked: Mapping[tuple[int, str], Asked], truth: Truth) -> Iterable[Violation]:
    for number, log in truth.logs.items():
        if len({event.key for event in log}) != len(log):
            yield Violation("nothing is done twice", f"player {number}")
        state = PlayerState(0, None)
        for event in log:
            action = asked.get((number, event.key))
            if action is None:
                yield Violation("nothing is done that nobody asked for", f"player {number}: {event}")
            elif ACTIONS[action.kind] is not event.action or action.data.get("score") != event.score:
                yield Violation("what is done is what was asked for", f"player {number}: {event} for {action}")
            after = step(state, _command_of(event), event.at)
            if after != event.state:
                yield Violation("a legal run", f"player {number}: {event} after {state}")
            state = event.state
        if truth.rows[number] != state:
            yield Violation("the row is where the log ends", f"player {number}: {truth.rows[number]}, {state}")


def _command_of(event: Event) -> Command:
    session = event.state.session
    assert session is not None
    match event.action:
        case Action.START:
            return Start(session.session_id, session.stage_count, session.difficulty, session.seed)
        case Action.COMPLETE:
            return Complete(event.score or 0)
        case Action.CLOSE:
            return Close(event.score or 0)
        case Action.DEAL:
            return Deal()
    return Cancel()


def _order(asked: Mapping[tuple[int, str], Asked]) -> Iterable[Violation]:
    by_player: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for action in asked.values():
        if action.acknowledged_at is not None:
            version = action.outcomes[0]["sessionVersion"]
            by_player[action.number].append((action.sent_at, action.acknowledged_at, version))
    for number, done in by_player.items():
        acknowledged = sorted(done, key=lambda one: one[1])
        newest, index = 0, 0
        for sent_at, _, version in sorted(done):
            while index < len(acknowledged) and acknowledged[index][1] < sent_at:
                newest = max(newest, acknowledged[index][2])
                index += 1
            if version <= newest:
                yield Violation("one after the other", f"player {number}: {version} was sent after {newest} was told")


def _freshness(history: History) -> Iterable[Violation]:
    """Whoever asks for the last session, or comes back, sees at least what was acknowledged before."""
    acknowledged: dict[int, int] = defaultdict(int)
    since: dict[tuple[int, object], int] = {}
    for seen in history:
        if seen.number is None:
            continue
        if seen.what == "connecting":
            since[seen.connection, "welcome"] = acknowledged[seen.number]
        elif seen.what == "sent" and seen.data["type"] == "session.last":
            since[seen.connection, seen.data["id"]] = acknowledged[seen.number]
        elif seen.what == "got":
            data = seen.data["data"]
            if seen.data["type"] == "welcome":
                version = (data["session"] or {}).get("sessionVersion", 0)
                least = since.get((seen.connection, "welcome"), 0)
            elif seen.data["type"] == "session" and (seen.connection, seen.data.get("re")) in since:
                version, least = data["sessionVersion"] or 0, since[seen.connection, seen.data["re"]]
            else:
                if seen.data["type"] == "session" and "re" in seen.data:
                    acknowledged[seen.number] = max(acknowledged[seen.number], data["sessionVersion"])
                continue
            if version < least:
                yield Violation("never older than what was told", f"{least} before {seen}")


def _entries(truth: Truth) -> Iterable[Violation]:
    expected: dict[tuple[str, int], Entry] = {}
    for number, log in truth.logs.items():
        for event in log:
            session = event.state.session
            if session is not None and session.counts:
                entry = entry_of(number, session)
                for ladder in ladders_of(session):
                    expected[ladder, number] = better(expected.get((ladder, number), entry), entry)
    held = {(ladder, entry.number): entry for ladder, entries in truth.entries.items() for entry in entries}
    held = {place: entry for place, entry in held.items() if place[1] in truth.logs}
    for place in expected.keys() | held.keys():
        if expected.get(place) != held.get(place):
            yield Violation("entries are what the rules make of the log", f"{place}: {held.get(place)}")


# Subscribers

Row = dict[str, Any]
_FIELDS: Final = ("number", "username", "totalScore", "passedAllGames", "achievedAt")


@dataclass(slots=True)
class _Held:
    """What one subscriber holds of one board."""

    limit: int
    epoch: str
    version: int
    rows: list[Row]
    total: int


def _subscribers(history: History, truth: Truth) -> Iterable[Violation]:
    limits: dict[tuple[int, object], int] = {}
    held: dict[tuple[int, str], _Held] = {}
    states: dict[tuple[str, str, int, int], list[Row]] = {}
    for seen in history:
        data = seen.data.get("data", {})
        if seen.what == "sent" and seen.data["type"] == "leaderboard.subscribe":
            limits[seen.connection, seen.data["id"]] = data["limit"]
        elif seen.what == "end":
            yield from _is_true(seen, held, truth)
        if seen.what != "got" or seen.data["type"] not in ("leaderboard", "leaderboard.delta"):
            continue
        key = (seen.connection, data["board"])
        if seen.data["type"] == "leaderboard":
            if "re" in seen.data and (seen.connection, seen.data["re"]) not in limits:
                continue  # the answer to leaderboard.get
            limit = limits[seen.connection, seen.data["re"]] if "re" in seen.data else held[key].limit
            rows = [{name: row[name] for name in _FIELDS} for row in data["entries"]]
            held[key] = state = _Held(limit, data["epoch"], data["version"], rows, data["total"])
            if [row["position"] for row in data["entries"]] != list(range(1, len(rows) + 1)):
                yield Violation("positions count from 1", str(seen))
        else:
            state = held[key]
            if (data["epoch"], data["from"]) != (state.epoch, state.version):
                yield Violation("deltas fit", f"{state.epoch} {state.version}: {seen}")
                continue
            if data["version"] <= state.version:
                yield Violation("versions grow", str(seen))
            _apply(state, data)
        if len(state.rows) != min(state.limit, state.total) or state.rows != sorted(state.rows, key=_order_of):
            yield Violation("the first rows, in order", f"{seen.connection} {key}: {state}")
        known = states.setdefault((data["board"], state.epoch, state.version, state.limit), list(state.rows))
        if known != state.rows:
            yield Violation("one board of one version", f"{known} is not {state.rows}")


def _apply(state: _Held, delta: Mapping[str, Any]) -> None:
    gone = {*delta["removals"], *(row["number"] for row in delta["upserts"])}
    rows = [row for row in state.rows if row["number"] not in gone] + list(delta["upserts"])
    state.rows = sorted(rows, key=_order_of)[: state.limit]
    state.version, state.total = delta["version"], delta["total"]


def _order_of(row: Row) -> tuple[bool, int, str, int]:
    return (not row["passedAllGames"], -row["totalScore"], row["achievedAt"], row["number"])


def _is_true(end: Seen, held: Mapping[tuple[int, str], _Held], truth: Truth) -> Iterable[Violation]:
    for (connection, board), state in held.items():
        if connection != end.connection:
            continue
        entries = truth.on(board)
        shown, true = rows_in(state.rows), rows_as(entries[: state.limit])
        if shown != true or state.total != len(entries):
            yield Violation("the board is the true one in the end", f"{connection} {board}: {shown}, not {true}")
