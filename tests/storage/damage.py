"""A database with everything in it that an audit has to judge right, and every way to damage it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from game.ranking import ladders_of
from game.session import NEVER_PLAYED, Cancel, Close, Command, Complete, Deal, Judged, PlayerState, Verdict
from storage.accounts import Accounts
from storage.commits import Commits
from storage.operators import Operators
from storage.postgres import Postgres
from tests.storage.playing import NOON, apply, change, game, start

#: Players 1 to 6: Ada, who has played most; one who was dealt a stage; one whose account was deleted; one who is off
#: the boards; one who was, and has come back; one who has never played.
ADA, DEALT, DELETED, OFF, BACK, NEW = range(1, 7)


async def populate(postgres: Postgres, commits: Commits) -> None:
    """Register the players and let them play."""
    accounts, operators = Accounts(postgres), Operators(postgres)
    for number in range(1, 7):
        await accounts.register(uuid4(), f"{number}@example.test", f"player {number}", "no hash", NOON)

    async def play(
        number: int, *scores: int, passed: bool, days: int, state: PlayerState = NEVER_PLAYED
    ) -> PlayerState:
        at = NOON + timedelta(days=days)
        return await apply(commits, *game(number, *scores, passed=passed, at=at, state=state))

    state = await play(ADA, 1, 2, 3, passed=True, days=0)
    state = await play(ADA, 9, passed=False, days=1, state=state)
    state = await play(ADA, 5, 5, passed=True, days=8, state=state)
    given_up: list[Command] = [start(session_id=UUID(int=7)), Complete(4), Cancel()]
    for command in given_up:
        state = await apply(commits, change(ADA, command, state))

    state = await apply(commits, change(DEALT, start(stages=3)))
    dealt: list[Command] = [Deal(), Complete(4, Judged("{}", Verdict.PASSED)), Deal()]
    for command in dealt:
        state = await apply(commits, change(DEALT, command, state))

    await play(DELETED, 7, 7, passed=True, days=0)
    await accounts.delete(DELETED, NOON)

    state = await play(OFF, 8, 8, passed=True, days=0)
    await operators.take_off_boards(OFF, None, "scores nobody can reach", NOON)
    await play(OFF, 9, 9, passed=True, days=1, state=state)

    state = await play(BACK, 6, 6, passed=False, days=0)
    await operators.take_off_boards(BACK, None, "scores nobody can reach", NOON)
    state = await play(BACK, 6, 7, passed=False, days=1, state=state)
    await operators.put_back_on_boards(BACK, None, "looked again", NOON)
    state = await apply(commits, change(BACK, start(), state))
    state = await apply(commits, change(BACK, Close(99), state, at=NOON + timedelta(days=2)))
    assert state.session is not None
    assert "all-time" in ladders_of(state.session)


@dataclass(frozen=True)
class Damage:
    """What is done past all of our code, and what an audit says of it: part of the text, by player."""

    name: str
    sql: str
    number: int
    said: str
    mendable: bool = True

    def __str__(self) -> str:
        return self.name


_SESSION = "UPDATE sessions SET {} WHERE number = {}"
_ENTRY = "UPDATE ladder_entries SET {} WHERE number = {} AND ladder = 'all-time'"
_EVENT = "UPDATE session_events SET {} WHERE number = {} AND version = {}"

DAMAGES = [
    # The log: what is lost here is lost.
    Damage("hole", "DELETE FROM session_events WHERE number = 1 AND version = 2", ADA, "versions 2 to 2 are", False),
    Damage("tail", "DELETE FROM session_events WHERE number = 2 AND version = 4", DEALT, "it ends at version 3", False),
    Damage("nothing left", "DELETE FROM session_events WHERE number = 1", ADA, "it ends at version 0", False),
    Damage("score", _EVENT.format("score = 100", 1, 2), ADA, "total_score is 1, not 100", False),
    Damage("negative", _EVENT.format("score = -1", 1, 2), ADA, "score -1", False),
    Damage("action", _EVENT.format("action = 9", 1, 2), ADA, "version 2: it cannot be read", False),
    Damage("verdict", _EVENT.format("verdict = 'splendid'", 2, 3), DEALT, "version 3: it cannot be read", False),
    Damage("late", _EVENT.format("verdict = 'late'", 2, 3), DEALT, "complete, found to be late", False),
    Damage("undealt", _EVENT.format("dealt_at = NULL", 2, 2), DEALT, "dealt_at is None, not", False),
    Damage("refused", _EVENT.format("action = 4", 1, 10), ADA, "version 10: ", False),
    Damage(
        "nobody's log",
        "INSERT INTO session_events SELECT 99, version, key, action, score, session_id, status, stage, stage_count, "
        "total_score, difficulty, started_at, ended_at, at FROM session_events WHERE number = 5",
        99,
        "there is no account with this number",
        False,
    ),
    # The current rows.
    Damage("status", _SESSION.format("status = 1", 1), ADA, "status is 1, not 3"),
    Damage("unreadable", _SESSION.format("status = 7", 1), ADA, "it cannot be read"),
    Damage("total", _SESSION.format("total_score = 5", 2), DEALT, "total_score is 5, not 4"),
    Damage("seed", _SESSION.format("seed = 5", 2), DEALT, "seed is another one"),
    Damage("version", _SESSION.format("version = 2", 2), DEALT, "version is 2, not 4"),
    Damage("left behind", _SESSION.format("dealt_at = now()", 1), ADA, "(a node of a version before 0.3.0"),
    Damage("no row", "DELETE FROM sessions WHERE number = 2", DEALT, "there is no row"),
    Damage("new without row", "DELETE FROM sessions WHERE number = 6", NEW, "there is no row"),
    Damage(
        "never played",
        _SESSION.format(
            "session_id = gen_random_uuid(), status = 0, stage = 0, stage_count = 3, "
            "total_score = 0, difficulty = 0, started_at = now()",
            6,
        ),
        NEW,
        "one of them has no session",
    ),
    Damage("deleted with row", "INSERT INTO sessions (number) VALUES (3)", DELETED, "the account was deleted, and has"),
    Damage("off by hand", _SESSION.format("off_boards = true", 1), ADA, "off_boards is True, and the record"),
    Damage("on by hand", _SESSION.format("off_boards = false", 4), OFF, "off_boards is False, and the record"),
    # The best entries.
    Damage("entry gone", "DELETE FROM ladder_entries WHERE number = 1 AND ladder = 'all-time'", ADA, "it is missing"),
    Damage("deleted's entry gone", "DELETE FROM ladder_entries WHERE number = 3", DELETED, "it is missing"),
    Damage("too good", _ENTRY.format("total_score = 1000", 1), ADA, "total_score is 1000, not 10"),
    Damage("too bad", _ENTRY.format("passed_all_games = false", 1), ADA, "passed_all_games is False, not True"),
    Damage("too early", _ENTRY.format("achieved_at = achieved_at - interval '1 s'", 1), ADA, "achieved_at is"),
    Damage("other session", _ENTRY.format("session_id = gen_random_uuid()", 1), ADA, "session_id is"),
    Damage(
        "from nowhere",
        "INSERT INTO ladder_entries VALUES ('daily@1999-01-01', 1, true, 9, now(), gen_random_uuid())",
        ADA,
        "no session in the log stands behind it",
    ),
    Damage(
        "nobody's entry",
        "INSERT INTO ladder_entries VALUES ('all-time', 99, true, 9, now(), gen_random_uuid())",
        99,
        "no session in the log stands behind it",
    ),
    Damage("hidden", _ENTRY.format("removed = true", 1), ADA, "removed is True, not False"),
    Damage("cheater shown", _ENTRY.format("removed = false", 4), OFF, "removed is False, not True"),
    Damage("deleted shown", _ENTRY.format("removed = false", 3), DELETED, "removed is False, not True"),
    Damage("put back hidden", _ENTRY.format("removed = true", 5), BACK, "removed is True, not False"),
]
MENDABLE = [damage for damage in DAMAGES if damage.mendable]
