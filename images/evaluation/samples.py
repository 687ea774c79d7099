"""The pictures that methods are measured with: synthetic hands, and digits that people wrote.

The same seeds give the same pictures.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from images.evaluation.hands import Hand
from images.evaluation.motifs import Motif


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture's file and what it shows."""

    label: str
    file: bytes


def drawn_by_hands(motifs: Mapping[str, Motif], hands: int, seed: int, skill: float = 1.0) -> list[Sample]:
    """Have each motif drawn by so many hands, no hand drawing twice. The samples of a motif follow each other."""
    return [
        Sample(name, Hand(seed + number * 1000 + hand, skill).draw(motif))
        for number, (name, motif) in enumerate(motifs.items())
        for hand in range(hands)
    ]


def written_digits(first: int, count: int) -> list[Sample]:
    """Give digits of the UCI set that scikit-learn brings along (8 x 8 pixels of 16 levels, several writers)."""
    digits = load_digits()
    part = slice(first, first + count)
    return [
        Sample(str(label), _enlarged(image))
        for label, image in zip(digits.target[part], digits.images[part], strict=True)
    ]


def _enlarged(levels: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> bytes:
    """Turn 8 x 8 levels into dark ink on a white sheet of 224 x 224, its edge where the ink covers half a pixel."""
    large = cv2.resize(levels.astype(np.float32) / 16, (160, 160), interpolation=cv2.INTER_CUBIC)
    sheet = cv2.copyMakeBorder(large, 32, 32, 32, 32, cv2.BORDER_CONSTANT, value=0)
    ink = cv2.GaussianBlur((sheet > 0.4).astype(np.float32), (0, 0), 2)
    out = io.BytesIO()
    Image.fromarray((255 - 255 * ink).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of sample numbers, and whether both show the same."""

    pairs: Sequence[tuple[int, int]]
    same: Sequence[bool]


def some_pairs(samples: Sequence[Sample], each: int, seed: int) -> Pairs:
    """Draw `each` pairs of the same and as many of different things."""
    random = np.random.default_rng(seed)
    wanted = {True: each, False: each}
    pairs: list[tuple[int, int]] = []
    same: list[bool] = []
    while any(wanted.values()):
        a, b = (int(number) for number in random.choice(len(samples), 2, replace=False))
        alike = samples[a].label == samples[b].label
        if wanted[alike]:
            wanted[alike] -= 1
            pairs.append((a, b))
            same.append(alike)
    return Pairs(pairs, same)


def one_reference_each(samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """Give the first sample of each label, to find the others by, and those others."""
    references: dict[str, int] = {}
    for number, sample in enumerate(samples):
        references.setdefault(sample.label, number)
    chosen = set(references.values())
    return sorted(chosen), [number for number in range(len(samples)) if number not in chosen]
