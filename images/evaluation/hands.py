"""Synthetic hands: the same motif drawn by somebody else, elsewhere, with another pen on other paper."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from images.evaluation.motifs import Motif, Stroke

Picture = NDArray[np.uint8]  # (height, width, 4), RGBA

#: Paper and ink: dark on light, light on dark, coloured paper, faint pencil. None is transparent paper.
_COLOURS: Final[tuple[tuple[tuple[int, int, int] | None, tuple[int, int, int]], ...]] = (
    ((255, 255, 255), (0, 0, 0)),
    ((250, 247, 238), (40, 40, 60)),
    ((255, 255, 255), (30, 60, 200)),
    ((255, 255, 255), (225, 40, 40)),
    ((255, 255, 255), (150, 150, 150)),
    ((20, 22, 28), (240, 240, 240)),
    ((25, 70, 45), (235, 235, 215)),
    ((255, 224, 120), (90, 40, 10)),
    ((160, 200, 235), (255, 255, 255)),
    (None, (0, 0, 0)),
    (None, (255, 255, 255)),
    (None, (200, 60, 160)),
)


@dataclass(frozen=True, slots=True)
class Hand:
    """How one drawing differs from the motif. `skill` 0 is a ruler, 1 the usual hand; lengths are in half sides."""

    seed: int
    skill: float = 1.0

    def draw(self, motif: Motif) -> bytes:
        """Give the file that this hand's drawing of the motif is saved as."""
        random = np.random.default_rng(self.seed)
        return _saved(_inked(_moved(_wobbled(motif, random, self.skill), random), random), random)

    def strokes(self, motif: Motif) -> list[list[int]]:
        """Give this hand's drawing as the drawing stage is sent it: x0, y0, x1, y1, … from 0 to 1000."""
        random = np.random.default_rng(self.seed)
        moved = [np.clip(np.round(stroke * 450 + 500), 0, 1000) for stroke in _wobbled(motif, random, self.skill)]
        return [stroke.astype(int).ravel().tolist() for stroke in moved]


def _smooth(random: np.random.Generator, count: int, knots: int) -> NDArray[np.float64]:
    """Give smooth noise of about unit size, shape (count, 2)."""
    values = random.normal(size=(knots, 2))
    at = np.linspace(0, knots - 1, count)
    return np.stack([np.interp(at, np.arange(knots), values[:, axis]) for axis in (0, 1)], axis=1)


def _wobbled(motif: Motif, random: np.random.Generator, skill: float) -> list[Stroke]:
    # What the hand gets wrong as a whole: a bend of the plane, the same for all strokes.
    bends = random.normal(size=(2, 2, 2)) * 0.035 * skill
    strokes: list[Stroke] = []
    for stroke in motif:
        points = stroke + sum(
            bends[k, 0] * np.sin(math.pi * (k + 1) / 1.5 * stroke + bends[k, 1] * 30)[:, ::-1] for k in (0, 1)
        )
        # Then each stroke for itself: out of place, of another size, turned, and trembling.
        centre = points.mean(axis=0)
        angle = random.normal() * 0.06 * skill
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        points = centre + (points - centre) @ turn * (1 + random.normal(size=2) * 0.07 * skill)
        points = points + random.normal(size=2) * 0.035 * skill
        length = float(np.hypot(*np.diff(points, axis=0).T).sum())
        points = points + _smooth(random, len(points), 3 + int(length * 4)) * 0.018 * skill
        strokes += _ended(points, random, skill)
    random.shuffle(strokes)
    return strokes


def _ended(points: Stroke, random: np.random.Generator, skill: float) -> list[Stroke]:
    """Stop too early or go on too long at either end; now and then lift the pen on the way."""
    for _ in range(2):
        change = random.normal() * 0.05 * skill
        keep = max(4, round(len(points) * (1 + min(change, 0))))
        points = points[:keep][::-1]
        if change > 0:
            points = np.vstack([points[0] + (points[0] - points[1]) * 2 * change / 0.05, points])
    if len(points) > 30 and random.random() < 0.15:
        middle = int(random.integers(10, len(points) - 10))
        return [points[: middle - 1], points[middle + 2 :]]
    return [points]


def _moved(strokes: list[Stroke], random: np.random.Generator) -> list[Stroke]:
    """Turn by up to 15 degrees, stretch by up to 15 % and scale up to twofold; result in 0..1."""
    angle = math.radians(random.uniform(-15, 15))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    stretch = math.sqrt(random.uniform(0.85, 1.15))
    joined = [stroke * [stretch, 1 / stretch] @ turn for stroke in strokes]
    low, high = np.vstack(joined).min(axis=0), np.vstack(joined).max(axis=0)
    scale = random.uniform(0.45, 0.9) / float((high - low).max())
    corner = 0.05 + random.random(2) * (0.9 - (high - low) * scale)
    return [(stroke - low) * scale + corner for stroke in joined]


def _inked(strokes: list[Stroke], random: np.random.Generator) -> Picture:
    side = int(random.choice([320, 400, 512, 512, 640]))
    paper, ink = _COLOURS[int(random.integers(len(_COLOURS)))]
    width = int(random.integers(2, 13))
    mask = np.zeros((side, side), np.uint8)
    lines = [np.round(stroke * side * 16).astype(np.int32) for stroke in strokes]
    cv2.polylines(mask, lines, False, 255, width, cv2.LINE_AA, 4)
    picture = np.empty((side, side, 4), np.uint8)
    if paper is None:
        picture[:, :, :3], picture[:, :, 3] = ink, mask
        return picture
    share = mask[:, :, None].astype(np.float32) / 255
    colours = share * np.array(ink, np.float32) + (1 - share) * np.array(paper, np.float32)
    colours += random.normal(size=colours.shape).astype(np.float32) * float(random.choice([0, 0, 3, 8]))
    picture[:, :, :3], picture[:, :, 3] = np.clip(colours, 0, 255).astype(np.uint8), 255
    return picture


def _saved(picture: Picture, random: np.random.Generator) -> bytes:
    opaque = bool(picture[:, :, 3].min() == 255)
    kind = str(
        random.choice(["PNG", "JPEG", "WEBP"] if opaque else ["PNG", "WEBP"], p=[0.5, 0.3, 0.2] if opaque else None)
    )
    image = Image.fromarray(picture)
    out = io.BytesIO()
    image = image.convert("RGB") if opaque else image
    image.save(out, kind, **({} if kind == "PNG" else {"quality": int(random.integers(35, 90))}))
    return out.getvalue()
