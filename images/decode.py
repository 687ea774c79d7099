"""From what a client sends to a drawing: base64 or a data: URL, a file, pixels, lines.

Whatever is wrong with the picture comes out as ImageUnreadable or ImageTooLarge. A refusal for size costs no more than
reading the headers.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from images.containers import Container, Kind, read_container
from images.errors import ImageTooLarge, ImageUnreadable
from images.ink import Drawing, drawing_of

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Drawing", "ImageTooLarge", "ImageUnreadable", "decode"]

#: Bytes of the file. A drawing has some 10 KB; this is a phone camera's picture of a sheet of paper.
MAX_BYTES: Final = 4 * 1024 * 1024

#: Pixels, as declared. A phone camera's 4032 x 3024, and more than a screen has (4K is 3840 x 2160). A decoder takes
#: 4 to 16 bytes for each: 210 MB were seen for a WebP of this size, and less for the others.
MAX_PIXELS: Final = 4096 * 3072

#: Pixels on either side. A picture of one column takes a second of CPU, as large as it may be by its pixels.
MAX_SIDE: Final = 8192

#: Pixels on the longer side of what lines are looked for in. A line of two pixels is still one in a picture of 1024.
WORKING_SIDE: Final = 512

# Rows that are converted to RGBA at once, so that only a strip of the picture is held twice.
_STRIP: Final = 256

# Opened by their own names: `Image.open` would warn of large pictures and look through formats that are not wanted.
_OPENERS: Final[Mapping[Kind, Callable[[io.BytesIO], Image.Image]]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}

_URL_SAFE: Final = str.maketrans("-_", "+/")


def decode(picture: str) -> Drawing:
    """Read a picture: base64 (either alphabet, white space allowed, padding or not) or a base64 data: URL.

    PNG, JPEG, WebP, or the first frame of a GIF; what the data: URL says about it is not believed. Raises
    ImageTooLarge and ImageUnreadable.
    """
    container = read_container(_file_in(picture))
    _check_size(container.width, container.height)
    return drawing_of(_pixels(container))


def _file_in(picture: str) -> bytes:
    if len(picture) > 2 * MAX_BYTES:  # a third more for base64, and some for white space
        raise ImageTooLarge("too many characters")
    text = picture.lstrip()
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.rstrip().lower().endswith(";base64"):
            raise ImageUnreadable("a data: URL has to be base64")
        text = unquote(text) if "%" in text else text
    text = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
    if len(text) * 3 // 4 > MAX_BYTES:
        raise ImageTooLarge("too many bytes")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageUnreadable("not base64") from error


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageTooLarge(f"{width} x {height} pixels")


def _pixels(container: Container) -> NDArray[np.uint8]:
    """Decode to RGBA of shape (height, width, 4), turned upright, at most WORKING_SIDE on the longer side."""
    try:
        with _OPENERS[container.kind](io.BytesIO(container.data)) as image:
            _check_size(image.width, image.height)  # the decoder's own reading of the headers counts as well
            # A JPEG can be decoded at a half, a quarter or an eighth of its size. Never to less than is wanted.
            image.draft(None, (WORKING_SIDE, WORKING_SIDE))
            pixels = _shrunk(image)
    except ImageTooLarge:
        raise
    # What a broken file makes of a decoder is no closed set: OSError, SyntaxError, ValueError, KeyError, struct.error…
    except Exception as error:
        raise ImageUnreadable(f"broken {container.kind}") from error
    return _upright(pixels, container.orientation)


def _shrunk(image: Image.Image) -> NDArray[np.uint8]:
    factor = max(1, max(image.size) // WORKING_SIDE)
    image.load()
    if max(image.size) <= WORKING_SIDE:
        return np.asarray(_rgba(image))
    strip = _STRIP * factor
    rows = [
        np.asarray(_rgba(image.crop((0, top, image.width, min(top + strip, image.height)))).reduce(factor))
        for top in range(0, image.height, strip)
    ]
    pixels: NDArray[np.uint8] = np.ascontiguousarray(np.concatenate(rows))
    height, width = pixels.shape[:2]
    if max(height, width) <= WORKING_SIDE:
        return pixels
    share = WORKING_SIDE / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _rgba(strip: Image.Image) -> Image.Image:
    if strip.mode.startswith("I"):  # 16 bits of grey: Pillow would cut off at 255 instead of scaling
        grey = (np.asarray(strip).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGBA")
    if strip.mode in ("CMYK", "YCbCr", "LAB"):
        strip = strip.convert("RGB")
    return strip.convert("RGBA")


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
