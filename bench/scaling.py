"""docs/scaling.md, written from the kept results: what one node, ten and a thousand carry, and what gives out first.

    python -m bench.scaling

Nothing is measured here. Arithmetic on measured costs, and on assumptions about machines that nobody here has, which
the page names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.capacity import (
    ACTIONS_OF_A_SESSION,
    BOARD_HZ,
    CORES_OF_A_NODE,
    CORES_OF_POSTGRESQL,
    DELTA_BYTES,
    ENTRIES_OF_A_SESSION,
    LOG_BYTES_A_SECOND,
    NETWORK_BYTES_A_SECOND,
    NOTICES_HZ,
    REPLICATION,
    USE,
    Costs,
    first_to_give_out,
    notices_cpu,
    parts,
    spectators_of,
    sweeps_cpu,
)
from bench.machine import ROOT
from bench.pages import picture, plain, set_up, shown, table
from bench.results import kept

_PAGE: Final = ROOT / "docs" / "scaling.md"


def _round(value: float) -> str:
    """Two digits that count: these are no measurements."""
    if value < 100:
        return f"{value:.2g}"
    digits = len(str(int(value))) - 2
    return f"{int(round(value, -digits)):,}"


def _costs(costs: Costs) -> str:
    rows = [
        ["an action, server's core", f"{shown(costs.us_action)} us", "sizes, one worker at half load"],
        ["an action, stores' core", f"{shown(costs.us_stores)} us", "the same"],
        [
            "an action in PostgreSQL's log; kept for good",
            f"{shown(costs.log_bytes)}; {shown(costs.kept_bytes)} bytes",
            "volumes",
        ],
        ["a delta of 1 KB to one spectator", f"{shown(costs.us_delivery, 1)} us", "fanout, 8,000 spectators"],
        ["a connection with a token", f"{shown(costs.us_connect)} us", "connections"],
        [
            "an idle spectator; player",
            f"{shown(costs.spectator_bytes / 1000, 1)}; {shown(costs.player_bytes / 1000, 1)} KB",
            "connections",
        ],
        ["an entry of a board in Redis", f"{shown(costs.entry_bytes)} bytes", "volumes"],
        ["a password, bcrypt at cost 12", f"{shown(1000 / costs.passwords)} ms of a core", "logins"],
        ["a notice to one node, Redis", f"{shown(costs.us_notice, 2)} us", "nodes"],
        [
            "a node more that follows three boards, stores",
            f"{shown(costs.follower_cpu * 1000, 1)} ms of a core each second",
            "nodes",
        ],
        ["a changed entry that a sweep reads, PostgreSQL", f"{shown(costs.us_swept, 1)} us", "nodes"],
    ]
    return table(["what", "cost", "measured by bench."], rows)


def _sizes(costs: Costs) -> str:
    rows = []
    for nodes in (1, 10, 100, 1000):
        first = first_to_give_out(nodes, costs)
        by_cores, by_network = spectators_of(nodes, costs)
        rows.append(
            [
                shown(nodes),
                _round(next(parts(nodes, costs)).actions),
                f"{_round(first.actions)}: {first.name}",
                _round(min(by_cores, by_network)) + (": cores" if by_cores < by_network else ": network"),
                f"{notices_cpu(nodes, costs):.2g}",
                f"{nodes * costs.follower_cpu:.2g}",
            ]
        )
    heads = [
        "nodes of 8 cores",
        "actions/s, by the nodes' cores",
        "actions/s, all parts: what gives out first",
        "spectators of a board that never rests",
        "cores of Redis for notices",
        "cores of the stores for nodes that follow",
    ]
    return table(heads, rows)


def _simulated(simulation: Mapping[str, Any]) -> str:
    rows = []
    for each in simulation["held"]:
        predicted, measured = each["predicted"]["actions_per_second"], each["measured"]["actions_per_second"]
        rows.append([each["workers"], shown(predicted), shown(measured), f"{predicted / measured - 1:+.0%}"])
    return table(["workers on two cores", "predicted actions/s", "measured", "off by"], rows)


def _curve(costs: Costs) -> str:
    counts = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for index, (part, label) in enumerate(
            [
                ("the nodes' cores", "nodes"),
                ("PostgreSQL's cores", "PostgreSQL, cores"),
                ("PostgreSQL's log", "PostgreSQL, log"),
            ]
        ):
            values = [next(p.actions for p in parts(count, costs) if p.name == part) for count in counts]
            left.plot(counts, values, "-o" if index == 0 else "--", label=label)
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_xlabel("nodes", fontsize=8)
        left.legend(fontsize=8, frameon=False)
        plain(left, "actions a second that each lets pass")
        right.plot(counts, [notices_cpu(count, costs) for count in counts], label="Redis: notices")
        right.plot(counts, [count * costs.follower_cpu for count in counts], label="stores: boards read")
        top = first_to_give_out(1000, costs).actions
        right.plot(counts, [sweeps_cpu(1, top, costs) for _ in counts], label="PostgreSQL: one sweeps")
        right.plot(counts, [sweeps_cpu(count, top, costs) for count in counts], ":", label="… if each did")
        right.axhline(1, color="#444444", linewidth=0.5)
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("nodes", fontsize=8)
        right.legend(fontsize=8, frameon=False)
        plain(right, "cores busy between nodes")

    return picture("scaling", draw)


def _redis_full(costs: Costs) -> int:
    """With how many nodes that all play one core of Redis is full of notices."""
    return int((1e6 * USE / NOTICES_HZ / costs.us_notice) ** 0.5)


def page(costs: Costs, simulation: Mapping[str, Any]) -> str:
    """The whole page."""
    one = first_to_give_out(1, costs).actions
    postgres = min((part for part in parts(1000, costs) if part.name != "the nodes' cores"), key=lambda p: p.actions)
    full_at = int(postgres.actions / one) + 1
    by_cores, _ = spectators_of(1, costs)
    network = by_cores * BOARD_HZ * DELTA_BYTES * 8 / 1e9
    log_a_day = costs.kept_bytes * one * 86_400 / 1e9
    return f"""# How far it carries

