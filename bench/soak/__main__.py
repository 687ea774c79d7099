"""A soak: steady play with people coming and going all the time, and whether the server is afterwards as it was.

    python -m bench.soak --minutes 20
    python -m bench.soak --minutes 5 --workers 2

A real server with its embedded stores, a load far below what it can do, and a look at every process each few seconds.
Prints what was found, keeps it in bench/results/soak.json, writes docs/soak.md; ends with 1 when anything failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from bench.machine import ROOT, server
from bench.results import keep
from bench.soak import page
from bench.soak.crowd import Crowd, Size, house_at
from bench.soak.processes import Family, Seen
from bench.soak.verdict import Look, Recording, Window, verdict
from bench.soak.visitor import Tally
from bench.soak.write import write
from bench.sockets import percentile

#: Seconds of an access token: most players have theirs renewed, some see it expire.
_TOKEN_SECONDS: Final = 90
#: Seconds for everything to come to rest: a close handshake has 5, a head in the doorway 10.
_REST_SECONDS: Final = 20.0
_PATIENCE: Final = 60.0
_GAUGE: Final = re.compile(r"^(braingame_(?:tasks|connections))(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_SETTINGS: Final = {
    "BRAINGAME_PORT": "0",
    "BRAINGAME_BCRYPT_COST": "8",
    "BRAINGAME_TOKEN_SECONDS": str(_TOKEN_SECONDS),
}


class Watch:
    """Looks at a server from outside."""

    def __init__(self, url: str, family: Family, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._family = family
        self._http = http
        self._started = time.perf_counter()
        self._last: tuple[float, dict[str, Seen]] = (self._started, family.look())
        #: Of each look, what the verdict does not need: shares of a core, and memory with what is shared.
        self.more: list[dict[str, dict[str, float]]] = []

    async def look(self) -> Look:
        """Now."""
        gauges = await self._gauges()
        now, seen = time.perf_counter(), self._family.look()
        before, then = self._last
        self._last = now, seen
        self.more.append(
            {
                "cpu": {
                    name: round(max(0.0, one.cpu_seconds - then[name].cpu_seconds) / (now - before), 3)
                    for name, one in seen.items()
                    if name in then
                },
                "all_mb": {name: round(one.all_kb / 1024, 1) for name, one in seen.items()},
            }
        )
        return Look(
            at=round(now - self._started, 1),
            memory={name: one.own_kb for name, one in seen.items()},
            descriptors={name: one.descriptors for name, one in seen.items()},
            threads={name: one.threads for name, one in seen.items()},
            tasks=gauges["braingame_tasks"],
            connections=gauges["braingame_connections"],
        )

    async def is_empty(self, connections: int) -> None:
        """Wait until no more sockets are open than so many, and for what takes its time beyond that."""
        end = time.perf_counter() + _PATIENCE
        while (await self._gauges())["braingame_connections"] > connections and time.perf_counter() < end:  # noqa: ASYNC110
            await asyncio.sleep(1)
        await asyncio.sleep(_REST_SECONDS)

    async def _gauges(self) -> dict[str, int]:
        async with self._http.get(f"{self._url}/metrics") as response:
            text = await response.text()
        found = {"braingame_tasks": 0, "braingame_connections": 0}
        for name, value in _GAUGE.findall(text):
            found[name] += int(float(value))
        return found


async def soak(options: argparse.Namespace) -> tuple[Recording, dict[str, Any]]:
    """Gives the recording, and what else there is to show."""
    size = Size(options.players, options.spectators, options.rate, options.strangers)
    tally = Tally()
    cores = frozenset(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bg-soak-") as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240, since root's stores run as somebody else
        command = [sys.executable, str(ROOT / "run_server.py"), "--data-dir", f"{folder}/var"]
        command += ["--workers", str(options.workers)]
        async with (
            server(command, cores, _SETTINGS) as one,
            aiohttp.ClientSession() as http,
        ):
            family = Family(one.pid)
            async with house_at(one.url, tally) as house:
                first = Crowd(house, size)
                print("making accounts", flush=True)
                await first.make_accounts()
                await first.fill_tokens(options.workers)
            watch = Watch(one.url, family, http)
            await watch.is_empty(0)
            before, pids = await watch.look(), family.main_pids()
            print(_line(before, tally), flush=True)
            during, windows = [], []
            tally.latencies()
            tally.answered = tally.due = tally.unavailable = 0
            async with house_at(one.url, tally) as house:
                first.move_to(house)
                first.come()
                started = time.perf_counter()
                while time.perf_counter() - started < options.minutes * 60:
                    await asyncio.sleep(options.every)
                    during.append(await watch.look())
                    seconds = tally.latencies()
                    if seconds:
                        p50, p99 = (round(percentile(seconds, share) * 1000, 2) for share in (0.5, 0.99))
                        windows.append(Window(during[-1].at, p50, p99))
                    print(_line(during[-1], tally, windows), flush=True)
                await first.go()
            await watch.is_empty(before.connections)
            after = await watch.look()
            print(_line(after, tally), flush=True)
            return (
                Recording(
                    before=before,
                    during=during,
                    after=after,
                    windows=windows,
                    due=tally.due,
                    answered=tally.answered,
                    unavailable=tally.unavailable,
                    failures=dict(tally.failures),
                    pids_before=pids,
                    pids_after=family.main_pids(),
                ),
                {"done": dict(sorted(tally.done.items())), "more": watch.more},
            )


def _line(look: Look, tally: Tally, windows: Sequence[Window] = ()) -> str:
    memory = " ".join(f"{name} {kb / 1024:.1f}" for name, kb in look.memory.items())
    latency = f" p50 {windows[-1].p50_ms} p99 {windows[-1].p99_ms} ms" if windows else ""
    wrong = f"{sum(tally.failures.values())} failures, {tally.unavailable} unavailable"
    return (
        f"{look.at:7.1f} s: MB {memory}; {sum(look.descriptors.values())} descriptors, {look.tasks} tasks, "
        f"{look.connections} sockets;{latency} {tally.answered} answered, {wrong}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, judge, keep, write the page; 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--players", type=int, default=200, help="at any time")
    parser.add_argument("--spectators", type=int, default=60, help="at any time")
    parser.add_argument("--rate", type=float, default=300, help="actions a second")
    parser.add_argument("--strangers", type=float, default=1.5, help="a second")
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--note", default="", help="what to say on the page of the machine's other work")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="the result and its page")
    options = parser.parse_args(arguments)
    # Ctrl-C unwinds by itself; told to end otherwise, the server must not stay behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    recording, more = uvloop.run(soak(options))
    findings = verdict(recording)
    for finding in findings:
        print(page.line(finding))
    for what, count in sorted(recording.failures.items()):
        print(f"FAILED {count} times: {what}")
    if options.keep:
        keep("soak", page.in_columns({"options": vars(options), **asdict(recording), **more}))
        write()
    return int(not all(finding.passed for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
