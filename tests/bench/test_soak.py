"""The soak's judgement: what is flat passes, and a leak of each kind is found. And what its players expect."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from bench.soak.page import in_columns, page, recording_of
from bench.soak.players import after, drawing
from bench.soak.verdict import (
    ARENA_KB,
    DESCRIPTORS,
    GROWTH_KB_A_MINUTE,
    TASKS,
    Look,
    Recording,
    Window,
    memory_limit,
    slope,
    verdict,
)
from images.compare import distance
from images.decode import decode

MINUTES = 20
PIDS = {"server": 10, "PostgreSQL": 11, "Valkey": 12}


def look(at: float, grown_kb: float = 0.0, **changed: Any) -> Look:
    found = Look(
        at=at,
        memory={"server": 80_000 + grown_kb, "PostgreSQL": 42_000.0, "Valkey": 5_000.0},
        descriptors={"server": 40, "PostgreSQL": 300, "Valkey": 20},
        threads={"server": 5, "PostgreSQL": 12, "Valkey": 6},
        tasks=18,
        connections=0,
    )
    return replace(found, **changed)


def recording(grown_kb: Callable[[float], float] = lambda _minute: 0.0, **changed: Any) -> Recording:
    """Twenty minutes, a look each five seconds; memory wavers, and neighbours make some windows slow."""
    draw = random.Random(1)
    times = [at * 5.0 for at in range(1, MINUTES * 12 + 1)]
    found = Recording(
        before=look(0),
        during=[
            look(at, grown_kb(at / 60) + draw.uniform(-150, 150), connections=260, tasks=draw.randint(20, 40))
            for at in times
        ],
        after=look(MINUTES * 60 + 30, tasks=19),
        windows=[Window(at, draw.uniform(4, 6), draw.choice((30.0, 32.0, 35.0, 400.0))) for at in times],
        due=360_000,
        answered=360_000,
        unavailable=10,
        failures={},
        pids_before=PIDS,
        pids_after=PIDS,
    )
    return replace(found, **changed)


def failed(found: Recording) -> list[str]:
    return [finding.what for finding in verdict(found) if not finding.passed]


def test_slope_of_a_line_is_its_own_and_wild_points_do_not_move_it() -> None:
    points = [(float(x), 3.0 * x + 7) for x in range(100)]
    assert slope(points) == pytest.approx(3)
    for place in range(0, 100, 7):
        points[place] = (float(place), 1e6)
    assert slope(points) == pytest.approx(3, rel=0.2)
    assert slope([(1.0, 5.0)]) == 0


def test_what_stays_as_it_was_passes() -> None:
    assert failed(recording()) == []


def test_what_grows_while_it_warms_up_passes() -> None:
    assert failed(recording(lambda minute: 8_000 * min(1.0, minute / 6))) == []
    assert failed(recording(lambda minute: 4_000 * (1 - math.exp(-minute)))) == []


@pytest.mark.parametrize("kb_a_minute", [150, 400, 5_000])
def test_memory_that_grows_is_found(kb_a_minute: float) -> None:
    assert failed(recording(lambda minute: kb_a_minute * minute)) == ["server: memory grows by"]


def test_memory_that_grows_in_steps_is_found() -> None:
    assert failed(recording(lambda minute: 1024.0 * (minute // 3))) == ["server: memory grows by"]


def test_growth_that_cannot_be_told_from_an_arena_is_allowed_in_a_short_soak_only() -> None:
    assert memory_limit(1, 80_000) == ARENA_KB
    assert memory_limit(600, 80_000) == GROWTH_KB_A_MINUTE
    assert memory_limit(600, 1_000_000) == 500


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"descriptors": {"server": 41 + DESCRIPTORS}}, "server: descriptors left open"),
        ({"threads": {"server": 7}}, "server: threads left"),
        ({"tasks": 19 + TASKS}, "tasks left"),
        ({"connections": 1}, "sockets left open"),
    ],
)
def test_what_is_left_behind_is_found(changed: dict[str, Any], what: str) -> None:
    assert failed(recording(after=look(1_230, **changed))) == [what]


def test_workers_are_judged_one_by_one() -> None:
    before = look(
        0,
        descriptors={"server": 12, "worker 1": 40, "worker 2": 40},
        threads={"server": 1, "worker 1": 5, "worker 2": 5},
    )
    after_it = replace(before, descriptors={"server": 12, "worker 1": 40, "worker 2": 90})
    assert failed(recording(before=before, after=after_it)) == ["worker 2: descriptors left open"]


@pytest.mark.parametrize("part", ["p50_ms", "p99_ms"])
def test_latency_that_grows_is_found(part: str) -> None:
    def slower(windows: Sequence[Window]) -> list[Window]:
        return [replace(one, **{part: getattr(one, part) * 2.5}) if one.at > MINUTES * 40 else one for one in windows]

    found = recording()
    assert failed(replace(found, windows=slower(found.windows))) == [
        f"{part[:3]} of the last third, by that of the second"
    ]


def test_neighbours_that_come_later_are_no_growth() -> None:
    draw = random.Random(2)
    windows = [Window(at * 5.0, draw.choice((5, 60 if at > 160 else 6)), 30) for at in range(1, 241)]
    assert failed(recording(windows=windows)) == []


def test_milliseconds_that_are_noise_are_no_growth() -> None:
    windows = [Window(at * 5.0, 0.5 if at < 160 else 1.5, 30) for at in range(1, 241)]
    assert failed(recording(windows=windows)) == []


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"answered": 350_000}, "actions answered, of those that fell due"),
        ({"unavailable": 1_000}, "`unavailable`, of all actions"),
        ({"failures": {"player: it has lost a session": 1}}, "answers that were not as expected"),
        ({"pids_after": {**PIDS, "Valkey": 99}}, "processes that had to be started again"),
        ({"pids_after": {"server": 10, "PostgreSQL": 11}}, "processes that had to be started again"),
    ],
)
def test_what_went_wrong_is_found(changed: dict[str, Any], what: str) -> None:
    assert failed(recording(**changed)) == [what]


def test_page_names_every_limit_that_is_not_met() -> None:
    found = recording(lambda minute: 500 * minute, failures={"player: Unexpected": 2})
    findings = verdict(found)
    figures = {
        "options": {"minutes": 20.0, "workers": 1, "rate": 300.0, "players": 200, "spectators": 60, "every": 5.0}
        | {"note": ""},
        **asdict(found),
        "done": {"vanish": 3},
        "more": [{"cpu": {"server": 0.2}, "all_mb": {"server": 90.0}}] * (len(found.during) + 2),
    }
    again = verdict(recording_of(in_columns(figures)))
    assert [finding.passed for finding in again] == [finding.passed for finding in findings]
    assert [finding.found for finding in again] == pytest.approx([finding.found for finding in findings], abs=5)
    text = page({"figures": in_columns(figures), "machine": {"CPU": "two"}, "measured_on": "2026-11-26"})
    assert f"2 of {len(findings)} limits are not met" in text
    assert text.count("**not met**") == 2
    assert "- 2 times: `player: Unexpected`" in text


def test_player_expects_what_the_rules_say() -> None:
    session = after(None, "session.start", 0) | {"sessionId": "s"}
    for stage, score in enumerate((5, 7)):
        assert session["sessionStage"] == stage
        session = after(session, "session.complete", score)
    last = after(session, "session.complete", 1)
    assert (last["sessionStatus"], last["sessionStage"], last["sessionTotalScore"]) == (1, 2, 13)
    assert after(session, "session.close", 1)["sessionStatus"] == 2
    assert after(session, "session.cancel", 0) == session | {"sessionStatus": 3}


def test_players_draw_what_can_be_compared() -> None:
    one, other = drawing(), drawing()
    assert distance(decode(one), decode(one)) == 0
    assert 0 < distance(decode(one), decode(other)) <= 100
