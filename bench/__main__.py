"""All measurements, or one of them: `python -m bench`, `python -m bench fanout --rounds 5`. An hour for all."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

MEASUREMENTS: Final = (
    *("throughput", "fanout", "staleness", "connections", "sizes", "nodes", "logins", "starts", "volumes", "hot_paths"),
    # from what the others have found
    *("simulation", "report", "scaling"),
)


def main(arguments: list[str]) -> int:
    """Run them, each in a process of its own; 1 when one of them failed."""
    if arguments and arguments[0] not in MEASUREMENTS:
        print(f"There is no {arguments[0]}. There are: {', '.join(MEASUREMENTS)}.", file=sys.stderr)
        return 2
    failed = 0
    for name in arguments[:1] or MEASUREMENTS:
        print(f"== {name}", flush=True)
        run = subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments[1:]], check=False)  # noqa: S603
        failed |= run.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
