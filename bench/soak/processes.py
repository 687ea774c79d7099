"""The processes of a server that runs with stores of its own, as the kernel sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]


@dataclass(slots=True)
class Seen:
    """One kind of process at one moment; several of a kind are added up."""

    #: KB that it has allocated itself: neither files nor memory shared with others (PostgreSQL's buffers) are in it.
    own_kb: float = 0.0
    #: KB of everything, what is shared by its part (PSS).
    all_kb: float = 0.0
    descriptors: int = 0
    threads: int = 0
    cpu_seconds: float = 0.0
    pids: list[int] = field(default_factory=list)


class Family:
    """A server process and all that it has started."""

    def __init__(self, pid: int) -> None:
        self._server = psutil.Process(pid)

    def look(self) -> dict[str, Seen]:
        """By name: server, worker 1 …, PostgreSQL, Valkey. A process that ends meanwhile is left out."""
        found: dict[str, Seen] = defaultdict(Seen)
        for name, process in self._named():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                memory = _memory(process.pid)
                times, descriptors, threads = process.cpu_times(), process.num_fds(), process.num_threads()
                seen = found[name]
                seen.own_kb += memory["Pss_Anon"]
                seen.all_kb += memory["Pss"]
                seen.descriptors += descriptors
                seen.threads += threads
                seen.cpu_seconds += times.user + times.system
                seen.pids.append(process.pid)
        return dict(found)

    def main_pids(self) -> dict[str, int]:
        """Of each name the process that was there first."""
        return {name: min(seen.pids) for name, seen in self.look().items()}

    def _named(self) -> Iterator[tuple[str, psutil.Process]]:
        yield "server", self._server
        workers = 0
        for child in sorted(self._server.children(recursive=True), key=lambda one: (one.create_time(), one.pid)):
            with suppress(psutil.NoSuchProcess):
                command, program = child.cmdline(), child.name()
                if "worker" in command:
                    workers += 1
                    yield f"worker {workers}", child
                elif program.startswith("postgres"):
                    yield "PostgreSQL", child
                elif program.startswith("valkey"):
                    yield "Valkey", child


def _memory(pid: int) -> Mapping[str, float]:
    """KB by what the kernel calls it (Documentation/filesystems/proc.rst). Raises ProcessLookupError."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    return {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
