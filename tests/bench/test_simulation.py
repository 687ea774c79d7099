"""The simulation of workers and stores keeps the laws of queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.simulation import Costs, Layout, fitted, simulate

COSTS = Costs(
    load_action=5e-6, server_wake=40e-6, server_action=50e-6, stores_batch=150e-6, stores_action=20e-6, sync=200e-6
)
#: More than a batch holds, so that the worker has something to do while one is committed.
HERE = Layout(players=1500, workers=[[0]], load=[1], stores=[2])


def test_busy_worker_does_what_fits_into_its_core() -> None:
    found = simulate(HERE, COSTS)
    # A closed loop: wakes and actions fill the core, and nearly no wake is for one action alone.
    assert found.actions_per_second == pytest.approx(1e6 / found.us_server, rel=0.05)
    assert 50 <= found.us_server <= 55
    # Little's law: so many players, each with one action under way.
    assert found.p50_ms == pytest.approx(HERE.players / found.actions_per_second * 1000, rel=0.15)


def test_idle_worker_does_what_is_asked_and_shares_less() -> None:
    quiet, busy = (simulate(replace(HERE, rate=rate), COSTS) for rate in (500.0, 10_000.0))
    assert quiet.actions_per_second == pytest.approx(500, rel=0.1)
    assert busy.actions_per_second == pytest.approx(10_000, rel=0.05)
    assert quiet.batches > busy.batches
    assert quiet.us_server > busy.us_server
    assert quiet.p50_ms < busy.p50_ms


def test_second_worker_on_a_core_of_its_own_doubles_what_is_done() -> None:
    one = simulate(HERE, COSTS)
    two = simulate(replace(HERE, players=3000, workers=[[0], [3]], stores=[2, 4]), COSTS)
    assert two.actions_per_second == pytest.approx(2 * one.actions_per_second, rel=0.05)
    shared = simulate(replace(HERE, players=3000, workers=[[0], [0]]), COSTS)
    assert shared.actions_per_second == pytest.approx(one.actions_per_second, rel=0.05)


def test_costs_are_found_again_from_what_they_cause() -> None:
    full, some = simulate(HERE, COSTS), simulate(replace(HERE, rate=5000.0), COSTS)
    closed = {
        "actions_per_second": full.actions_per_second,
        "generator": COSTS.load_action * full.actions_per_second,
        "us_server": full.us_server,
        "us_stores": full.us_stores,
    }
    half = {
        "actions_per_second": some.actions_per_second,
        "us_server": some.us_server,
        "us_stores": some.us_stores,
    }
    found = fitted(closed, half, HERE, COSTS.sync)
    assert found.server_action == pytest.approx(COSTS.server_action, rel=0.1)
    assert found.server_wake == pytest.approx(COSTS.server_wake, rel=0.3)
    assert found.stores_action == pytest.approx(COSTS.stores_action, rel=0.1)
