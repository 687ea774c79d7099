"""What of a picture is drawn: pixels in, thin lines out, whatever the paper, the colour and the pen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from images.thinning import thinned

Mask = NDArray[np.uint8]  # (height, width), 0 and 1
Pixels = NDArray[np.uint8]  # (height, width, 4), RGBA
Floats = NDArray[np.float32]

#: Pixels on each side of the square that the lines are kept in, and how many of them stay free at its rim.
CANVAS: Final = 128
MARGIN: Final = 4

#: Levels (of 255) by which ink at least differs from its paper; the artefacts of strong JPEG compression stay below.
MIN_CONTRAST: Final = 24

# Ink is what differs by these shares of the darkest line's difference: so much is ink, so little if it touches ink.
_SURE: Final = 0.45
_LIKELY: Final = 0.25

# Parts with less than this share of all ink are dirt: an eye in a face has one in a hundred.
_DIRT: Final = 0.002

# Half the width, on the canvas, from which ink is a filled shape and no line: a fourth of the drawing is too much.
_SOLID: Final = 10.0

# A shade over the paper, from one side to the other, that is worth removing; in levels.
_SHADE: Final = 12.0

# Levels that the rim may differ from its median and still be paper in the shade, not a line drawn across it.
_STILL_PAPER: Final = 80


@dataclass(frozen=True, slots=True)
class Drawing:
    """Lines one pixel wide on a square of CANVAS pixels (0 and 1), as large as fits. Blank where nothing is drawn."""

    lines: Mask

    @property
    def blank(self) -> bool:
        """Whether nothing is drawn."""
        return not self.lines.any()


def drawing_of(pixels: Pixels) -> Drawing:
    """Find the lines in RGBA pixels of shape (height, width, 4), upright."""
    contrast, paper = _contrast(pixels)
    ink = _ink(contrast)
    if not ink.any():
        return Drawing(np.zeros((CANVAS, CANVAS), np.uint8))
    left, top, width, height = cv2.boundingRect(ink)
    inside = slice(top, top + height), slice(left, left + width)
    mask = (_fitted(ink[inside] * 255) > 80).astype(np.uint8)
    solid = _solid(mask)
    if solid.any():
        outlines = _outlines(mask, solid, _fitted(_over(pixels[inside], paper)[:, :, :3]))
        mask = np.where(solid > 0, 0, mask) | outlines
    return Drawing(thinned(mask))


def _contrast(pixels: Pixels) -> tuple[Mask, Floats]:
    """Give by how many levels each pixel differs from the paper, and the paper's colour (4 levels)."""
    rim = _rim(pixels)
    if np.median(rim[:, 3]) < 128:
        # No paper at all: what is there is drawn. Its colours matter only inside of filled shapes.
        return np.ascontiguousarray(pixels[:, :, 3]), np.array([127, 127, 127, 255], np.float32)
    paper = np.median(rim[rim[:, 3] >= 128], axis=0).astype(np.float32)
    paper[3] = 255
    colours = _over(pixels, paper)
    shade = _shade(colours, paper)
    if shade is None:
        away = np.abs(np.arange(256, dtype=np.float32)[:, None] - paper).astype(np.uint8)
        red, green, blue = (
            cv2.LUT(channel, table) for channel, table in zip(cv2.split(colours)[:3], away.T, strict=False)
        )
    else:
        red, green, blue, _ = cv2.split(np.abs(colours - shade).astype(np.uint8))
    # The strongest channel, not the luminance: yellow on white differs in blue alone.
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8), paper


def _rim(pixels: Pixels) -> Pixels:
    """Give the pixels along the four sides, shape (n, channels)."""
    height, width = pixels.shape[:2]
    return pixels[_rim_places(height, width)]


