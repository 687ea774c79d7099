"""Colours are told apart by everybody: WCAG 2.2, AA, computed from the style sheet for both themes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STYLE = (Path(__file__).parent.parent.parent / "web/css/base.css").read_text(encoding="utf-8")
TEXT, SIGN = 4.5, 3.0  # 1.4.3 for text, 1.4.11 for signs such as the dot before "Live" and the focus ring

PAIRS = [
    *((ink, ground, TEXT) for ink in ("text", "muted", "accent") for ground in ("ground", "surface", "tint")),
    ("warning", "ground", TEXT),
    ("warning", "surface", TEXT),
    ("text", "glow", TEXT),
    ("on-accent", "accent", TEXT),
    ("live", "surface", TEXT),
    ("edge", "ground", SIGN),
    ("edge", "surface", SIGN),
    ("live", "ground", SIGN),
    ("accent", "ground", SIGN),
]


def colours(theme: str) -> dict[str, str]:
    """The custom properties of a theme that are colours; dark ones stand on top of light ones."""
    found: dict[str, str] = {}
    for selector in [":root"] if theme == "light" else [":root", ':root[data-theme="dark"]']:
        block = re.search(re.escape(selector) + r" \{(.*?)\n\}", STYLE, re.DOTALL)
        assert block is not None
        found |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block[1]))
    return found


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_what_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_colours_can_be_told_apart(theme: str, ink: str, ground: str, least: float) -> None:
    palette = colours(theme)
    assert contrast(palette[ink], palette[ground]) >= least


def test_dark_theme_has_a_colour_for_each_light_one() -> None:
    block = STYLE.split('[data-theme="dark"]')[1]
    assert [name for name in colours("light") if f"--{name}:" not in block] == []
