"""How long a start takes: the first one of all on a machine, and each one after that.

    python -m bench.starts --rounds 5

Cold is an empty data folder with embedded stores: PostgreSQL's cluster is made, the schema is laid. Warm is the same
folder again; external are stores that run already. From the start of the process to its line that it is ready.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from typing import Any

import uvloop

from bench.machine import ROOT, Cores, brain_game, server, stores
from bench.results import keep


async def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each kind."""
    cores = Cores.of_this_machine()
    both = cores.server | cores.rest
    found: dict[str, list[float]] = {"cold": [], "warm": [], "external": []}
    command: list[Any] = [sys.executable, str(ROOT / "run_server.py"), "--port", "0", "--data-dir"]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bg-bench-start-") as folder:
            # Root's stores run as somebody else, who has to come through.
            os.chmod(folder, 0o755)  # noqa: PTH101, S103
            for name in ("cold", "warm"):
                begun = time.perf_counter()
                async with server([*command, f"{folder}/var"], both):
                    found[name].append(time.perf_counter() - begun)
        async with stores(cores) as urls:
            async with brain_game(cores, urls):
                pass  # the schema is there from now on
            begun = time.perf_counter()
            async with brain_game(cores, urls):
                found["external"].append(time.perf_counter() - begun)
        print({name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    return found


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    keep("starts", uvloop.run(measure(options.rounds)))


if __name__ == "__main__":
    main()
