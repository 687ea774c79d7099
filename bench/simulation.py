"""What more workers and more nodes would carry, simulated from what one of them was measured to cost.

    python -m bench.simulation

Players act, workers commit their actions in batches, one in flight each, PostgreSQL applies them; every process runs on
the cores that it may use, in turns with the others there. A process that wakes does all that waits for it: so much time
for the wake, and so much for each item. Those costs are fitted to two measured samples of one worker (bench/throughput:
half load and the closed loop), by CPU time alone. How many actions a second come out, and how long they take, is
predicted, and held against what was measured (bench/sizes: one worker and two). Then the same is done for machines that
nobody has measured. docs/scaling.md says what it means.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from bench.results import keep, kept
from bench.sockets import percentile

#: storage/commits.py: MAX_BATCH
_MAX_BATCH: Final = 512
#: Seconds for which a process keeps its core while others want it, about what Linux gives.
_SLICE: Final = 0.003
_WARM, _COUNTED = 1.0, 3.0
_FITTING_ROUNDS: Final = 6
#: As many as bench/sizes.py lets play against its workers.
PLAYERS: Final = 500

#: What is done next, and for how many seconds of CPU time; None: there is nothing to do.
Job = tuple[float, Callable[[], None]]
#: What bench/load.py found: figures by name.
Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of CPU time; `sync` is a wait."""

    load_action: float
    server_wake: float
    server_action: float
    #: The commit statement, and what Redis is told of it.
    stores_batch: float
    stores_action: float
    #: Until the log is on the disk.
    sync: float


@dataclass(frozen=True, slots=True)
class Layout:
    """How many of what, and where: cores by number, equal numbers are the same core."""

    players: int
    workers: Sequence[Sequence[int]]
    load: Sequence[int]
    stores: Sequence[int]
    #: Actions a second; None: a closed loop, each player waits for its answer.
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a layout carries."""

    actions_per_second: float
    p50_ms: float
    p99_ms: float
    us_server: float
    us_stores: float
    #: Times that a worker wakes, and batches, for each action.
    wakes: float
    batches: float


class _Process:
    """Runs on one of its cores while it has something to do."""

    def __init__(self, world: _World, cores: Sequence[int], next_job: Callable[[], Job | None]) -> None:
        self.cores = cores
        self.next_job = next_job
        self.left = 0.0
        self.then: Callable[[], None] | None = None
        self.used = 0.0
        self.jobs = 0
        self._world = world
        self._up = False

    def wake(self) -> None:
        if not self._up:
            self._up = True
            self._world.want_core(self)

    def has_work(self) -> bool:
        if self.then is None:
            job = self.next_job()
            if job is None:
                self._up = False
                return False
            self.left, self.then = job
            self.jobs += 1
        return True


class _World:
    """Time, and the cores."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._busy: set[int] = set()
        self._ready: deque[_Process] = deque()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), do))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until

    def want_core(self, process: _Process) -> None:
        self._ready.append(process)
        self._fill_cores()

    def _fill_cores(self) -> None:
        for _ in range(len(self._ready)):
            process = self._ready.popleft()
            core = next((core for core in process.cores if core not in self._busy), None)
            if core is None:
                self._ready.append(process)
            elif process.has_work():
                self._busy.add(core)
                self._slice(process, core)

    def _slice(self, process: _Process, core: int) -> None:
        spent = min(_SLICE, process.left)
        process.used += spent
        process.left -= spent
        self.at(self.now + spent, lambda: self._end_slice(process, core))

    def _end_slice(self, process: _Process, core: int) -> None:
        self._busy.remove(core)
        if process.left <= 0 and process.then is not None:
            then, process.then = process.then, None
            then()
        if process.has_work():
            self._ready.append(process)
        self._fill_cores()


