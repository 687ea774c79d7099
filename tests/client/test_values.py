"""The server's objects as values: every published example, with fields that do not exist yet."""

from __future__ import annotations

from client.values import OpenLogin, Place, Session, Stage, Status, User
from protocol.examples import server_examples


def test_session_is_understood_or_there_is_none() -> None:
    first, replayed, answered, none, _ = [{**message["data"], "new": 1} for message in server_examples("session")]
    session = Session.of(first)
    assert session is not None
    assert (session.status, session.version, session.replayed) == (Status.IN_PROGRESS, 12, False)
    again = Session.of(replayed)
    assert again is not None
    assert again.replayed
    judged = Session.of(answered)
    assert judged is not None
    assert (judged.stage_score, judged.verdict) == (640, "passed")
    assert Session.of(none) is Session.of(None) is None


def test_other_objects_are_understood() -> None:
    assert User.of({**server_examples("user")[0]["data"], "new": 1}).number == 7
    stage = Stage.of({**server_examples("stage")[0]["data"], "new": 1})
    assert (stage.number, stage.game, stage.time_limit_ms) == (0, "sequence", 120_000)
    assert OpenLogin.of({**server_examples("logins")[0]["data"]["logins"][0], "new": 1}).current
    assert [Place.of(message["data"]).position for message in server_examples("leaderboard.place")] == [1, None]