Written by `make bench` (`python -m bench.scaling`) from `bench/results/`; do not edit it by hand. What was measured stands in
[benchmarks.md](benchmarks.md), on a machine with two cores. **Everything here about more than two cores is arithmetic on those
figures, not a measurement**: it says what will give out first and what is to be done then, not what you will get.

## What things cost

{_costs(costs)}
Assumed: a node has {CORES_OF_A_NODE} cores with a worker on each and {shown(NETWORK_BYTES_A_SECOND * 8 / 1e9)} Gbit/s; PostgreSQL has {CORES_OF_POSTGRESQL} cores and a log of
{shown(LOG_BYTES_A_SECOND / 1e6)} MB a second (to its disk and to {REPLICATION}); no core is used by more than {USE:.0%}, which is where latencies still
hold. A session is {ACTIONS_OF_A_SESSION} actions and betters {ENTRIES_OF_A_SESSION:g} entry. Memory is never the limit: a hundred thousand spectators are
{shown(costs.spectator_bytes * 1e5 / 1e9, 1)} GB in the servers, ten million entries of a board {shown(costs.entry_bytes * 1e7 / 1e9, 1)} GB in Redis.

## One, ten, a thousand

{_sizes(costs)}{_curve(costs)}
**One node.** Its cores give out first, at {_round(one)} actions a second: as many people who act once a second, or sixty times as many who
play stages of a minute. {_round(by_cores)} people may watch a board that changes all the time; that is {network:.1f} Gbit/s. They share the cores,
so half of both is what one node does at a time. Logins are {_round(costs.passwords * CORES_OF_A_NODE * USE)} a second if all cores did nothing else, so tokens that are
renewed (an hour, a month) matter more than anything else here: a connection with a token costs {shown(costs.us_connect)} us, {_round(1e6 / costs.passwords / costs.us_connect)} times less.
At its limit all day it keeps {_round(log_a_day)} GB of log a day.

**Ten nodes.** Add workers on one machine while it has cores, then nodes; nothing is shared but the stores. Up to {full_at} busy nodes the
nodes' cores are the limit. Then it is {postgres.name} ({postgres.why}): {_round(postgres.actions)} actions a second in all.
Redis is not busy yet: notices take {notices_cpu(10, costs):.2g} of a core, the boards that ten nodes read {10 * costs.follower_cpu:.2g}. Put Valkey and PostgreSQL on machines of their
own before the second node.

**A thousand nodes** that all play are {_round(next(parts(1000, costs)).actions)} actions a second in their cores, and three parts between them have given out:
1. *PostgreSQL*, after {full_at} nodes. A single primary takes each commit. Partition by player: `sessions`, `session_events` and
   `ladder_entries` are all keyed by number and no action touches two players, so a range of numbers can live on a primary of its own
   (a `DATABASE_URL` for each; accounts, logins and the deployment stay together). The commit queue is one for each
   worker already and would be one for each worker and partition. {int(next(parts(1000, costs)).actions / postgres.actions) + 1} primaries for a thousand full nodes.
2. *Notices*: each of N busy nodes tells all others {NOTICES_HZ} times a second, so they grow with N squared. One core of Redis is full at
   {_redis_full(costs)} nodes. Before that: spectators on edge nodes that tell nothing; a Redis Cluster spreads ladders and the board's own channels over
   slots; and what a node tells about sessions concerns only the few where that player is, so a channel for each range of
   players would do.
3. *Boards that are read*: each node reads each board that is followed there {BOARD_HZ} times a second. A thousand nodes that follow three boards
   are {_round(1000 * costs.follower_cpu)} cores of stores. A cluster spreads the boards over slots, but one board is one slot: the state that one
   node has read would have to be passed on (a node in a region reads, the edges are told the delta), which the delta's
   epoch and version allow as it is.

Sweeps do not grow with the number of nodes, since one of them sweeps for all: {sweeps_cpu(1, postgres.actions, costs):.2g} cores of PostgreSQL at its limit. (If each node did,
{full_at} of them would take {sweeps_cpu(full_at, postgres.actions, costs):.2g} cores, which is why it was changed.) Reads that may be late (the operators' page, history, audits) can
go to a replica; nothing else may, since a refusal is given on a state that was just read.

None of 1 to 3 is built. They are what this design leaves open, in the order in which they will be needed.

## How far the simulation can be believed

`bench/simulation.py` plays players, workers, batches and cores in a discrete simulation. Its five costs are fitted to one worker's CPU times alone;
that rates and times come out right is the test. Where it is far off, as for one worker on a fast machine, it errs on the low side; why was
not found out.

{_simulated(simulation)}
It knows nothing of contention inside PostgreSQL (locks of the log, hot index pages), of memory bandwidth, or of networks with a delay. All three make
large machines slower than it says.
"""


def main() -> None:
    """Write it."""
    set_up()
    _PAGE.write_text(page(Costs.measured(), kept("simulation")))
    print(f"{_PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