class _Worker:
    """A worker, and the backend of PostgreSQL that has its batches."""

    def __init__(self, world: _World, layout: Layout, costs: Costs, cores: Sequence[int], load: _Load) -> None:
        self._world, self._costs, self._load = world, costs, load
        self._asked: deque[int] = deque()
        self._waiting: deque[int] = deque()
        self._outcomes: list[int] = []
        self._batch: list[int] | None = None
        self.server = _Process(world, cores, self._serve)
        self.backend = _Process(world, layout.stores, self._commit)
        self._sent: list[int] | None = None

    def ask(self, player: int) -> None:
        self._asked.append(player)
        self.server.wake()

    def _serve(self) -> Job | None:
        asked, self._asked = list(self._asked), deque()
        outcomes, self._outcomes = self._outcomes, []
        if not asked and not outcomes:
            return None
        if outcomes:
            self._batch = None

        def then() -> None:
            self._waiting.extend(asked)
            if self._batch is None and self._waiting:
                count = min(_MAX_BATCH, len(self._waiting))
                self._batch = self._sent = [self._waiting.popleft() for _ in range(count)]
                self.backend.wake()
            if outcomes:
                self._load.answer(outcomes)

        # An action costs half of it on its way in, and half on its way out.
        halves = len(asked) + len(outcomes)
        return self._costs.server_wake + self._costs.server_action * halves / 2, then

    def _commit(self) -> Job | None:
        batch, self._sent = self._sent, None
        if batch is None:
            return None

        def synced() -> None:
            self._outcomes = batch
            self.server.wake()

        def then() -> None:
            self._world.at(self._world.now + self._costs.sync, synced)

        return self._costs.stores_batch + self._costs.stores_action * len(batch), then


class _Load:
    """All players, in one process."""

    def __init__(self, world: _World, layout: Layout, costs: Costs) -> None:
        self._world, self._layout, self._costs = world, layout, costs
        self._due: list[deque[float]] = [deque() for _ in range(layout.players)]
        self._heard: list[int] = []
        self._to_send: list[int] = []
        self._process = _Process(world, layout.load, self._handle)
        self._draw = random.Random(1)  # noqa: S311
        self.workers = [_Worker(world, layout, costs, cores, self) for cores in layout.workers]
        self.latencies: list[float] = []

    def start(self) -> None:
        if self._layout.rate is None:
            for player in range(self._layout.players):
                self._due[player].append(0.0)
                self._send(player)
        else:
            self._fall_due(0)

    def _fall_due(self, player: int) -> None:
        assert self._layout.rate is not None  # noqa: S101
        self._due[player].append(self._world.now)
        if len(self._due[player]) == 1:
            self._send(player)
        following = (player + 1) % self._layout.players
        self._world.at(self._world.now + self._draw.expovariate(self._layout.rate), lambda: self._fall_due(following))

    def _send(self, player: int) -> None:
        self._to_send.append(player)
        self._process.wake()

    def answer(self, players: list[int]) -> None:
        self._heard += players
        self._process.wake()

    def _handle(self) -> Job | None:
        heard, self._heard = self._heard, []
        sent, self._to_send = self._to_send, []
        if not heard and not sent:
            return None

        def then() -> None:
            for player in heard:
                self.latencies.append(self._world.now - self._due[player].popleft())
                if self._layout.rate is None:
                    self._due[player].append(self._world.now)
                if self._due[player]:
                    sent.append(player)
            for player in sent:
                self.workers[player % len(self.workers)].ask(player)

        return self._costs.load_action * (len(heard) + len(sent)) / 2, then


def simulate(layout: Layout, costs: Costs) -> Outcome:
    """Let players play for some seconds, of which the first is not counted."""
    world = _World()
    load = _Load(world, layout, costs)
    load.start()
    world.run(_WARM)
    load.latencies.clear()
    servers, backends = [one.server for one in load.workers], [one.backend for one in load.workers]
    before = [_spent(servers), _spent(backends)]
    world.run(_WARM + _COUNTED)
    (server, wakes), (stores, batches) = (
        (used - used_before, jobs - jobs_before)
        for (used, jobs), (used_before, jobs_before) in zip([_spent(servers), _spent(backends)], before, strict=True)
    )
    latencies = sorted(load.latencies)
    count = max(1, len(latencies))
    return Outcome(
        len(latencies) / _COUNTED,
        percentile(latencies, 0.5) * 1000,
        percentile(latencies, 0.99) * 1000,
        server / count * 1e6,
        stores / count * 1e6,
        wakes / count,
        batches / count,
    )


