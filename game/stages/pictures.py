"""Forty pictures made of clear strokes, drawn from memory in a square from -100 to 100 (one petal reaches 106).

They are what the drawing stage shows, and what the comparison of drawings is measured with (images/evaluation); y grows
downwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

Point = tuple[float, float]
#: One movement of the pen: points close enough to be joined by straight lines.
Line = tuple[Point, ...]
Picture = tuple[Line, ...]


def _points(text: str) -> list[Point]:
    """Read "x,y x,y"."""
    pairs = (pair.split(",") for pair in text.split())
    return [(float(x), float(y)) for x, y in pairs]


def _between(one: Point, other: Point, steps: int) -> list[Point]:
    """Give points from one to before the other, so that a hand can bend what is straight."""
    return [
        (one[0] + (other[0] - one[0]) * step / steps, one[1] + (other[1] - one[1]) * step / steps)
        for step in range(steps)
    ]


def _dense(points: list[Point]) -> Line:
    return (*(point for one, other in pairwise(points) for point in _between(one, other, 12)), points[-1])


def _lines(*texts: str) -> Picture:
    return tuple(_dense(_points(text)) for text in texts)


def _curve(text: str) -> Picture:
    """Give a smooth curve through the points (Catmull-Rom); closed where the last is the first."""
    points = _points(text)
    before, after = (points[-2], points[1]) if points[0] == points[-1] else (points[0], points[-1])
    padded = [before, *points, after]
    line: list[Point] = []
    for four in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        for step in range(16):
            t = step / 16
            x, y = (
                (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3) / 2
                for a, b, c, d in zip(*four, strict=True)
            )
            line.append((x, y))
    return ((*line, points[-1]),)


def _arc(x: float, y: float, rx: float, ry: float | None = None, start: float = 0, end: float = 360) -> Picture:
    """Give an arc; degrees run clockwise from the right."""
    steps = max(8, int(abs(end - start) / 6))
    angles = (math.radians(start + (end - start) * step / (steps - 1)) for step in range(steps))
    high = rx if ry is None else ry
    return (tuple((x + rx * math.cos(angle), y + high * math.sin(angle)) for angle in angles),)


def _rays(x: float, y: float, inner: float, outer: float, count: int) -> Picture:
    rays: list[Line] = []
    for number in range(count):
        angle = number * 2 * math.pi / count
        near, far = ((x + radius * math.cos(angle), y + radius * math.sin(angle)) for radius in (inner, outer))
        rays.append((*_between(near, far, 11), far))
    return tuple(rays)


def _star(points: int, inner: float, outer: float) -> Picture:
    corners: list[Point] = []
    for number in range(2 * points + 1):
        angle = number * math.pi / points - math.pi / 2
        radius = outer if number % 2 == 0 else inner
        corners.append((radius * math.cos(angle), radius * math.sin(angle)))
    return (_dense(corners),)


def _spiral(turns: float) -> Picture:
    line: list[Point] = []
    for number in range(140):
        t = 0.04 + 0.96 * number / 139
        angle = t * turns * 2 * math.pi
        line.append((90 * t * math.cos(angle), 90 * t * math.sin(angle)))
    return (tuple(line),)


def _petals(count: int) -> Picture:
    petals: list[Line] = []
    for number in range(count):
        degrees = 360 * number / count
        x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        petals += _arc(52 * x, -30 + 52 * y, 27, None, degrees - 125, degrees + 125)
    return tuple(petals)


PICTURES: Final[Mapping[str, Picture]] = {
    "house": _lines("-70,90 -70,-5 0,-80 70,-5 70,90 -70,90", "-15,90 -15,40 18,40 18,90", "-90,15 -70,-5 70,-5 90,15"),
    "star": _star(5, 38, 95),
    "cat": _arc(0, 15, 72, 65)
    + _lines("-62,-20 -60,-85 -22,-46", "62,-20 60,-85 22,-46", "-20,30 -85,22", "-20,38 -85,45")
    + _lines("20,30 85,22", "20,38 85,45", "-8,24 8,24 0,34 -8,24")
    + _arc(-27, 2, 9)
    + _arc(27, 2, 9),
    "fish": _curve("-85,0 -45,-38 10,-35 60,0 95,-38 88,0 95,38 60,0 10,35 -45,38 -85,0")
    + _arc(-52, -10, 6)
    + _curve("-30,-28 -20,0 -30,28"),
    "key": _arc(-58, 0, 32) + _lines("-26,0 92,0 92,34", "62,0 62,28"),
    "cup": _lines("-70,-50 -55,75 35,75 50,-50 -70,-50") + _curve("48,-30 88,-28 85,22 42,32"),
    "arrow": _lines("-95,0 90,0", "45,-42 92,0 45,42"),
    "flower": _petals(5) + _arc(0, -30, 22) + _curve("0,50 -4,70 0,98") + _curve("0,85 30,60 48,68 0,92"),
    "sun": _arc(0, 0, 42) + _rays(0, 0, 56, 95, 10),
    "lightning": _lines("15,-95 -45,10 0,10 -20,95 50,-20 5,-20 40,-95 15,-95"),
    "letter A": _lines("-65,90 0,-90 65,90", "-40,25 40,25"),
    "smiley": _arc(0, 0, 90) + _arc(-32, -25, 9) + _arc(32, -25, 9) + _arc(0, 8, 48, 42, 15, 165),
    "bicycle": _arc(-55, 35, 38)
    + _arc(55, 35, 38)
    + _lines("-55,35 -20,-25 35,-25 0,35 -55,35", "0,35 -28,-40 -42,-40 -14,-40", "55,35 30,-45 55,-52"),
    "anchor": _arc(0, -75, 17)
    + _lines("0,-58 0,88", "-35,-35 35,-35")
    + _curve("-75,25 -60,70 0,88 60,70 75,25")
    + _lines("-90,45 -75,25 -55,42", "55,42 75,25 90,45"),
    "pear": _curve("0,-60 -25,-40 -30,-5 -58,40 -35,85 0,90 35,85 58,40 30,-5 25,-40 0,-60")
    + _curve("0,-60 4,-78 16,-92"),
    "envelope": _lines("-90,-58 90,-58 90,58 -90,58 -90,-58", "-90,-58 0,15 90,-58"),
    "ladder": _lines(
        "-38,-95 -38,95", "38,-95 38,95", "-38,-65 38,-65", "-38,-25 38,-25", "-38,18 38,18", "-38,60 38,60"
    ),
    "clock": _arc(0, 0, 90) + _lines("0,0 0,-62", "0,0 42,18", "0,-90 0,-78", "90,0 78,0", "0,90 0,78", "-90,0 -78,0"),
    "glasses": _arc(-48, 0, 36)
    + _arc(48, 0, 36)
    + _arc(0, -4, 13, 10, 180, 360)
    + _lines("-84,0 -98,-32", "84,0 98,-32"),
    "balloon": _curve("0,30 -40,0 -55,-45 -30,-88 0,-95 30,-88 55,-45 40,0 0,30")
    + _lines("0,30 -9,42 9,42 0,30")
    + _curve("0,42 12,58 -8,76 6,96"),
    "tree": _curve("-15,30 -62,35 -85,0 -60,-35 -55,-75 0,-92 55,-75 60,-35 85,0 62,35 15,30")
    + _lines("-15,25 -18,92", "15,25 18,92", "-18,92 18,92"),
    "heart": _curve("0,-35 -28,-78 -75,-70 -88,-25 -55,30 0,85") + _curve("0,-35 28,-78 75,-70 88,-25 55,30 0,85"),
    "car": _lines(
        "-95,35 -95,0 -55,-8 -35,-48 32,-48 58,-8 95,2 95,35 72,35", "28,35 -28,35", "-72,35 -95,35", "-55,-8 58,-8"
    )
    + _arc(-50, 38, 21)
    + _arc(50, 38, 21),
    "umbrella": _arc(0, -5, 90, 82, 180, 360)
    + _curve("-90,-5 -60,-22 -30,-5 0,-22 30,-5 60,-22 90,-5")
    + _curve("0,-18 0,40 0,78 18,92 32,76"),
    "spiral": _spiral(3.2),
    "boat": _lines("-90,38 -58,82 58,82 90,38 -90,38", "0,38 0,-92 72,20 0,20", "-8,-62 -62,20 -8,20"),
    "moon": _arc(0, 0, 88, None, 55, 305) + _curve("50,72 5,38 -8,0 5,-38 50,-72"),
    "mountain": _lines("-98,70 -35,-60 5,15 38,-30 98,70 -98,70", "-52,-25 -38,-10 -28,-25 -17,-25"),
    "snowman": _arc(0, 52, 42)
    + _arc(0, -12, 29)
    + _arc(0, -58, 20)
    + _lines("-24,-76 24,-76", "-14,-76 -14,-97 14,-97 14,-76")
    + _lines("-28,-15 -70,-42", "28,-15 70,-42"),
    "butterfly": _curve("0,-10 -30,-70 -80,-78 -88,-25 -40,5 0,5")
    + _curve("0,-10 30,-70 80,-78 88,-25 40,5 0,5")
    + _curve("0,5 -50,15 -65,62 -28,78 0,25")
    + _curve("0,5 50,15 65,62 28,78 0,25")
    + _lines("0,-25 0,50")
    + _curve("0,-25 -8,-55 -20,-70")
    + _curve("0,-25 8,-55 20,-70"),
    "letter R": _lines("-45,92 -45,-90") + _curve("-45,-90 25,-88 48,-48 25,-8 -45,-4") + _lines("-8,-4 55,92"),
    "mushroom": _arc(0, -10, 88, 75, 180, 360)
    + _curve("-88,-10 -40,2 0,4 40,2 88,-10")
    + _curve("-26,4 -22,45 -32,88 32,88 22,45 26,4")
    + _arc(-30, -42, 13)
    + _arc(28, -48, 15),
    "bottle": _curve("-14,-92 -14,-50 -16,-38 -38,-12 -40,10 -40,92")
    + _lines("-40,92 40,92")
    + _curve("14,-92 14,-50 16,-38 38,-12 40,10 40,92")
    + _lines("-14,-92 14,-92", "-40,22 40,22", "-40,62 40,62"),
    "crown": _lines("-82,65 -90,-48 -42,5 0,-72 42,5 90,-48 82,65 -82,65", "-80,42 80,42"),
    "chair": _lines(
        "-42,-95 -42,92", "-42,10 42,10 42,92", "-42,-92 -30,-92", "-42,10 -42,28 42,28", "-42,-50 -30,-50"
    ),
    "kite": _lines("0,-92 48,-28 0,45 -48,-28 0,-92", "0,-92 0,45", "-48,-28 48,-28")
    + _curve("0,45 18,58 -8,72 14,84 4,98"),
    "snail": _curve("-95,70 60,72 82,40 78,5 62,5 58,40 35,50")
    + _arc(-10, 8, 50, 48, 90, 400)
    + _curve("28,42 12,60 -15,52 -36,22 -30,-12 0,-20 16,0 8,24 -10,20")
    + _lines("66,5 58,-28", "76,5 88,-26"),
    "ice cream": _arc(0, -30, 46, 50, 170, 370)
    + _lines("-52,-20 52,-20 0,95 -52,-20", "-26,-20 14,62", "26,-20 -14,62"),
    "scissors": _arc(-45, 62, 27) + _arc(45, 62, 27) + _lines("-32,38 42,-95", "32,38 -42,-95"),
    "cactus": _curve("-20,92 -20,20 -20,-60 0,-88 20,-60 20,20 20,92")
    + _curve("-20,35 -62,30 -70,-5 -70,-28 -56,-34 -48,-20 -44,8 -20,10")
    + _curve("20,15 60,10 70,-20 70,-48 56,-56 48,-42 46,-15 20,-10")
    + _lines("-55,92 55,92"),
}
