"""Alerts and dashboard speak of metrics that a server has, in ways that make sense, and each alert says what to do."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.debian import environment_of, file_of
from tests.deploy.promql import OF_COUNTERS, OF_GAUGES, Use, uses
from tests.server.clients import client_to
from tests.server_process import PATIENCE, ROOT, ServerProcess
from tests.stores import Stores
from tests.whole.running import database_of

PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/braingame.json"
RUNBOOK = ROOT / "docs/operations.md"
#: What Prometheus itself adds to each scrape.
OF_PROMETHEUS = {"up": "gauge"}

ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]


def panels() -> Iterator[dict[str, Any]]:
    """Those of the dashboard, inside rows, too."""
    waiting = list(json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"])
    while waiting:
        panel = waiting.pop(0)
        waiting += panel.get("panels", [])
        yield panel


EXPRESSIONS: list[tuple[str, str]] = [
    *((alert["alert"], alert["expr"]) for alert in ALERTS),
    *((panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", ())),
]


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Debian's, run beside the rules."""
    return subprocess.run(
        [str(file_of("prometheus", "usr/bin/promtool")), *arguments],
        cwd=PROMETHEUS,
        env=environment_of("prometheus"),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1, 2])
async def scraped(request: pytest.FixtureRequest, stores: Stores) -> AsyncIterator[str]:
    """What a server tells that somebody has played on, alone and as several workers."""
    async with (
        database_of(stores) as settings,
        await ServerProcess.start("--workers", str(request.param), **settings) as server,
    ):
        async with client_to(f"ws://127.0.0.1:{server.port}/ws") as player:
            await player.register("measured")
            await player.do("leaderboard.subscribe")
            await player.do("session.start")
            await player.do("session.close", score=1)
            await player.push("leaderboard.delta")
        async with aiohttp.ClientSession(server.origin) as http, asyncio.timeout(PATIENCE):
            async with http.get("/healthz") as answer:
                assert answer.status == 200
            while True:
                async with http.get("/metrics") as answer:
                    text = await answer.text()
                # Another worker tells within some seconds of what only it knows.
                if re.search(r"^braingame_tick_seconds_count [^0]", text, re.MULTILINE):
                    break
                await asyncio.sleep(0.05)
        yield text


def types_of(text: str) -> dict[str, str]:
    """Each name that can be asked for, and its type; a histogram's parts rise like counters."""
    types = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            types[sample.name] = "counter" if family.type in ("counter", "histogram") else family.type
    return types


def nonsense(use: Use, kind: str) -> str | None:
    """What is wrong with doing that to a metric of this type."""
    rising = OF_COUNTERS.intersection(use.functions)
    if kind != "counter" and rising:
        return f"{rising} of a {kind}"
    if kind == "counter" and not rising:
        return "a counter as it is says how long the server runs"
    if kind == "counter" and OF_GAUGES.intersection(use.functions[-1:]):
        return f"{use.functions[-1]} of a counter"
    if ("histogram_quantile" in use.functions) != use.metric.endswith("_bucket"):
        return "quantiles are those of buckets"
    return None


def test_expressions_speak_of_what_a_server_has(scraped: str) -> None:
    types = types_of(scraped)
    problems = []
    for where, expression in EXPRESSIONS:
        found = uses(expression)
        assert found, f"{where}: no metric in {expression}"
        for use in found:
            if use.metric not in types:
                problems.append(f"{where}: {use.metric} is not there")
            elif problem := nonsense(use, types[use.metric]):
                problems.append(f"{where}: {use.metric}: {problem}")
    assert problems == []


def test_every_figure_of_ours_is_on_the_dashboard(scraped: str) -> None:
    shown = {use.metric for panel in panels() for target in panel.get("targets", ()) for use in uses(target["expr"])}
    ours = {name for name in types_of(scraped) if name.startswith("braingame_")}
    assert {name for name in ours if not name.endswith(("_sum", "_count"))} <= shown


def test_figures_are_as_prometheus_wants_them(scraped: str) -> None:
    result = promtool("check", "metrics", text=scraped)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_alerts_fire_on_what_they_are_for_and_not_on_a_server_that_is_well() -> None:
    for arguments in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        result = promtool(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
    tested = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    quiet, *firing = [{case["alertname"] for case in test["alert_rule_test"]} for test in tested]
    names = {alert["alert"] for alert in ALERTS}
    assert quiet == names
    assert set().union(*firing) == names
    assert all(case["exp_alerts"] for test in tested[1:] for case in test["alert_rule_test"])


def test_example_of_a_scrape_config_is_one() -> None:
    result = promtool("check", "config", "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_expressions_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__\w+", "5m", expression)}
        for number, (_, expression) in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    result = promtool("check", "rules", str(file))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_leads_to_what_to_do(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert ROOT / page == RUNBOOK
    assert alert["labels"]["severity"] in ("page", "ticket")
    text = RUNBOOK.read_text(encoding="utf-8")
    sections = re.split(r"^#+ (.+)$", text.partition("## When an alert fires")[2], flags=re.MULTILINE)[1:]
    by_anchor = {title.lower(): body for title, body in zip(sections[::2], sections[1::2], strict=True)}
    body = by_anchor[anchor]
    assert anchor == alert["alert"].lower()
    for part in ("Means:", "Players notice:", "Look at:", "Do:"):
        assert part in body, f"{alert['alert']}: {part}"


def test_runbook_has_no_alert_that_there_is_not() -> None:
    titles = re.findall(r"^### (BrainGame\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert titles == [alert["alert"] for alert in ALERTS]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up == 0", [("up", ())]),
        ('max by (job, part) (a{b="c"}) > 1', [("a", ("max",))]),
        ("histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))", [("a_bucket", ("histogram_quantile", "rate"))]),
        ("sum(rate(a[5m])) / sum(rate(b[5m])) and time() - c > 2", None),
        ('a{x="}) rate(z"} unless on (job) b', [("a", ()), ("b", ())]),
    ],
)
def test_metrics_of_an_expression_are_found(
    expression: str, expected: list[tuple[str, tuple[str, ...]]] | None
) -> None:
    found = uses(expression)
    if expected is None:
        assert [use.metric for use in found] == ["a", "b", "c"]
    else:
        assert [use.metric for use in found] == [metric for metric, _ in expected]
        assert all(set(functions) <= set(use.functions) for use, (_, functions) in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("use", "kind"),
    [
        (Use("a", ("rate",)), "gauge"),
        (Use("a_total", ("sum",)), "counter"),
        (Use("a_count", ("histogram_quantile", "rate")), "counter"),
        (Use("a_bucket", ("sum", "rate")), "counter"),
    ],
)
def test_nonsense_is_found(use: Use, kind: str) -> None:
    assert nonsense(use, kind)