def _spent(processes: Sequence[_Process]) -> tuple[float, int]:
    return sum(process.used for process in processes), sum(process.jobs for process in processes)


def fitted(closed: Sample, half: Sample, here: Layout, sync: float) -> Costs:
    """Costs with which one worker takes as much CPU time for an action as it did, at half load and in the closed loop.

    At half load fewer share a wake and a batch, so the difference between the two tells what those cost.
    """
    load_action = closed["generator"] / closed["actions_per_second"]
    server, stores = closed["us_server"] / 1e6, closed["us_stores"] / 1e6
    costs = Costs(load_action, 0.0, server, 0.0, stores, sync)
    for _ in range(_FITTING_ROUNDS):
        full = simulate(here, costs)
        some = simulate(replace(here, rate=half["actions_per_second"]), costs)
        wake, action = _line((full.wakes, closed["us_server"]), (some.wakes, half["us_server"]))
        batch, row = _line((full.batches, closed["us_stores"]), (some.batches, half["us_stores"]))
        costs = Costs(load_action, wake / 1e6, action / 1e6, batch / 1e6, row / 1e6, sync)
    return costs


def _line(full: tuple[float, float], some: tuple[float, float]) -> tuple[float, float]:
    """Slope and height of the line through both points; never negative."""
    (x, y), (more_x, more_y) = full, some
    slope = max(0.0, (more_y - y) / (more_x - x)) if more_x > x else 0.0
    slope = min(slope, y / x)
    return slope, y - slope * x


def _median(samples: Sequence[Sample]) -> Sample:
    return {name: statistics.median(sample[name] for sample in samples) for name in samples[0]}


def predict(workers: dict[str, list[Sample]], players: int, sync: float) -> dict[str, Any]:
    """What is predicted for the machine of the samples, one worker and two, beside what was measured there; and for
    machines with more cores, where load and stores are elsewhere."""
    one, two = (_median(workers[count]) for count in ("1", "2"))
    half = {name.removeprefix("half_"): value for name, value in one.items() if name.startswith("half_")}
    here = Layout(players, workers=[[0]], load=[1], stores=[1])
    both = replace(here, workers=[[0, 1], [0, 1]])
    costs = fitted(one, half, here, sync)
    held = []
    for name, layout, measured in (("1", here, one), ("2", both, two)):
        at_half = replace(layout, rate=measured["half_actions_per_second"])
        held.append(
            {
                "workers": name,
                "predicted": asdict(simulate(layout, costs)),
                "predicted_half": asdict(simulate(at_half, costs)),
                "measured": measured,
            }
        )
    return {"costs": asdict(costs), "players": players, "held": held, "elsewhere": list(_elsewhere(costs))}


def _elsewhere(costs: Costs) -> Iterator[dict[str, Any]]:
    """A core for each worker, a core for each eight workers' load, and as many as PostgreSQL wants."""
    for workers, store_cores in ((1, 2), (2, 2), (4, 2), (4, 4), (8, 4), (8, 8), (16, 8), (16, 16)):
        first_store = workers
        layout = Layout(
            players=1000 * workers,
            workers=[[worker] for worker in range(workers)],
            load=[workers + store_cores],
            stores=range(first_store, first_store + store_cores),
        )
        # The load is to be no limit here.
        found = simulate(layout, replace(costs, load_action=0.0))
        yield {"workers": workers, "store_cores": store_cores} | asdict(found)


def main() -> None:
    """Simulate, keep, print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    found = predict(kept("sizes")["workers"], PLAYERS, kept("volumes")["sync_ms"] / 1000)
    print(json.dumps(found, indent=2))
    keep("simulation", found)


if __name__ == "__main__":
    main()