def _rim_places(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give rows and columns of a quarter of the pixels along the four sides, up to four deep."""
    y: list[NDArray[np.intp]] = []
    x: list[NDArray[np.intp]] = []
    for depth in range(min(4, 1 + min(height, width) // 64)):
        along_x = np.arange(min(depth, width - 1), width, 4)
        along_y = np.arange(min(depth, height - 1), height, 4)
        y += [np.full_like(along_x, depth), np.full_like(along_x, height - 1 - depth), along_y, along_y]
        x += [along_x, along_x, np.full_like(along_y, depth), np.full_like(along_y, width - 1 - depth)]
    return np.concatenate(y), np.concatenate(x)


def _over(pixels: Pixels, paper: Floats) -> Pixels:
    """Lay the picture on paper of that colour, so that it is opaque."""
    alpha = cv2.extractChannel(pixels, 3)
    if cv2.minMaxLoc(alpha)[0] == 255:
        return pixels
    share = alpha[:, :, None].astype(np.float32) / 255
    return (pixels * share + paper * (1 - share)).astype(np.uint8)


def _shade(colours: Pixels, paper: Floats) -> Floats | None:
    """Give the paper's colour at each pixel where light falls unevenly on it, as a plane through the rim's colours."""
    height, width = colours.shape[:2]
    y, x = _rim_places(height, width)
    rim = colours[y, x].astype(np.float32)
    places = np.stack([x / width, y / height, np.ones(len(x))], axis=1).astype(np.float32)
    near = np.abs(rim - paper).max(axis=1) < _STILL_PAPER
    rim, places = rim[near], places[near]
    # The normal equations are three by three; a picture one pixel wide has no plane, hence pinv.
    plane = np.linalg.pinv(places.T @ places) @ (places.T @ rim)
    if np.abs(plane[:2]).sum(axis=0).max() < _SHADE or np.abs(places @ plane - rim).mean() > _SHADE:
        return None
    across = (np.arange(width, dtype=np.float32) / width)[None, :, None] * plane[0]
    down = (np.arange(height, dtype=np.float32) / height)[:, None, None] * plane[1]
    return np.asarray(across + down + plane[2], np.float32)


def _ink(contrast: Mask) -> Mask:
    noise = float(np.median(contrast[_rim_places(*contrast.shape)]))
    if noise > 1:
        contrast = np.asarray(cv2.GaussianBlur(contrast, (3, 3), 0), np.uint8)
    counts = cv2.calcHist([contrast], [0], None, [256], [0, 256]).ravel()
    # The strongest line's difference; a dozen pixels, so that no single one decides.
    above = np.cumsum(counts[::-1])[::-1]
    peak = int(np.flatnonzero(above >= min(12, contrast.size)).max())
    ink = np.zeros_like(contrast)
    if peak < max(MIN_CONTRAST, 6 * noise):
        return ink
    floor = max(MIN_CONTRAST / 2, 4 * noise)
    likely = np.asarray(cv2.threshold(contrast, max(_LIKELY * peak, floor), 1, cv2.THRESH_BINARY)[1], np.uint8)
    left, top, width, height = cv2.boundingRect(likely)
    inside = slice(top, top + height), slice(left, left + width)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(likely[inside], connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    sure = np.zeros(len(areas), bool)
    sure[parts[contrast[inside] > max(_SURE * peak, floor)]] = True
    sure[0] = False
    sure &= areas >= _DIRT * areas[sure].sum()
    ink[inside] = sure.astype(np.uint8)[parts]
    return ink


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale the crop to the canvas, its proportions kept, in the middle."""
    height, width = picture.shape[:2]
    share = (CANVAS - 2 * MARGIN) / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    how = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    fitted = cv2.resize(picture, size, interpolation=how)
    top, left = (CANVAS - size[1]) // 2, (CANVAS - size[0]) // 2
    rim = (top, CANVAS - size[1] - top, left, CANVAS - size[0] - left)
    kind = cv2.BORDER_CONSTANT if picture.ndim == 2 else cv2.BORDER_REPLICATE
    return np.asarray(cv2.copyMakeBorder(fitted, *rim, kind, value=0), np.uint8)


def _solid(mask: Mask) -> Mask:
    """Give the parts of the mask that are filled shapes and no lines."""
    core = (cv2.distanceTransform(mask, cv2.DIST_L2, 5) > _SOLID).astype(np.uint8)
    if not core.any():
        return core
    reach = 2 * int(_SOLID) + 5
    grown = cv2.dilate(core, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return np.asarray(cv2.bitwise_and(mask, grown), np.uint8)


def _outlines(mask: Mask, solid: Mask, colours: Pixels) -> Mask:
    """Give the lines that somebody would have drawn around filled shapes and where their colours change."""
    square = np.ones((3, 3), np.uint8)
    inner = cv2.erode(mask, square)
    around = cv2.bitwise_and(solid, 1 - inner)
    edges = cv2.Canny(cv2.GaussianBlur(colours, (3, 3), 0), 80, 200) // 255
    edges = cv2.bitwise_and(edges, cv2.erode(solid, square, iterations=3))
    # Both sides of a line inside of a shape are edges; closing makes one line of them again.
    lines = cv2.dilate(cv2.bitwise_or(around, edges), square)
    return np.asarray(cv2.morphologyEx(lines, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)
