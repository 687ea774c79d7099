"""Pictures for the tests: motifs drawn exactly as asked, and files of every format."""

import base64
import io
import math
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from images.evaluation.motifs import HELD_OUT, TUNING, Motif

MOTIFS = {**TUNING, **HELD_OUT}

Colour = tuple[int, ...]
Pixels = NDArray[np.uint8]


def sheet(
    motif: Motif | str,
    *,
    side: int = 384,
    width: int = 5,
    scale: float = 0.6,
    at: tuple[float, float] = (0.5, 0.5),
    turn: float = 0,
    stretch: float = 1,
    paper: Colour = (255, 255, 255, 255),
    ink: Colour = (0, 0, 0, 255),
    filled: bool = False,
) -> Pixels:
    """Draw a motif on a square sheet: `scale` is its size and `at` its middle, both in sides; `turn` in degrees."""
    strokes = MOTIFS[motif] if isinstance(motif, str) else motif
    angle = math.radians(turn)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) * scale / 2
    lines = [
        np.round((stroke * [stretch, 1] @ matrix + np.array(at)) * side * 16).astype(np.int32) for stroke in strokes
    ]
    mask = np.zeros((side, side), np.uint8)
    if filled:
        cv2.fillPoly(mask, [line // 16 for line in lines], 255)
    cv2.polylines(mask, lines, False, 255, width, cv2.LINE_AA, 4)
    share = mask[:, :, None] / 255
    if paper[3] == 0:
        paper = (*ink[:3], 0)
    return np.asarray(np.round(share * np.array(ink) + (1 - share) * np.array(paper)), np.uint8)


def encoded(pixels: Pixels, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """Save pixels as a file."""
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def text(file: bytes) -> str:
    """Give what a client sends."""
    return base64.b64encode(file).decode()


def chunk(name: bytes, data: bytes) -> bytes:
    """Give one chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 0, data: bytes | None = None) -> bytes:
    """Build a PNG by hand: what it declares, further chunks, and its compressed pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 16) if data is None else data
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
