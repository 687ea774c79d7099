"""The chosen comparison and those that it has to be better than, each as: prepare a file once, compare two."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import hog
from skimage.metrics import structural_similarity

from images.compare import unlikeness
from images.decode import decode
from images.evaluation.context import context_distance, contexts
from images.ink import Drawing


@dataclass(frozen=True, slots=True)
class Method:
    """`prepare` makes of a file what `distance` takes; larger is less alike. Scales differ between methods."""

    name: str
    prepare: Callable[[bytes], Any]
    distance: Callable[[Any, Any], float]


def drawing(file: bytes) -> Drawing:
    """Decode as the server does."""
    return decode(base64.b64encode(file).decode())


def _opened(file: bytes) -> Image.Image:
    """Lay the picture on white, as a browser shows it."""
    image = Image.open(io.BytesIO(file)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L")


def _lines(file: bytes) -> NDArray[np.uint8]:
    """Give our thin lines drawn with a pen of three pixels, so that a method is measured and not its missing crop."""
    return np.asarray(cv2.dilate(drawing(file).lines * 255, np.ones((3, 3), np.uint8)), np.uint8)


def _hashed(name: str, of: Callable[[Image.Image], Any], of_lines: bool = False) -> Method:
    def prepare(file: bytes) -> Any:
        return of(Image.fromarray(255 - _lines(file)) if of_lines else _opened(file))

    return Method(name, prepare, lambda a, b: float(a - b))


def _hog(file: bytes) -> NDArray[np.float64]:
    soft = cv2.GaussianBlur(_lines(file), (0, 0), 2)
    found: NDArray[np.float64] = hog(soft, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(2, 2))
    return found / max(float(np.linalg.norm(found)), 1e-9)


def _field(file: bytes) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    lines = drawing(file).lines
    return lines > 0, np.asarray(cv2.distanceTransform(1 - lines, cv2.DIST_L2, 5), np.float64)


def _chamfer(a: tuple[Any, Any], b: tuple[Any, Any]) -> float:
    return float(a[1][b[0]].mean() + b[1][a[0]].mean())


def _dissimilar(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return 1 - float(structural_similarity(a, b))  # type: ignore[no-untyped-call]


def _orb(file: bytes) -> NDArray[np.uint8] | None:
    image = cv2.resize(_lines(file), (256, 256))
    finder: Any = cv2.ORB_create(nfeatures=200, fastThreshold=5, edgeThreshold=15)  # type: ignore[attr-defined]
    found: NDArray[np.uint8] | None = finder.detectAndCompute(image, None)[1]
    return found


def _unmatched(a: NDArray[np.uint8] | None, b: NDArray[np.uint8] | None) -> float:
    if a is None or b is None or min(len(a), len(b)) < 2:
        return 1.0
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(a, b)
    return 1 - sum(match.distance < 64 for match in matches) / max(len(a), len(b))


CHOSEN: Final = Method("chosen (fitted chamfer + directions)", drawing, unlikeness)

METHODS: Final[Sequence[Method]] = (
    CHOSEN,
    Method("shape context, of our lines", lambda file: contexts(drawing(file).lines), context_distance),
    Method("HOG + cosine, of our lines", _hog, lambda a, b: 1 - float(a @ b)),
    Method("chamfer, of our lines", _field, _chamfer),
    Method("SSIM, of our lines", _lines, _dissimilar),
    Method("ORB matches, of our lines", _orb, _unmatched),
    _hashed("pHash, of our lines", imagehash.phash, of_lines=True),
    _hashed("pHash", imagehash.phash),
    _hashed("dHash", imagehash.dhash),
    _hashed("wHash", imagehash.whash),
)
