"""What a picture's file says about itself, read before anything is decoded.

A few hundred bytes can declare gigabytes: of pixels, of compressed text or colour profile, of frames. So the size is
taken from the headers first, and a decoder is given only the parts that pixels are made of.

Formats: PNG (W3C PNG, third edition), JPEG (ITU T.81), GIF89a, WebP (RFC 9649); orientation: Exif 2.32, tag 274.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from images.errors import ImageUnreadable

#: Chunks, segments or blocks of one file. Encoders write a block of a GIF every 255 bytes, 16,500 in 4 MiB, and
#: everybody else far fewer; a file that is cut into single bytes only takes time.
MAX_PARTS: Final = 1 << 16

#: Scans of one JPEG. Encoders write about ten; each costs a pass over all pixels, however few bytes it has.
MAX_SCANS: Final = 64

#: Entries of an Exif directory that are looked at; cameras write some dozen.
MAX_EXIF_ENTRIES: Final = 256

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP0, _APP1, _APP14, _APP15, _COMMENT, _SCAN = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE, 0xDA

Kind = Literal["PNG", "JPEG", "GIF", "WEBP"]


@dataclass(frozen=True, slots=True)
class Container:
    """A picture's file: its size in pixels as stored, its Exif orientation (1 to 8), and what a decoder needs of it."""

    kind: Kind
    width: int
    height: int
    orientation: int
    data: bytes


def read_container(data: bytes) -> Container:
    """Read the headers. Raises ImageUnreadable for any other format and where a header is broken or cut off."""
    for magic, read in _READERS:
        if data.startswith(magic):
            try:
                container = read(data)
            except (struct.error, IndexError) as error:
                raise ImageUnreadable("the file is cut off") from error
            if container.width < 1 or container.height < 1:
                raise ImageUnreadable("the picture has no pixels")
            return container
    raise ImageUnreadable("neither PNG, JPEG, WebP nor GIF")


def _png(data: bytes) -> Container:
    length, name, width, height = struct.unpack_from(">I4sII", data, 8)
    if name != b"IHDR" or length != 13:
        raise ImageUnreadable("a PNG begins with its header")
    kept = [_PNG]
    exif = b""
    at = 8
    for _ in range(MAX_PARTS):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ImageUnreadable("the file is cut off")
        if name in _PIXEL_CHUNKS:
            kept.append(data[at:end])
        elif name == b"eXIf":
            exif = data[at + 8 : end - 4]
        if name == b"IEND":
            return Container("PNG", width, height, _orientation(exif), b"".join(kept))
        at = end
    raise ImageUnreadable("too many parts")


def _jpeg(data: bytes) -> Container:
    kept = [data[:2]]
    width = height = 0
    exif = b""
    at = 2
    for _ in range(MAX_PARTS):
        if data[at] != 0xFF:
            raise ImageUnreadable("a marker is missing")
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
            continue
        if marker == _SCAN:
            if data.count(b"\xff\xda", at) > MAX_SCANS:
                raise ImageUnreadable("too many scans")
            return Container("JPEG", width, height, _orientation(exif), b"".join([*kept, data[at:]]))
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if end > len(data) or end < at + 4:
            raise ImageUnreadable("the file is cut off")
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
        if marker == _APP1 and data[at + 4 : at + 10] == b"Exif\0\0":
            exif = exif or data[at + 10 : end]
        # Of comments and the application's segments only two say something about colours: JFIF's and Adobe's.
        if marker in (_APP0, _APP14) or not (_APP0 <= marker <= _APP15 or marker == _COMMENT):
            kept.append(data[at:end])
        at = end
    raise ImageUnreadable("too many parts")


def _gif(data: bytes) -> Container:
    """Keep the first frame and what says which of its colours is transparent."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _palette_bytes(flags)
    kept = [data[:at]]
    for _ in range(MAX_PARTS):
        if data[at] == 0x2C:
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            end = _after_blocks(data, at + 11 + _palette_bytes(flags))
            kept += [data[at:end], b"\x3b"]
            width, height = max(width, left + frame_width), max(height, top + frame_height)
            return Container("GIF", width, height, 1, b"".join(kept))
        if data[at] != 0x21:
            raise ImageUnreadable("no frame")
        end = _after_blocks(data, at + 2)
        if data[at + 1] == 0xF9:
            kept[1:] = [data[at:end]]
        at = end
    raise ImageUnreadable("too many parts")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    for _ in range(MAX_PARTS):
        length = data[at]
        at += 1 + length
        if not length:
            return at
    raise ImageUnreadable("too many parts")


def _webp(data: bytes) -> Container:
    if data[8:12] != b"WEBP":
        raise ImageUnreadable("neither PNG, JPEG, WebP nor GIF")
    name = data[12:16]
    if name == b"VP8X" and len(data) >= 30:
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif name == b"VP8L":
        bits = int(struct.unpack_from("<I", data, 21)[0])
        width, height = bits % (1 << 14) + 1, (bits >> 14) % (1 << 14) + 1
    elif name == b"VP8 ":
        width, height = (side % (1 << 14) for side in struct.unpack_from("<HH", data, 26))
    else:
        raise ImageUnreadable("no frame")
    return Container("WEBP", width, height, _orientation(_webp_exif(data)) if name == b"VP8X" else 1, data)


def _webp_exif(data: bytes) -> bytes:
    at = 12
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            return b""
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            return data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
        at += 8 + length + length % 2
    return b""


def _orientation(exif: bytes) -> int:
    """Give how the picture has to be turned; 1, not at all, where nothing sensible is said."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        at = int(struct.unpack_from(f"{order}I", exif, 4)[0])
        count = int(struct.unpack_from(f"{order}H", exif, at)[0])
        for entry in range(min(count, MAX_EXIF_ENTRIES)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_READERS: Final[tuple[tuple[bytes, Callable[[bytes], Container]], ...]] = (
    (_PNG, _png),
    (b"\xff\xd8", _jpeg),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"RIFF", _webp),
)
