"""What Prometheus is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from protocol.errors import CloseCode
from server.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation
        for sample in family.samples:
            found[sample.name, tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_requests_are_counted_by_type_and_outcome() -> None:
    metrics = Metrics()
    for outcome in ("ok", "ok", "invalid"):
        metrics.request("session.start", outcome)
    found = samples(metrics)
    assert found["braingame_requests_total", ("ok", "session.start")] == 2
    assert found["braingame_requests_total", ("invalid", "session.start")] == 1


def test_commits_are_counted_by_how_long_they_took() -> None:
    metrics = Metrics()
    for seconds in (0.004, 0.004, 3.0):
        metrics.commit(seconds)
    found = samples(metrics)
    assert found["braingame_commit_seconds_bucket", ("0.005",)] == 2
    assert found["braingame_commit_seconds_bucket", ("2.0",)] == 2
    assert found["braingame_commit_seconds_count", ()] == 3


def test_connections_and_boards_are_looked_at_when_scraped() -> None:
    metrics = Metrics()
    now = {"connections": (0, 0), "behind": False}
    metrics.watch(lambda: now["connections"], lambda: now["behind"])  # type: ignore[arg-type,return-value]
    assert samples(metrics)["braingame_connections", ("player",)] == 0
    now |= {"connections": (3, 5), "behind": True}
    found = samples(metrics)
    assert found["braingame_connections", ("player",)] == 3
    assert found["braingame_connections", ("spectator",)] == 5
    assert found["braingame_boards_behind", ()] == 1


def test_sockets_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()
    assert samples(metrics)["braingame_closes_total", ("4508",)] == 0  # or the first one would be missed by rate()
    for code in (CloseCode.STUCK_READER, 1001, 1001, 4999, 3000):
        metrics.closed(code)
    found = samples(metrics)
    assert found["braingame_closes_total", ("4508",)] == 1
    assert found["braingame_closes_total", ("1001",)] == 2
    assert found["braingame_closes_total", ("other",)] == 2


def test_limits_that_were_hit_are_counted() -> None:
    metrics = Metrics()
    assert samples(metrics)["braingame_limits_hit_total", ("socket_messages",)] == 0
    metrics.limit_hit("socket_messages")
    metrics.limit_hit("one that is new")
    found = samples(metrics)
    assert found["braingame_limits_hit_total", ("socket_messages",)] == 1
    assert found["braingame_limits_hit_total", ("one that is new",)] == 1


def test_http_is_counted_by_route_and_class_of_status() -> None:
    metrics = Metrics()
    for status in (200, 201, 404):
        metrics.http("GET", "/api/sessions/last", status, 0.004)
    found = samples(metrics)
    assert found["braingame_http_requests_total", ("GET", "/api/sessions/last", "2xx")] == 2
    assert found["braingame_http_requests_total", ("GET", "/api/sessions/last", "4xx")] == 1
    assert found["braingame_http_seconds_bucket", ("0.005", "/api/sessions/last")] == 3


@pytest.mark.parametrize(
    ("tell", "name"),
    [
        (Metrics.projected, "braingame_projection_seconds"),
        (Metrics.ticked, "braingame_tick_seconds"),
        (Metrics.delivered, "braingame_delivery_seconds"),
    ],
)
def test_durations_are_counted(tell: Callable[[Metrics, float], None], name: str) -> None:
    metrics = Metrics()
    tell(metrics, 0.004)
    tell(metrics, 100.0)
    found = samples(metrics)
    assert found[f"{name}_bucket", ("0.005",)] == 1
    assert found[f"{name}_sum", ()] == pytest.approx(100.004)


def test_rate_of_an_error_is_known_before_the_first_one() -> None:
    found = samples(Metrics())
    for outcome in ("ok", "unavailable", "internal"):
        assert found["braingame_requests_total", (outcome, "session.complete")] == 0


async def test_lag_of_the_loop_is_seen_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, seen = Metrics(), asyncio.Event()
    monkeypatch.setattr("server.metrics._LOOK_SECONDS", 0.0)
    running = asyncio.create_task(metrics.run())
    asyncio.get_running_loop().call_later(0.01, seen.set)
    await seen.wait()
    running.cancel()
    assert samples(metrics)["braingame_loop_lag_seconds_count", ()] >= 1


async def test_tasks_of_the_loop_are_counted_while_it_runs() -> None:
    metrics = Metrics()
    looking = asyncio.create_task(metrics.run())
    others = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert samples(metrics)["braingame_tasks", ()] == 5  # and the test itself
    for task in (looking, *others):
        task.cancel()


def test_rolling_check_is_counted() -> None:
    metrics = Metrics()
    assert samples(metrics)["braingame_check_last_pass_timestamp_seconds", ()] == 0
    metrics.checked(50, 1, 0)
    metrics.checked(7, 0, 2)
    metrics.check_passed(datetime(2026, 11, 23, tzinfo=UTC))
    found = samples(metrics)
    assert found["braingame_check_players_total", ()] == 57
    assert found["braingame_check_ladders_total", ()] == 1
    assert found["braingame_check_differences_total", ()] == 2
    assert found["braingame_check_last_pass_timestamp_seconds", ()] == 1795392000
