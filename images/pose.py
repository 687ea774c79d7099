"""How one drawing has to be moved, turned and stretched to lie on the other as well as it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from images.shape import DIRECTIONS, GRID, Floats, Shape, cells

# A pose is six numbers: turn (radians), logarithms of the stretch along x and y, shear, shift along x and y (units).
Poses = NDArray[np.float64]  # (k, 6)

#: As far as a hand differs from another. What needs more is another drawing: a 6 is no 9.
LIMITS: Final = np.array([0.42, 0.30, 0.30, 0.20, 0.45, 0.45])

#: Steps of the refinement, each finer than the one before; and how many starts are refined.
ROUNDS: Final = 8
STARTS: Final = 3
_FIRST_STEPS: Final = np.array([0.10, 0.10, 0.10, 0.10, 0.12, 0.12])
_FINER: Final = 0.72


@dataclass(frozen=True, slots=True)
class Fit:
    """The best pose found and the mean distances in it, 0 to 1: of the first drawing's points from the second's
    lines, and the other way round."""

    pose: NDArray[np.float64]
    there: Floats
    back: Floats
    cost: float


def _starts() -> Poses:
    turns = np.radians([-20, -10, 0, 10, 20])
    stretches = [(0.0, 0.0), (0.14, -0.14), (-0.14, 0.14), (0.14, 0.14), (-0.14, -0.14)]
    return np.array([[turn, sx, sy, 0, 0, 0] for turn in turns for sx, sy in stretches])


_STARTS: Final = _starts()
_MOVES: Final = np.concatenate([np.eye(6), -np.eye(6)]) * _FIRST_STEPS


def matrices(poses: Poses) -> NDArray[np.float64]:
    """Give what each pose does to a point, apart from the shift: shape (k, 2, 2)."""
    turn, sx, sy, shear = poses[:, 0], np.exp(poses[:, 1]), np.exp(poses[:, 2]), poses[:, 3]
    cos, sin = np.cos(turn), np.sin(turn)
    rows = [[cos * sx, (cos * shear - sin) * sy], [sin * sx, (sin * shear + cos) * sy]]
    return np.array(rows).transpose(2, 0, 1)


def best_fit(first: Shape, second: Shape) -> Fit:
    """Try a coarse grid of poses, then refine the best of them."""
    costs = _costs(_STARTS, first, second)
    best = np.argsort(costs, kind="stable")[:STARTS]
    poses, costs = _STARTS[best], costs[best]
    moves = _MOVES
    for _ in range(ROUNDS):
        tried = np.clip(poses[:, None] + moves[None], -LIMITS, LIMITS).reshape(-1, 6)
        found = _costs(tried, first, second).reshape(len(poses), -1)
        choice = found.argmin(axis=1)
        better = found.min(axis=1) < costs
        poses = np.where(better[:, None], tried.reshape(len(poses), -1, 6)[np.arange(len(poses)), choice], poses)
        costs = np.where(better, found.min(axis=1), costs)
        moves = moves * _FINER
    pose = poses[costs.argmin()]
    there, back = distances(pose[None], first, second)
    return Fit(pose, there[0], back[0], float(costs.min()))


def _costs(poses: Poses, first: Shape, second: Shape) -> NDArray[np.float64]:
    there, back = distances(poses, first, second)
    # The worse side counts more: a part of a drawing lies on the whole of it, but not the whole on the part.
    a, b = there.mean(axis=1), back.mean(axis=1)
    effort = ((poses / LIMITS) ** 2).sum(axis=1)
    return np.asarray((a + b) / 2 + 0.5 * np.abs(a - b) + 0.004 * effort, np.float64)


def distances(poses: Poses, first: Shape, second: Shape) -> tuple[Floats, Floats]:
    """Give for each pose each point's distance from the other drawing's lines: shapes (k, n) and (k, m)."""
    matrix = matrices(poses).astype(np.float32)
    shift = poses[:, None, 4:].astype(np.float32)
    there = _looked_up(second, first.points @ matrix.transpose(0, 2, 1) + shift, first.directions + poses[:, :1])
    undone = np.linalg.inv(matrix).transpose(0, 2, 1)
    back = _looked_up(first, (second.points - shift) @ undone, second.directions - poses[:, :1])
    return there, back


def moved(shape: Shape, pose: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Give the shape's points and directions in that pose."""
    points = shape.points @ matrices(pose[None])[0].T + pose[4:]
    # Of the directions only the turn: shear and stretch change them by little.
    return points.astype(np.float32), ((shape.directions + pose[0]) % np.pi).astype(np.float32)


def _looked_up(shape: Shape, points: Floats, directions: NDArray[np.float64]) -> Floats:
    at = cells(points)
    which = np.rint(directions * (DIRECTIONS / np.pi)).astype(np.intp) % DIRECTIONS
    return shape.fields.ravel().take((which * GRID + at[..., 1]) * GRID + at[..., 0])
