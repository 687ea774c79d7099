"""Shape contexts (Belongie, Malik and Puzicha, 2002), without their thin-plate splines: only to measure against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

_POINTS = 80
_RINGS = np.array([0.25, 0.5, 1.0, 2.0])
_SECTORS = 12


def contexts(lines: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Say for up to 80 points of the lines where the others lie: shape (n, rings * sectors), each row's sum is 1."""
    y, x = np.nonzero(lines)
    few = np.linspace(0, len(x) - 1, min(_POINTS, len(x))).round().astype(np.intp)
    points = np.stack([x[few], y[few]], axis=1).astype(np.float64)
    away = points[None] - points[:, None]
    far = np.hypot(away[..., 0], away[..., 1])
    ring = np.digitize(far / max(float(far.mean()), 1e-9), _RINGS)
    sector = (np.arctan2(away[..., 1], away[..., 0]) / (2 * np.pi) * _SECTORS).astype(np.intp) % _SECTORS
    bins = (len(_RINGS) + 1) * _SECTORS
    index = np.arange(len(points))[:, None] * bins + ring * _SECTORS + sector
    counts = np.bincount(index.ravel(), minlength=len(points) * bins).reshape(len(points), bins)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)


def context_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Give the mean chi-squared distance of the best assignment of points to points."""
    total = a[:, None] + b[None]
    cost = ((a[:, None] - b[None]) ** 2 / np.where(total > 0, total, 1)).sum(axis=2) / 2
    return float(cost[linear_sum_assignment(cost)].mean())
