"""Headers are read without a decoder."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from images.containers import read_container
from images.errors import ImageUnreadable
from tests.images.pictures import chunk, encoded, png

PIXELS = np.full((30, 70, 4), 200, np.uint8)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_the_header_says_format_and_size(kind: str, options: dict[str, bool]) -> None:
    container = read_container(encoded(PIXELS, kind, "RGB", **options))
    assert (container.kind, container.width, container.height, container.orientation) == (kind, 70, 30, 1)


def test_a_webp_with_extras_says_its_size_and_turn() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    container = read_container(encoded(PIXELS, "WEBP", exif=exif))
    assert (container.width, container.height, container.orientation) == (70, 30, 6)


def test_a_gif_frame_beyond_its_screen_counts_with_its_own_size() -> None:
    gif = b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b"\x2c" + struct.pack("<HHHHB", 3, 4, 50, 60, 0) + b"\2\0;"
    container = read_container(gif)
    assert (container.width, container.height) == (53, 64)


def test_a_decoder_gets_only_the_first_frame_of_a_gif() -> None:
    frames = [Image.fromarray(PIXELS + level).convert("L") for level in (0, 20, 40)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    kept = read_container(out.getvalue()).data
    assert kept.endswith(b"\x3b")
    assert len(kept) < len(out.getvalue())


def test_a_decoder_gets_no_text_profile_or_frames_of_a_png() -> None:
    plain = png(4, 4)
    extras = (chunk(b"iCCP", b"x\0\0y"), chunk(b"tEXt", b"a\0b"), chunk(b"acTL", bytes(8)), chunk(b"pHYs", bytes(9)))
    assert read_container(png(4, 4, *extras)).data == plain


def test_a_decoder_gets_no_comments_or_profiles_of_a_jpeg() -> None:
    plain = encoded(PIXELS, "JPEG", "RGB")
    full = encoded(PIXELS, "JPEG", "RGB", comment=b"hello", icc_profile=bytes(5000), exif=Image.Exif().tobytes())
    assert read_container(full).data == read_container(plain).data


def exif(order: str, *entries: tuple[int, int, int, int], count: int | None = None) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(struct.pack(f"{order}HHIHH", tag, kind, number, value, 0) for tag, kind, number, value in entries)
    return mark + struct.pack(f"{order}IH", 8, len(entries) if count is None else count) + body


@pytest.mark.parametrize(
    ("data", "orientation"),
    [
        (exif("<", (0x0112, 3, 1, 8)), 8),
        (exif(">", (0x010F, 2, 1, 0), (0x0112, 3, 1, 3)), 3),
        (exif("<", (0x0112, 3, 1, 0)), 1),
        (exif("<", (0x0112, 3, 1, 9)), 1),
        (exif("<", count=65_535), 1),
        (exif(">")[:-1], 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"II*\0", 1),
        (b"nothing", 1),
        (b"", 1),
    ],
)
def test_an_orientation_is_1_unless_it_is_said_well(data: bytes, orientation: int) -> None:
    assert read_container(png(4, 4, chunk(b"eXIf", data))).orientation == orientation


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\0\1",
        b"\xff\xd8\0\0",
        b"GIF89a",
        b"GIF87a\1\0\1\0\0\0\0;",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"RIFF\0\0\0\0WEBPXXXX",
        b"BM\0\0",
        png(3, 3)[:-4],
        b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(13)),
    ],
)
def test_a_broken_header_is_unreadable(data: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        read_container(data)
