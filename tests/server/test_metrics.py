"""What Prometheus is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

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
