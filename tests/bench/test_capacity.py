"""The arithmetic of docs/scaling.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.capacity import Costs, first_to_give_out, notices_cpu, parts, spectators_of, sweeps_cpu

COSTS = Costs(
    us_action=100,
    us_stores=40,
    us_delivery=10,
    us_connect=400,
    log_bytes=600,
    kept_bytes=200,
    entry_bytes=150,
    spectator_bytes=9000,
    player_bytes=13000,
    us_notice=0.5,
    us_swept=2,
    follower_cpu=0.004,
    passwords=4,
)


def test_one_node_is_limited_by_its_own_cores_and_many_by_what_they_share() -> None:
    # 8 cores, 70 % of each, 100 us.
    assert first_to_give_out(1, COSTS).name == "the nodes' cores"
    assert first_to_give_out(1, COSTS).actions == pytest.approx(56_000)
    assert first_to_give_out(1000, COSTS).name == "PostgreSQL's log"
    assert first_to_give_out(1000, COSTS).actions == pytest.approx(500_000)


def test_part_that_costs_more_gives_out_first() -> None:
    assert first_to_give_out(1000, replace(COSTS, us_stores=4000)).name == "PostgreSQL's cores"


def test_only_the_nodes_own_part_grows_with_their_number() -> None:
    few, many = ({part.name: part.actions for part in parts(count, COSTS)} for count in (10, 100))
    grown = {name: many[name] / few[name] for name in few}
    assert grown.pop("the nodes' cores") == pytest.approx(10)
    assert set(grown.values()) == {1.0}


def test_notices_grow_with_the_square_of_the_nodes_and_sweeps_with_those_that_sweep() -> None:
    # 10 nodes tell 10 nodes 20 times a second.
    assert notices_cpu(10, COSTS) == pytest.approx(2000 * 0.5e-6)
    assert notices_cpu(100, COSTS) == pytest.approx(100 * notices_cpu(10, COSTS))
    assert sweeps_cpu(7, 4000, COSTS) == pytest.approx(7 * sweeps_cpu(1, 4000, COSTS))


def test_spectators_are_limited_by_cores_and_by_the_network() -> None:
    by_cores, by_network = spectators_of(2, COSTS)
    # 16 cores at 70 %, ten deltas a second of 10 us; 2 x 10 Gbit/s at 70 %, of 1,100 bytes.
    assert by_cores == pytest.approx(112_000)
    assert by_network == pytest.approx(2 * 0.7 * 1.25e9 / 11_000)
