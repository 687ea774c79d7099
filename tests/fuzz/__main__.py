"""Let atheris look for bytes that break a promise: `make fuzz ARGS="codec --seconds 60"`.

Without a name all targets are run, one after the other. What is found is written beside the corpus as crash-…; give it
to `--replay`, mend the server, and put it into the corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TARGETS: Final = ("codec", "connection")
#: Bytes of an input: the longest message of a spectator, and a little more.
_LONGEST: Final = {"codec": 70_000, "connection": 6_000}
#: Seconds for one input, after which it counts as found.
_SLOWEST: Final = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--replay", type=Path, help="run a target on one file, without atheris")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.replay:
        from tests.fuzz.targets import TARGETS as RUN

        for name in arguments.target or TARGETS:
            RUN[name](arguments.replay.read_bytes())
        return 0
    if arguments.alone:
        return _fuzz(arguments.target[0], arguments.seconds)
    worst = 0
    for name in arguments.target or TARGETS:
        # libFuzzer ends the process when the time is over.
        command = [sys.executable, "-m", "tests.fuzz", name, "--alone", "--seconds", str(arguments.seconds)]
        worst = max(worst, abs(subprocess.run(command, check=False).returncode))
    return worst


def _fuzz(name: str, seconds: int) -> int:
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install --require-hashes -r tests/fuzz/requirements.txt", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["protocol", "server", "websockets", "tests.fuzz.targets"]):
        from tests.fuzz.targets import TARGETS as RUN

    # New finds go to a folder that is not kept; the corpus is only read.
    finds = HERE / "finds" / name
    finds.mkdir(parents=True, exist_ok=True)
    options = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST[name]}",
        f"-timeout={_SLOWEST}",
        f"-artifact_prefix={HERE}/",
        "-print_final_stats=1",
        str(finds),
        str(HERE / "corpus" / name),
    ]
    atheris.Setup(options, RUN[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
