"""Every fault, again and again, and a table of what came of it: `make faults`, flags by ARGS.

    python -m tests.faults --players 60 --seconds 3 --away 3 --runs 3 --report docs/faults.md

Ends with 1 when a promise was not kept; the history of such a run is kept, and its place printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from _pytest.outcomes import Skipped

from tests.faults import arena as arenas
from tests.faults.faults import FAULTS, ON_A_SMALL_DISK, WITH_A_CLOCK, Fault
from tests.faults.run import Result, run

#: What neither an answer while a store is down nor the return of play after it may exceed.
MOST_SECONDS = 2.0
_HEAD = (
    "| fault | runs | actions acknowledged | sent more than once | answered `unavailable` | lost, repeated or wrong | "
    "longest answer | play goes on after |\n| --- | --: | --: | --: | --: | --: | --: | --: |\n"
)
Results = dict[str, "list[Result] | str"]


async def run_all(options: argparse.Namespace) -> Results:
    """The results by fault; for one that could not be run the reason."""
    found: Results = {}
    for make, faults in (
        (arenas.arena, FAULTS),
        (arenas.arena_on_a_small_disk, ON_A_SMALL_DISK),
        (arenas.arena_with_a_clock, WITH_A_CLOCK),
    ):
        chosen = {name: fault for name, fault in faults.items() if options.fault is None or options.fault in name}
        if not chosen:
            continue
        try:
            async with make() as arena:
                for name, fault in chosen.items():
                    found[name] = await _runs(arena, name, fault, options)
        except Skipped as reason:
            found |= dict.fromkeys(chosen, str(reason))
            _say(str(reason))
    return found


async def _runs(arena: arenas.Arena, name: str, fault: Fault, options: argparse.Namespace) -> list[Result]:
    results = []
    for index in range(options.runs):
        result = await run(
            arena,
            fault,
            players=options.players,
            seconds=options.seconds,
            away=options.away,
            seed=options.seed + index,
        )
        wrong = "; ".join(f"{one.rule}: {one.what[:300]}" for one in result.violations)
        _say(f"{name}: {result.acknowledged} acknowledged; {wrong or 'nothing wrong'}")
        if result.history is not None:
            _say(f"  the history is in {result.history}")
        results.append(result)
    return results


def table(results: Results) -> str:
    """Markdown."""
    rows = []
    for name, found in results.items():
        if isinstance(found, str):
            rows.append(f"| {name} | {found} | | | | | | |\n")
            continue
        wrong = sum(len(one.violations) for one in found)
        rows.append(
            f"| {name} | {len(found)} | {sum(one.acknowledged for one in found):,} "
            f"| {sum(one.repeated for one in found):,} | {sum(one.unavailable for one in found):,} "
            f"| {wrong or 'nothing'} | {max(one.longest_answer for one in found):.2f} s "
            f"| {max(one.back_after for one in found):.2f} s |\n"
        )
    return _HEAD + "".join(rows)


def report(before: str, results: Results, arguments: Sequence[str]) -> str:
    """The document with its table and the line above it made anew."""
    head, _, _ = before.partition("\n## Measured")
    return (
        f"{head}\n## Measured\n\n{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores for everything: stores, servers "
        f"and clients, by `python -m tests.faults {' '.join(arguments)}`.\n\n{table(results)}"
    )


def failed(results: Mapping[str, list[Result] | str]) -> bool:
    """Whether a promise was not kept, or a row could not be run."""
    return any(
        isinstance(found, str)
        or any(one.violations or one.longest_answer > MOST_SECONDS or one.back_after > MOST_SECONDS for one in found)
        for found in results.values()
    )


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main(arguments: Sequence[str]) -> int:
    """Run, print, perhaps write; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--fault", help="only those with this in their name")
    parser.add_argument("--players", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=3, help="of play before and after each fault")
    parser.add_argument("--away", type=float, default=3, help="seconds that something is away")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="write the table into this document, under the heading Measured")
    options = parser.parse_args(arguments)
    results = asyncio.run(run_all(options))
    _say(table(results))
    if options.report is not None:
        options.report.write_text(report(options.report.read_text(), results, arguments))
    return int(failed(results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
