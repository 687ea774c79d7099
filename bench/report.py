"""docs/benchmarks.md and its pictures, written from the kept results.

    python -m bench.report

Nothing is measured here. Medians, and from the least to the most in brackets.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.machine import ROOT
from bench.pages import (
    BARE,
    OTHERS,
    OURS,
    Sample,
    bars,
    goal,
    median,
    middle_of,
    picture,
    plain,
    set_up,
    shown,
    spread,
    table,
)
from bench.results import FOLDER

_PAGE: Final = ROOT / "docs" / "benchmarks.md"
#: Of bench/hot_paths.py.
_PATHS: Final = ("action", "ping", "delivery", "connect")
_INTRO: Final = """# Benchmarks

Written by `make bench`, which measures all of this and takes about an hour; `make bench ARGS="fanout --rounds 5"` measures one part,
`make bench ARGS=report` writes this page again from `bench/results/`. Do not edit it by hand.

Each figure is the median of its rounds, in brackets the least and the most; without brackets there was one round. What is compared was run in turn, in one
run. The server, ours or a peer, has one core; PostgreSQL, Valkey and the load have the other. So the stores' time counts against all
alike, and a maximum is a maximum of this machine, not of the software: **read ratios, not figures**.
"""


def _throughput(found: dict[str, Any]) -> str:
    closed, loads, commits = found["closed"], found["open"], found["commits_a_second"]
    rates = {name: [sample["actions_per_second"] for sample in samples] for name, samples in closed.items()}
    best = max(statistics.median(values) for name, values in rates.items() if name != "Brain Game")
    ours = statistics.median(rates["Brain Game"])
    rows = [
        [
            name,
            spread(rates[name]),
            middle_of(samples, "p50_ms"),
            middle_of(samples, "p99_ms"),
            middle_of(samples, "us_server"),
            middle_of(samples, "us_stores"),
            middle_of(samples, "generator", 2),
        ]
        for name, samples in closed.items()
    ]
    rows.append(["limit: group commit alone", spread(commits), "", "", "", "", ""])
    heads = ["closed loop", "actions/s", "p50 ms", "p99 ms", "server us", "stores us", "load's share of its core"]
    open_rows = [
        [
            name,
            label,
            middle_of(samples, "actions_per_second"),
            middle_of(samples, "p50_ms", 1),
            middle_of(samples, "p99_ms", 1),
        ]
        for name, each in loads.items()
        for label, samples in each.items()
    ]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        bars(left, rates | {"limit": commits}, "durable actions a second, closed loop")
        places = range(len(loads))
        for shift, part, colour in ((-0.2, "p50_ms", OTHERS), (0.2, "p99_ms", OURS)):
            values = [median(each["half"], part) for each in loads.values()]
            right.barh([place + shift for place in places], values, 0.38, color=colour, label=part[:3])
            for place, value in zip(places, values, strict=True):
                right.text(value, place + shift, f" {shown(value)}", va="center", fontsize=7)
        right.set_yticks(list(places), list(loads))
        right.invert_yaxis()
        right.legend(fontsize=8, frameon=False)
        plain(right, "ms to an acknowledgement at half load")

    half = median(loads["Brain Game"]["half"], "p99_ms")
    return (
        f"## Durable actions\n\n{found['players']:,} players; each action is answered after its commit (fsync on) and shows on "
        "a board in Redis. The peers do the same job as their documentation teaches (`bench/peers/`). The limit is our own commit with "
        "no socket, no message and no board around it, on the server's core.\n\n"
        + table(heads, rows)
        + picture("throughput", draw)
        + "\nAn open loop: actions fall due at random times whatever the server does, at half and nine tenths of its own maximum.\n\n"
        + table(["server", "load", "actions/s", "p50 ms", "p99 ms"], open_rows)
        + "\n"
        + goal(ours >= 4 * best, f"4 times the best peer; {ours / best:.1f} times")
        + goal(ours >= 20_000, f"20,000 actions a second with one worker; {shown(ours)}")
        + goal(half < 15, f"p99 below 15 ms at half load; {shown(half, 1)} ms")
    )


def _fanout(found: dict[str, Any]) -> str:
    rows, ratios = [], {}
    for count, kinds in found.items():
        ours, bare = kinds["ours"], kinds["bare"]
        ratios[count] = median(ours, "us_a_delivery") / median(bare, "us_a_delivery")
        rows.append(
            [
                shown(int(count)),
                middle_of(ours, "us_a_delivery", 1),
                middle_of(bare, "us_a_delivery", 1),
                middle_of(kinds["kernel"], "us_a_delivery", 1),
                f"{ratios[count]:.2f}",
                middle_of(ours, "spread_p50_ms"),
                middle_of(ours, "spread_p99_ms"),
            ]
        )
    heads = [
        "spectators",
        "ours, us a delivery",
        "bare write, us",
        "write(2) alone, us",
        "ratio to the bare write",
        "to the last one, p50 ms",
        "p99 ms",
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(found))
        for shift, kind, colour in ((-0.27, "ours", OURS), (0.0, "bare", BARE), (0.27, "kernel", OTHERS)):
            values = [median(kinds[kind], "us_a_delivery") for kinds in found.values()]
            axes.barh([place + shift for place in places], values, 0.25, color=colour, label=kind)
        axes.set_yticks(list(places), [f"{int(count):,} spectators" for count in found])
        axes.invert_yaxis()
        axes.legend(fontsize=8, frameon=False)
        plain(axes, "us of CPU for a delivery of 1 KB")

    return (
        "## Fan-out\n\nA delta of 1 KB four times a second; the server's CPU time for each delivery, without what it takes with one spectator. "
        "The limit is a uvloop server that writes a prepared frame of the same length, and does nothing else; below it lies the kernel, which "
        "takes a frame by write(2) and passes it on to the reader within the same call on loopback. To the last one: "
        "from a delta's arrival at the first spectator to its arrival at the last.\n\n"
        + table(heads, rows)
        + picture("fan-out", draw, height=2.2)
        + "\n"
        + "".join(
            goal(ratio <= 1.25, f"{int(count):,} spectators within 1.25 of the bare write; {ratio:.2f}")
            for count, ratio in ratios.items()
        )
    )


def _staleness(found: dict[str, Any]) -> str:
    samples = found["samples"]
    worst = median(samples, "staleness_p99_ms")
    return (
        f"## Staleness\n\nFrom a player's acknowledgement to the change on a spectator's wire, with {found['spectators']:,} spectators and "
        f"{found['players']:,} players who act {found['rate']:,.0f} times a second in all. Boards are sent ten times a second, so the mean of a server that costs "
        "nothing would be 50 ms, and its p99 99.\n\n"
        + table(
            ["", "p50 ms", "p99 ms"],
            [
                [
                    "acknowledged to seen",
                    middle_of(samples, "staleness_p50_ms"),
                    middle_of(samples, "staleness_p99_ms"),
                ],
                ["sent to acknowledged", middle_of(samples, "p50_ms"), middle_of(samples, "p99_ms")],
            ],
        )
        + "\n"
        + goal(worst < 150, f"p99 below 150 ms; {shown(worst)} ms")
    )


def _connections(samples: list[dict[str, Sample]]) -> str:
    idle, came, storm = ([sample[part] for sample in samples] for part in ("idle", "arrivals", "storm"))
    rate = median(came, "a_second")
    spectator, player = (median(idle, f"{who}_bytes") / 1000 for who in ("spectator", "player"))
    rows = [
        ["idle spectator, KB", middle_of(idle, "spectator_bytes", 1, 1e-3)],
        ["idle player in a session, KB", middle_of(idle, "player_bytes", 1, 1e-3)],
        ["connected with a token, each second", middle_of(came, "a_second")],
        ["… the server's CPU time for each, us", middle_of(came, "us_cpu")],
        ["… the load's share of its core", middle_of(came, "generator", 2)],
        ["5,000 cut off at once are back after, s", middle_of(storm, "seconds", 1)],
    ]
    return (
        "## Connections\n\nMemory is what the server process grows by (resident), without the kernel's part. Tokens are each another one.\n\n"
        + table(["", ""], rows)
        + "\n"
        + goal(spectator <= 15 and player <= 20, f"15 KB a spectator, 20 KB a player; {spectator:.1f} and {player:.1f}")
        + goal(rate >= 2000, f"2,000 authenticated connections a second; {shown(rate)}")
    )


def _sizes(found: dict[str, dict[str, list[Sample]]]) -> str:
    boards, sockets, workers = found["boards"], found["sockets"], found["workers"]

    def curve(axes: Axes, samples: dict[str, list[Sample]], names: dict[str, str], title: str) -> None:
        sizes = [int(size) for size in samples]
        for (name, label), colour in zip(names.items(), (OURS, BARE, OTHERS), strict=False):
            axes.plot(sizes, [median(each, name) for each in samples.values()], "o-", color=colour, label=label)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, frameon=False)
        plain(axes, title)

    def draw(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3)
        costs = {"us_server": "server", "us_stores": "stores"}
        curve(left, boards, costs, "us a session, by entries")
        curve(middle, boards, {"top_p50_ms": "top", "around_p50_ms": "around me"}, "ms a read, by entries")
        curve(right, sockets, {"us_server": "server"}, "us a session, by idle sockets")

    return (
        "## Cost against size\n\nA session of two actions that betters its player's entry on each of its boards; reads of ten rows. 50 players.\n\n"
        + table(
            ["entries on the board", "server us", "stores us", "top, ms", "around me, ms"],
            [
                [
                    shown(int(size)),
                    middle_of(each, "us_server"),
                    middle_of(each, "us_stores"),
                    middle_of(each, "top_p50_ms", 2),
                    middle_of(each, "around_p50_ms", 2),
                ]
                for size, each in boards.items()
            ],
        )
        + "\n"
        + table(
            ["idle spectators", "server us a session", "share of a core while nothing happens"],
            [
                [shown(int(size)), middle_of(each, "us_server"), middle_of(each, "idle_cpu", 3)]
                for size, each in sockets.items()
            ],
        )
        + picture("sizes", draw)
        + "\nWorkers: with two of them server, stores and load share both cores, so the second cannot bring what a core of its own would.\n\n"
        + table(
            ["workers", "actions/s", "server us an action", "stores us", "p99 ms at half of that"],
            [
                [
                    size,
                    middle_of(each, "actions_per_second"),
                    middle_of(each, "us_server"),
                    middle_of(each, "us_stores"),
                    middle_of(each, "half_p99_ms", 1),
                ]
                for size, each in workers.items()
            ],
        )
    )


def _logins(found: dict[str, Any]) -> str:
    samples = found["samples"]
    later = statistics.median(sample["stormy_p99_ms"] - sample["calm_p99_ms"] for sample in samples)
    rows = [
        ["passwords a second, bcrypt alone on the core", middle_of(samples, "bound_a_second", 1)],
        ["logins a second", middle_of(samples, "logins_a_second", 1)],
        ["p99 of an action without the storm, ms", middle_of(samples, "calm_p99_ms", 1)],
        ["p99 of an action in the storm, ms", middle_of(samples, "stormy_p99_ms", 1)],
    ]
    return (
        f"## Logins beside play\n\n{found['storm']} clients log in again and again (bcrypt at cost {found['cost']}), while {found['players']} players act "
        f"{found['rate']} times a second.\n\n"
        + table(["", ""], rows)
        + "\n"
        + goal(later <= 20, f"logins delay no action by more than 20 ms at p99; {later:.1f} ms")
    )


def _starts(found: dict[str, list[float]]) -> str:
    what = {
        "cold": "empty data folder: PostgreSQL's cluster is made first",
        "warm": "the same folder again",
        "external": "stores that run already",
    }
    return "## Starts\n\nSeconds to the line that it is ready.\n\n" + table(
        ["", "s"], [[what[name], spread(values, 1)] for name, values in found.items()]
    )


def _volumes(found: Sample) -> str:
    rows = [
        ["PostgreSQL's write-ahead log for an action, bytes", shown(found["wal_bytes_an_action"])],
        ["kept for an action (log with its indexes), bytes", shown(found["kept_bytes_an_action"])],
        ["Redis for an entry of a board, bytes", shown(found["redis_bytes_an_entry"])],
        ["a durable write of 8 KB on this disk, ms", shown(found["sync_ms"], 2)],
    ]
    return "## Volumes\n\n" + table(["", ""], rows)


def _simulation(found: dict[str, Any]) -> str:
    rows, off = [], []
    for each in found["held"]:
        predicted, measured = each["predicted"]["actions_per_second"], each["measured"]["actions_per_second"]
        off.append(predicted / measured - 1)
        rows.append(
            [
                each["workers"],
                shown(predicted),
                shown(measured),
                f"{off[-1]:+.0%}",
                shown(each["predicted_half"]["p50_ms"], 1),
                shown(each["measured"]["half_p50_ms"], 1),
            ]
        )
    heads = ["workers", "predicted actions/s", "measured", "off by", "predicted p50 at half, ms", "measured"]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        places = range(len(rows))
        for shift, name, colour in ((-0.2, "predicted", BARE), (0.2, "measured", OURS)):
            values = [each[name]["actions_per_second"] for each in found["held"]]
            left.bar([place + shift for place in places], values, 0.38, color=colour, label=name)
        left.set_xticks(list(places), [f"{each['workers']} workers" for each in found["held"]])
        left.legend(fontsize=8, frameon=False)
        plain(left, "actions a second on these two cores")
        elsewhere = found["elsewhere"]
        for cores in sorted({each["store_cores"] for each in elsewhere}):
            some = [each for each in elsewhere if each["store_cores"] == cores]
            right.plot(
                [each["workers"] for each in some],
                [each["actions_per_second"] for each in some],
                "o-",
                label=f"{cores} cores for the stores",
            )
        right.legend(fontsize=8, frameon=False)
        right.set_xlabel("workers, a core each", fontsize=8)
        plain(right, "simulated: actions a second")

    return (
        "## Simulation\n\n`bench/simulation.py`: costs are fitted to one worker's CPU times at half load and in the closed loop; rates and times are "
        "predicted. `scaling.md` says what follows.\n\n"
        + table(heads, rows)
        + picture("simulation", draw)
        + "\n"
        + table(
            ["workers, a core each", "cores of the stores", "actions/s, simulated", "p50 ms"],
            [
                [
                    str(each["workers"]),
                    str(each["store_cores"]),
                    shown(each["actions_per_second"]),
                    shown(each["p50_ms"]),
                ]
                for each in found["elsewhere"]
            ],
        )
    )


def _hot_paths(found: dict[str, dict[str, int]]) -> str:
    rows = [
        [python, *(shown(paths[name]) if name in paths else "" for name in _PATHS)] for python, paths in found.items()
    ]
    return (
        "## Hot paths\n\nInstructions of the server's own code, counted by callgrind: from a frame's bytes to its reply's bytes, with the network "
        "and PostgreSQL answered for. `make bench ARGS=hot_paths` fails when one has grown by more than 3 %.\n\n"
        + table(["", *_PATHS], rows)
    )


_SECTIONS: Final[dict[str, Callable[[Any], str]]] = {
    "throughput": _throughput,
    "fanout": _fanout,
    "staleness": _staleness,
    "connections": _connections,
    "sizes": _sizes,
    "logins": _logins,
    "starts": _starts,
    "volumes": _volumes,
    "simulation": _simulation,
}


def page(results: Path) -> str:
    """The whole page; what was not measured is said to be missing."""
    parts = [_INTRO]
    machines: dict[str, list[str]] = {}
    for name, section in _SECTIONS.items():
        path = results / f"{name}.json"
        if not path.exists():
            parts.append(f"## {name.title()}\n\nNot measured: `make bench ARGS={name}`.\n")
            continue
        kept = json.loads(path.read_text())
        parts.append(section(kept["figures"]))
        machine = ", ".join(f"{what} {value}" for what, value in kept["machine"].items())
        machines.setdefault(f"{machine}; {kept['measured_on']}", []).append(" ".join([name, *kept["flags"]]))
    parts.append(_hot_paths(json.loads((results / "hot_paths.json").read_text())))
    where = "".join(f"- {', '.join(names)}: {machine}\n" for machine, names in machines.items())
    parts.insert(1, f"Measured by `python -m bench.…`\n{where}")
    return "\n".join(parts)


def main() -> None:
    """Write it."""
    set_up()
    _PAGE.write_text(page(FOLDER))
    print(f"{_PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
