"""Measure how well drawings are compared: `python -m images.evaluation`. Prints Markdown; takes some minutes.

`--tuning` shows the chosen method on what it was tuned with instead, and the boundary that parts best there.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter, process_time

import numpy as np
from PIL import Image

from images.compare import distance
from images.decode import decode
from images.evaluation.hands import Hand
from images.evaluation.measures import Measured, best_boundary
from images.evaluation.methods import CHOSEN, METHODS
from images.evaluation.motifs import HELD_OUT, TUNING
from images.evaluation.samples import drawn_by_hands, some_pairs, written_digits
from images.strokes import stroke_distance

#: Seeds of hands, far enough from each other that no hand is in two sets.
TUNING_SEED, USUAL_SEED, CLUMSY_SEED = 0, 1_000_000, 2_000_000
#: Digits 0 to 599 were tuned with; the rest are measured with.
TUNING_DIGITS, MEASURED_DIGITS = (0, 600), (600, 1197)
#: How much worse than the usual hand's the clumsy one's faults are.
CLUMSY = 1.7


def say(line: str) -> None:
    """Print the line at once; the next may take a minute."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def row(number: int, hands: int, pairs: int) -> str:
    """Measure one method on everything held out; a row of the table."""
    method = METHODS[number]
    usual = Measured(method, drawn_by_hands(HELD_OUT, hands, USUAL_SEED))
    clumsy = Measured(method, drawn_by_hands(HELD_OUT, hands, CLUMSY_SEED, CLUMSY))
    digits = Measured(method, written_digits(*MEASURED_DIGITS))
    cells = [
        f"{usual.auc(some_pairs(usual.samples, pairs, 1)):.3f}",
        f"{usual.top1():.1%}",
        f"{clumsy.auc(some_pairs(clumsy.samples, pairs, 2)):.3f}",
        f"{clumsy.top1():.1%}",
        f"{digits.auc(some_pairs(digits.samples, pairs, 3)):.3f}",
        f"{usual.milliseconds:.1f}",
    ]
    return f"| {method.name} | {' | '.join(cells)} |"


def table(hands: int, pairs: int, processes: int) -> None:
    """Print a row for each method."""
    say("| method | motifs AUC | top-1 of 20 | clumsy AUC | clumsy top-1 | digits AUC | ms a pair |")
    say("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(processes) as pool:
        for line in pool.map(partial(row, hands=hands, pairs=pairs), range(len(METHODS))):
            say(line)


def tuning(hands: int, pairs: int) -> None:
    """Print what the chosen method's boundary was set by."""
    sets = {
        "motifs": drawn_by_hands(TUNING, hands, TUNING_SEED),
        "clumsy motifs": drawn_by_hands(TUNING, hands, TUNING_SEED + 500, CLUMSY),
        "digits": written_digits(*TUNING_DIGITS),
    }
    for name, samples in sets.items():
        measured = Measured(CHOSEN, samples)
        chosen = some_pairs(samples, pairs, 4)
        edge, share = best_boundary(measured.distances(chosen.pairs), chosen.same)
        say(f"- {name}: AUC {measured.auc(chosen):.3f}; {edge:.3f} parts best ({share:.1%} right)")


def strokes(hands: int) -> None:
    """Print the distances that the drawing stage sees: each picture by hands, and by a hand that drew another one."""
    motifs = {**TUNING, **HELD_OUT}
    originals = {name: Hand(0, skill=0).strokes(motif) for name, motif in motifs.items()}
    random = np.random.default_rng(6)
    for skill in (1.0, CLUMSY, 2.5):
        seeds = iter(range(len(motifs) * hands))
        found = [
            stroke_distance(originals[name], Hand(next(seeds), skill).strokes(motif))
            for name, motif in motifs.items()
            for _ in range(hands)
        ]
        middle, most, worst = np.quantile(found, [0.5, 0.9, 1])
        say(f"- as strokes, {skill} times the usual mistakes: median {middle:.0f}, p90 {most:.0f}, at most {worst:.0f}")
    others = []
    for seed in range(len(motifs) * hands):
        one, other = random.choice(list(motifs), 2, replace=False)
        others.append(stroke_distance(originals[one], Hand(seed).strokes(motifs[other])))
    least, middle = np.quantile(others, [0.1, 0.5])
    say(f"- as strokes, another picture: p10 {least:.0f}, median {middle:.0f}")


def speed(pairs: int) -> None:
    """Print what comparing two PNGs of 512 x 512 takes, decoding included, on one thread."""
    pictures = []
    for seed, motif in enumerate(list(HELD_OUT.values()) * 2):
        image = Image.open(io.BytesIO(Hand(seed).draw(motif))).resize((512, 512))
        out = io.BytesIO()
        image.save(out, "PNG")
        pictures.append(base64.b64encode(out.getvalue()).decode())
    random = np.random.default_rng(5)
    wall, cpu = [], []
    for _ in range(pairs):
        a, b = (pictures[int(number)] for number in random.choice(len(pictures), 2, replace=False))
        begun, begun_cpu = perf_counter(), process_time()
        distance(decode(a), decode(b))
        wall.append(perf_counter() - begun)
        cpu.append(process_time() - begun_cpu)
    for name, seconds in (("wall", wall), ("processor", cpu)):
        middle, late = np.quantile(seconds, [0.5, 0.95]) * 1000
        say(f"- two 512 x 512 PNGs, decoding included, {name} time: median {middle:.0f} ms, p95 {late:.0f} ms")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and print what they ask for."""
    parser = argparse.ArgumentParser(prog="python -m images.evaluation", description=__doc__)
    parser.add_argument("--hands", type=int, default=6, help="drawings of each motif (default 6)")
    parser.add_argument("--pairs", type=int, default=400, help="pairs of the same, and of different (default 400)")
    parser.add_argument("--processes", type=int, default=2, help="methods measured at once (default 2)")
    parser.add_argument("--tuning", action="store_true", help="the tuning sets instead")
    parser.add_argument("--strokes", action="store_true", help="only the distances that the drawing stage sees")
    parser.add_argument("--speed", action="store_true", help="only the time that a comparison takes")
    options = parser.parse_args(arguments)
    if options.tuning:
        tuning(options.hands, options.pairs)
        return
    if options.strokes:
        strokes(options.hands)
        return
    if not options.speed:
        table(options.hands, options.pairs, options.processes)
        say("")
    speed(300)


if __name__ == "__main__":
    main()
