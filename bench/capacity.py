"""What a number of nodes can carry, by arithmetic on measured costs and on assumptions about machines.

Nothing is measured or written here: bench/scaling.py makes docs/scaling.md of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.results import kept

#: Of a core that is to keep its latencies; what bench/throughput calls half load and nine tenths lie around it.
USE: Final = 0.7
#: Boards that change are sent so many times a second.
BOARD_HZ: Final = 10
#: Of 1 KB, with the headers below it (TCP, IP, Ethernet).
DELTA_BYTES: Final = 1100
#: server/nodes.py: notices a second of a node on which somebody plays.
NOTICES_HZ: Final = 20
#: A session of three stages: its start and three completes.
ACTIONS_OF_A_SESSION: Final = 4
#: Best entries that a session betters: few do on any board; a new player's first one does on all six.
ENTRIES_OF_A_SESSION: Final = 1.0
#: What is assumed of machines.
CORES_OF_A_NODE: Final = 8
CORES_OF_POSTGRESQL: Final = 32
LOG_BYTES_A_SECOND: Final = 300e6
NETWORK_BYTES_A_SECOND: Final = 10e9 / 8
REPLICATION: Final = "one standby that confirms each commit"


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds and bytes, as measured."""

    us_action: float
    us_stores: float
    us_delivery: float
    us_connect: float
    log_bytes: float
    kept_bytes: float
    entry_bytes: float
    spectator_bytes: float
    player_bytes: float
    us_notice: float
    us_swept: float
    follower_cpu: float
    passwords: float

    @classmethod
    def measured(cls) -> Costs:
        """From bench/results."""
        volumes, nodes = kept("volumes"), kept("nodes")
        one = kept("sizes")["workers"]["1"]
        connections = kept("connections")
        fanout = kept("fanout")
        return cls(
            # At half load, where latencies are kept: fewer share a wake and a batch then.
            us_action=_median(one, "half_us_server"),
            us_stores=_median(one, "half_us_stores"),
            us_delivery=_median(fanout["8000"]["ours"], "us_a_delivery"),
            us_connect=_median([each["arrivals"] for each in connections], "us_cpu"),
            log_bytes=volumes["wal_bytes_an_action"],
            kept_bytes=volumes["kept_bytes_an_action"],
            entry_bytes=volumes["redis_bytes_an_entry"],
            spectator_bytes=_median([each["idle"] for each in connections], "spectator_bytes"),
            player_bytes=_median([each["idle"] for each in connections], "player_bytes"),
            us_notice=statistics.median(nodes["us_a_notice"]),
            us_swept=statistics.median(nodes["us_an_entry"]),
            follower_cpu=_slope(nodes["nodes"]),
            passwords=_median(kept("logins")["samples"], "bound_a_second"),
        )


def _median(samples: Sequence[Mapping[str, float]], name: str) -> float:
    return statistics.median(sample[name] for sample in samples)


def _slope(samples: Mapping[str, list[dict[str, float]]]) -> float:
    """Share of a core by which the stores are busier for each node more, by least squares; never negative."""
    points = [(int(count), _median(each, "stores_cpu")) for count, each in samples.items()]
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return max(0.0, sum((x - middle_x) * (y - middle_y) for x, y in points) / spread) if spread else 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """What can give out: how many actions a second it lets pass, and what that is reckoned from."""

    name: str
    actions: float
    why: str


def parts(nodes: int, costs: Costs) -> Iterator[Part]:
    """Each part's limit, with so many nodes that all play, and share one PostgreSQL and one Redis."""
    workers = nodes * CORES_OF_A_NODE
    yield Part(
        "the nodes' cores",
        workers * USE * 1e6 / costs.us_action,
        f"{workers:,} workers, {costs.us_action:,.0f} us an action",
    )
    yield Part(
        "PostgreSQL's cores",
        CORES_OF_POSTGRESQL * USE * 1e6 / costs.us_stores,
        f"{CORES_OF_POSTGRESQL} cores, {costs.us_stores:,.0f} us an action",
    )
    yield Part(
        "PostgreSQL's log",
        LOG_BYTES_A_SECOND / costs.log_bytes,
        f"{costs.log_bytes:,.0f} bytes an action, {LOG_BYTES_A_SECOND / 1e6:,.0f} MB a second to disk and standby",
    )


def first_to_give_out(nodes: int, costs: Costs) -> Part:
    """The part with the lowest limit."""
    return min(parts(nodes, costs), key=lambda part: part.actions)


def notices_cpu(nodes: int, costs: Costs) -> float:
    """Cores of Redis that are busy with telling every node what every node has changed."""
    return nodes * nodes * NOTICES_HZ * costs.us_notice / 1e6


def sweeps_cpu(sweepers: int, actions: float, costs: Costs) -> float:
    """Cores of PostgreSQL that read what has changed, once for each node that sweeps."""
    entries = actions / ACTIONS_OF_A_SESSION * ENTRIES_OF_A_SESSION
    return sweepers * entries * costs.us_swept / 1e6


def spectators_of(nodes: int, costs: Costs) -> tuple[float, float]:
    """How many may follow a board that changes all the time: by the nodes' cores, and by their network."""
    by_cores = nodes * CORES_OF_A_NODE * USE * 1e6 / costs.us_delivery / BOARD_HZ
    by_network = nodes * USE * NETWORK_BYTES_A_SECOND / DELTA_BYTES / BOARD_HZ
    return by_cores, by_network
