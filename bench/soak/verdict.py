"""What a soak has shown: whether the server is as it was. Pure: a recording goes in, findings come out.

Each limit says here why it is where it is. The first third of a recording counts for nothing: Python's and the C
library's allocators take what they need at the busiest moment and keep it, and PostgreSQL's processes fill caches.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

#: KB that a process may grow by in a minute. The load sends 18,000 actions and opens some 600 sockets a minute: were
#: the smallest of objects (56 bytes) left behind by each action, it would be 1,000 KB; by each socket the least that
#: one has (a timer and what it calls, 250 bytes), 150. Known to grow are six new accounts a minute, some 2 KB each, and
#: the cache of verified tokens (server/tokens.py): some 115 a minute that were never seen before, 750 bytes each as
#: tracemalloc has them, until 10,000 are kept, which is after an hour.
GROWTH_KB_A_MINUTE: Final = 128.0
#: The same as a share of the process, for those of several hundred MB: three fifths in twenty hours.
GROWTH_SHARE_A_MINUTE: Final = 0.0005
#: KB within which a process moves without a leak: Python has its memory from the kernel in arenas of 1 MiB, and one
#: more or less in the whole of what is judged says nothing. In a short soak that is the limit.
ARENA_KB: Final = 1024.0
#: Descriptors more than before. The pools of each process open connections to the stores when there is much to do (10
#: to PostgreSQL, and to Redis one for each call under way) and keep them. Of the load's 12,000 sockets, one lost in a
#: hundred would be 120.
DESCRIPTORS: Final = 16
#: Tasks more than before: a look of the sweep, the rolling check or the canary may be under way.
TASKS: Final = 3
#: Threads more than before; their pools were full then.
THREADS: Final = 1
#: The last third's latency as a multiple of the second third's, and milliseconds below which a difference is noise of
#: the timers. Neighbours on the machine make a window of five seconds slow, never fast, so the windows that are
#: compared are the fastest tenth of each third: a server that has become slower is so in these as well.
LATENCY_RATIO: Final = 1.5
#: The same for p99: in a window of 1,500 answers it is made by the 15 slowest, so by one piece of somebody else's work.
P99_RATIO: Final = 2.0
LATENCY_NOISE_MS: Final = 2.0
#: Of the actions that fell due, the share that has to be answered within the run.
DELIVERED: Final = 0.99
#: Of all actions, how many answers may be `unavailable`, upon which a client sends them again. The server gives an
#: action up after 1.5 s, and where others use the same cores for that long, this is what it should do.
UNAVAILABLE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment: `at` in seconds of the run; by process its own memory in KB, its descriptors and
    threads; of all server processes together tasks and open sockets."""

    at: float
    memory: Mapping[str, float]
    descriptors: Mapping[str, int]
    threads: Mapping[str, int]
    tasks: int
    connections: int


@dataclass(frozen=True, slots=True)
class Window:
    """Answers that came in one stretch of time, which ended `at` seconds into the run."""

    at: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A soak from before the load to after it. `pids` are those of the server's and the stores' main processes."""

    before: Look
    during: Sequence[Look]
    after: Look
    windows: Sequence[Window]
    due: int
    answered: int
    unavailable: int
    failures: Mapping[str, int]
    pids_before: Mapping[str, int]
    pids_after: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `found` is held against `limit`, both in `unit`."""

    what: str
    found: float
    limit: float
    unit: str
    passed: bool


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs of points; a few wild ones do not move it."""
    slopes = [(later[1] - one[1]) / (later[0] - one[0]) for one, later in combinations(points, 2) if later[0] > one[0]]
    return statistics.median(slopes) if slopes else 0.0


def verdict(recording: Recording) -> list[Finding]:
    """Everything that was looked at, in the order in which it is shown."""
    return [
        *_memory(recording),
        *_left_behind(recording),
        *_latency(recording.windows),
        _at_least("actions answered, of those that fell due", _share(recording), DELIVERED, "of 1"),
        _at_most("`unavailable`, of all actions", recording.unavailable / max(1, recording.due), UNAVAILABLE, "of 1"),
        _at_most("answers that were not as expected", sum(recording.failures.values()), 0, "answers"),
        _at_most("processes that had to be started again", _restarted(recording), 0, "processes"),
    ]


def memory_limit(minutes: float, kb: float) -> float:
    """KB a minute that a process of this size may grow by, judged over so many minutes."""
    return max(GROWTH_KB_A_MINUTE, GROWTH_SHARE_A_MINUTE * kb, ARENA_KB / minutes)


def _memory(recording: Recording) -> Iterator[Finding]:
    looks = _from(recording.during, 1 / 3)
    minutes = (looks[-1].at - looks[0].at) / 60
    for name in recording.before.memory:
        points = [(look.at / 60, look.memory[name]) for look in looks if name in look.memory]
        limit = memory_limit(minutes, statistics.median(kb for _, kb in points))
        yield _at_most(f"{name}: memory grows by", slope(points), limit, "KB a minute")


def _left_behind(recording: Recording) -> Iterator[Finding]:
    before, after = recording.before, recording.after
    for name in before.descriptors:
        if _is_ours(name):
            more = after.descriptors.get(name, 0) - before.descriptors[name]
            yield _at_most(f"{name}: descriptors left open", more, DESCRIPTORS, "descriptors")
            more = after.threads.get(name, 0) - before.threads[name]
            yield _at_most(f"{name}: threads left", more, THREADS, "threads")
    yield _at_most("tasks left", after.tasks - before.tasks, TASKS, "tasks")
    yield _at_most("sockets left open", after.connections - before.connections, 0, "sockets")


def _is_ours(name: str) -> bool:
    return name.startswith(("server", "worker"))


def _latency(windows: Sequence[Window]) -> Iterator[Finding]:
    for part, limit in (("p50_ms", LATENCY_RATIO), ("p99_ms", P99_RATIO)):
        last = _undisturbed(getattr(one, part) for one in _from(windows, 2 / 3))
        second = _undisturbed(getattr(one, part) for one in _from(windows, 1 / 3, 2 / 3))
        found = last / second if last - second > LATENCY_NOISE_MS else min(last / second, 1.0)
        yield _at_most(f"{part[:3]} of the last third, by that of the second", found, limit, "times")


def _undisturbed(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 10]


def _from(timed: Sequence[Look] | Sequence[Window], start: float, end: float = 1.0) -> list:  # type: ignore[type-arg]
    last = timed[-1].at
    return [one for one in timed if start * last <= one.at <= end * last]


def _share(recording: Recording) -> float:
    return recording.answered / max(1, recording.due)


def _restarted(recording: Recording) -> int:
    before, after = recording.pids_before, recording.pids_after
    return sum(after.get(name) != pid for name, pid in before.items())


def _at_most(what: str, found: float, limit: float, unit: str) -> Finding:
    return Finding(what, found, limit, unit, found <= limit)


def _at_least(what: str, found: float, limit: float, unit: str) -> Finding:
    return Finding(what, found, limit, unit, found >= limit)
