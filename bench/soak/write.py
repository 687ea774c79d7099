"""docs/soak.md and its picture, written from bench/results/soak.json: `python -m bench.soak.write`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.machine import ROOT
from bench.results import FOLDER
from bench.soak.page import page

_PAGE: Final = ROOT / "docs" / "soak.md"
_PICTURE: Final = ROOT / "docs" / "benchmarks" / "soak.svg"


def write() -> None:
    """Write both."""
    mpl.rcParams.update({"svg.hashsalt": "braingame", "svg.fonttype": "none", "font.size": 9})
    kept = json.loads((FOLDER / "soak.json").read_text())
    columns = {name: [float(one) for one in text.split()] for name, text in kept["figures"]["columns"].items()}
    _picture(columns, list(kept["figures"]["before"]["memory"]), columns["at"][-1] / 3)
    _PAGE.write_text(page(kept))
    print(f"{_PAGE.relative_to(ROOT)} is written")


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)


def _picture(columns: Mapping[str, Sequence[float]], names: Sequence[str], judged_from: float) -> None:
    figure = Figure(figsize=(8, 6), layout="constrained")
    (memory, open_ones), (latency, cpu) = figure.subplots(2, 2, sharex=True)
    minutes = [at / 60 for at in columns["at"]]
    for name in names:
        memory.plot(minutes, columns[f"memory_mb {name}"], label=name)
        cpu.plot(minutes, columns[f"cpu {name}"], label=name, linewidth=0.8)
    _plain(memory, "own memory of each process, MB")
    _plain(cpu, "share of a core")
    ours = [name for name in names if name.startswith(("server", "worker"))]
    descriptors = [sum(some) for some in zip(*(columns[f"descriptors {name}"] for name in ours), strict=True)]
    open_ones.plot(minutes, descriptors, label="descriptors")
    open_ones.plot(minutes, columns["connections"], label="sockets")
    open_ones.plot(minutes, columns["tasks"], label="tasks")
    _plain(open_ones, "open at the server")
    times = [at / 60 for at in columns["windows at"]]
    latency.plot(times, columns["p99_ms"], label="p99", linewidth=0.8)
    latency.plot(times, columns["p50_ms"], label="p50")
    _plain(latency, "ms to an acknowledgement")
    for axes in (memory, open_ones, latency, cpu):
        axes.axvline(judged_from / 60, color="#888888", linewidth=0.8, linestyle=":")
        axes.legend(fontsize=7, frameon=False)
    for axes in (latency, cpu):
        axes.set_xlabel("minutes; judged from the dotted line on", fontsize=8)
    _PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(_PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    write()
