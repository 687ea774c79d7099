"""What pages of figures are made of: medians with their spread, tables, goals, pictures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.machine import ROOT

_PICTURES: Final = ROOT / "docs" / "benchmarks"
OURS, OTHERS, BARE = "#1b6ca8", "#b0b7bf", "#e0a030"

#: Figures by name.
Sample = dict[str, float]


def shown(value: float, digits: int = 0) -> str:
    """A number as people read it."""
    return f"{value:,.{digits}f}"


def spread(values: Iterable[float], digits: int = 0) -> str:
    """The median, and in brackets the least and the most."""
    some = list(values)
    if len(some) == 1:
        return shown(some[0], digits)
    return f"{shown(statistics.median(some), digits)} [{shown(min(some), digits)} – {shown(max(some), digits)}]"


def middle_of(samples: Sequence[Sample], name: str, digits: int = 0, factor: float = 1.0) -> str:
    """The same of one figure of all samples."""
    return spread((sample[name] * factor for sample in samples), digits)


def median(samples: Sequence[Sample], name: str) -> float:
    """The middle one of all samples."""
    return statistics.median(sample[name] for sample in samples)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; all columns but the first to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def goal(met: bool, text: str) -> str:
    """A line that says whether it was reached."""
    return f"Goal: {text}: **{'met' if met else 'not met'}** here.\n"


def picture(name: str, draw: Callable[[Figure], None], *, height: float = 3.2) -> str:
    """Draw it into a file below docs/benchmarks; gives the line that shows it."""
    figure = Figure(figsize=(8, height), layout="constrained")
    draw(figure)
    _PICTURES.mkdir(exist_ok=True)
    figure.savefig(_PICTURES / f"{name}.svg", metadata={"Date": None})
    return f"\n![{name.replace('-', ' ')}](benchmarks/{name}.svg)\n"


def plain(axes: Axes, title: str) -> None:
    """A title, and no frame."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def bars(axes: Axes, samples: dict[str, list[float]], title: str) -> None:
    """Medians as bars, least and most as whiskers."""
    names = list(samples)
    middles = [statistics.median(values) for values in samples.values()]
    whiskers = [
        [middle - min(values) for middle, values in zip(middles, samples.values(), strict=True)],
        [max(values) - middle for middle, values in zip(middles, samples.values(), strict=True)],
    ]
    colours = [{"Brain Game": OURS, "limit": BARE}.get(name, OTHERS) for name in names]
    axes.barh(names, middles, xerr=whiskers, color=colours, ecolor="#444444")
    axes.invert_yaxis()
    for place, middle in enumerate(middles):
        axes.text(middle, place - 0.28, f" {shown(middle)}", va="center", fontsize=8)
    plain(axes, title)


def set_up() -> None:
    """The same picture from the same figures, to the letter."""
    mpl.rcParams.update({"svg.hashsalt": "braingame", "svg.fonttype": "none", "font.size": 9})
