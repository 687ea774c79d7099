"""What is read, what is refused, and as what."""

import base64
import contextlib
import io
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from images.compare import distance
from images.decode import MAX_BYTES, MAX_PIXELS, ImageTooLarge, ImageUnreadable, decode
from images.evaluation.hands import Hand
from tests.images.pictures import MOTIFS, chunk, encoded, png, sheet, text

HOUSE = sheet("house", side=256)
FILES = {
    "PNG": encoded(HOUSE),
    "PNG without alpha": encoded(HOUSE, mode="RGB"),
    "PNG with a palette": encoded(HOUSE, mode="P"),
    "PNG in grey": encoded(HOUSE, mode="L"),
    "PNG in black and white": encoded(HOUSE, mode="1"),
    "PNG in grey and alpha": encoded(HOUSE, mode="LA"),
    "JPEG": encoded(HOUSE, "JPEG", "RGB"),
    "progressive JPEG": encoded(HOUSE, "JPEG", "RGB", progressive=True),
    "JPEG in grey": encoded(HOUSE, "JPEG", "L"),
    "JPEG in CMYK": encoded(HOUSE, "JPEG", "CMYK"),
    "lossy WebP": encoded(HOUSE, "WEBP"),
    "lossless WebP": encoded(HOUSE, "WEBP", lossless=True),
    "GIF": encoded(HOUSE, "GIF", "RGB"),
    "GIF in grey": encoded(HOUSE, "GIF", "L"),
}
ORIGINAL = decode(text(FILES["PNG"]))


def url(kind: str, file: bytes) -> str:
    return f"data:image/{kind};base64,{text(file)}"


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_drawing(name: str) -> None:
    assert distance(ORIGINAL, decode(text(FILES[name]))) <= 3


def test_16_bits_of_grey_are_read() -> None:
    file = io.BytesIO()
    Image.fromarray(HOUSE[:, :, 0].astype(np.uint16) * 257).save(file, "PNG")
    assert distance(ORIGINAL, decode(text(file.getvalue()))) <= 3


def test_a_transparent_palette_colour_is_paper() -> None:
    image = Image.fromarray(HOUSE[:, :, 0]).point(lambda level: int(level > 128), "P")
    image.putpalette([0, 0, 0, 0, 0, 0])  # both are black; only the transparency tells them apart
    for kind in ("PNG", "GIF"):
        out = io.BytesIO()
        image.save(out, kind, transparency=1)
        assert distance(ORIGINAL, decode(text(out.getvalue()))) <= 3


def test_only_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.fromarray(sheet(motif, side=256)) for motif in ("house", "fish", "key")]
    for kind in ("GIF", "WEBP", "PNG"):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=100)
        assert distance(ORIGINAL, decode(text(out.getvalue()))) <= 3


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # How each orientation is stored, from the Exif standard: what undoes it is its inverse.
    stored = {
        1: HOUSE,
        2: HOUSE[:, ::-1],
        3: HOUSE[::-1, ::-1],
        4: HOUSE[::-1],
        5: HOUSE.transpose(1, 0, 2),
        6: np.rot90(HOUSE, 1),
        7: HOUSE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(HOUSE, -1),
    }[orientation]
    file = encoded(np.ascontiguousarray(stored), kind, "RGB", exif=exif)
    assert distance(ORIGINAL, decode(text(file))) <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (3, 2), (700, 500), (1300, 90), (2100, 1700)])
def test_blank_sheets_of_any_size_are_blank(size: tuple[int, int]) -> None:
    for mode in ("RGB", "RGBA", "P", "L", "1"):
        assert decode(text(encoded(np.full((*size, 4), 255, np.uint8), mode=mode))).blank


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_large_picture_is_shrunk_without_losing_the_drawing(kind: str) -> None:
    large = sheet("house", side=1600, width=10)
    assert distance(ORIGINAL, decode(text(encoded(large, kind, "RGB")))) <= 10


FILE = FILES["PNG"]


@pytest.mark.parametrize(
    "sent",
    [
        url("png", FILE),
        url("jpeg", FILE),
        "DATA:image/png;charset=utf-8;name=a%20b.png;BASE64," + text(FILE),
        "data:;base64," + text(FILE),
        "  \n" + url("png", FILE) + "\n",
        "\r\n".join(text(FILE)[at : at + 76] for at in range(0, len(text(FILE)), 76)),
        base64.urlsafe_b64encode(FILE).decode(),
        text(FILE).rstrip("="),
        text(FILE).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D").join(["data:image/png;base64,", ""]),
    ],
)
def test_base64_is_read_however_it_is_written(sent: str) -> None:
    assert np.array_equal(decode(sent).lines, ORIGINAL.lines)


@pytest.mark.parametrize(
    "sent",
    ["", "   ", "data:", "data:image/png;base64,", "data:image/svg+xml,%3Csvg%2F%3E", "data:image/png," + text(FILE)]
    + [
        "äöü",
        "!!!!",
        "A",
        "AAAAA",
        text(b"hello, this is no picture"),
        text(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ]
    + [text(encoded(HOUSE, kind, "RGB")) for kind in ("BMP", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF")]
    + [text(file[:cut]) for file in FILES.values() for cut in (1, 6, 12, 30, len(file) // 2)]
    + [text(png(0, 10)), text(png(10, 0)), text(b"GIF89a" + b"\0" * 7 + b";"), "\ud800"],
)
def test_what_is_no_whole_picture_is_unreadable(sent: str) -> None:
    with pytest.raises(ImageUnreadable):
        decode(sent)


def test_a_few_bytes_that_declare_gigabytes_are_too_large() -> None:
    gif = b"GIF89a\xff\xff\xff\xff\x00\x00\x00\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;"
    late = b"GIF89a\x01\0\x01\0\x00\x00\x00\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;"
    webp = encoded(HOUSE, "WEBP", lossless=True)
    wide = webp[:21] + b"\xff\xff\xff\x0f" + webp[25:]
    jpeg = FILES["JPEG"]
    frame = jpeg.index(b"\xff\xc0") + 5
    tall = jpeg[:frame] + b"\xff\xff\xff\xff" + jpeg[frame + 4 :]
    for file in (png(50_000, 50_000), png(2**31 - 1, 2**31 - 1), gif, late, wide, tall):
        with pytest.raises(ImageTooLarge):
            decode(text(file))


def test_the_limit_of_pixels_is_exact() -> None:
    assert MAX_PIXELS % 4096 == 0
    rows = MAX_PIXELS // 4096
    with pytest.raises(ImageTooLarge):
        decode(text(png(4096, rows + 1, depth=1)))
    whole = encoded(np.zeros((rows, 4096), np.uint8), mode="1")
    assert decode(text(whole)).blank


def test_too_many_bytes_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(ImageTooLarge):
        decode("!" * (2 * MAX_BYTES + 1))
    with pytest.raises(ImageTooLarge):
        decode(text(bytes(MAX_BYTES + 3)))
    with pytest.raises(ImageUnreadable):
        decode(text(bytes(MAX_BYTES)))


def test_what_no_pixel_is_made_of_never_reaches_a_decoder() -> None:
    bomb = zlib.compress(bytes(40_000_000), 9)
    chunks = (
        chunk(b"iCCP", b"icc\0\0" + bomb),
        chunk(b"zTXt", b"text\0\0" + bomb),
        chunk(b"iTXt", b"text\0\1\0\0\0" + bomb),
        chunk(b"eXIf", b"MM\0*" + b"\xff" * 60_000),
    )
    file = FILE[:33] + b"".join(chunks) + FILE[33:]
    assert np.array_equal(decode(text(file)).lines, ORIGINAL.lines)


def test_a_jpeg_of_endless_scans_is_unreadable() -> None:
    file = FILES["progressive JPEG"]
    scan = file.rindex(b"\xff\xda")
    with pytest.raises(ImageUnreadable):
        decode(text(file[:scan] + file[scan:-2] * 100 + file[-2:]))


def test_a_file_cut_into_single_bytes_is_unreadable() -> None:
    with pytest.raises(ImageUnreadable):
        decode(text(FILE[:33] + chunk(b"tEXt", b"") * 70_000 + FILE[33:]))
    with pytest.raises(ImageUnreadable):
        decode(text(b"GIF89a\x01\0\x01\0\0\0\0\x21\xfe" + b"\1a" * 70_000 + b"\0;"))


def test_pillow_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    decode(text(FILE))
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def never_fails_otherwise(file: bytes) -> None:
    with contextlib.suppress(ImageUnreadable, ImageTooLarge):
        decode(text(file))


SMALL = [encoded(sheet("star", side=48, width=2), kind, mode) for kind, mode in
         (("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"))]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(SMALL), st.integers(0, 10_000))
def test_a_file_cut_off_anywhere_is_read_or_refused(file: bytes, cut: int) -> None:
    never_fails_otherwise(file[: cut % len(file)])


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(SMALL), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_is_read_or_refused(file: bytes, damage: list[tuple[int, int]]) -> None:
    damaged = bytearray(file)
    for at, value in damage:
        damaged[at % len(file)] = value
    never_fails_otherwise(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_as_unreadable(sent: str) -> None:
    with pytest.raises(ImageUnreadable):
        decode(sent)


def test_a_hand_s_drawings_are_all_read() -> None:
    assert not any(decode(text(Hand(seed).draw(MOTIFS["cup"]))).blank for seed in range(5))


@pytest.mark.parametrize("size", [(1, 8193), (8193, 1)])
def test_picture_of_a_side_that_is_too_long_is_refused(size: tuple[int, int]) -> None:
    kept = io.BytesIO()
    Image.new("L", size, 255).save(kept, "PNG")
    with pytest.raises(ImageTooLarge):
        decode(base64.b64encode(kept.getvalue()).decode())
