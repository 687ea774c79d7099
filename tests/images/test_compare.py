"""What makes a drawing another one, and what does not."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.compare import distance
from images.decode import decode
from images.evaluation.hands import Hand
from images.ink import CANVAS, Drawing, drawing_of
from tests.images.pictures import MOTIFS, Colour, encoded, sheet, text

WHITE: Colour = (255, 255, 255, 255)
NEAR = 25
FAR = 60

FEW = ["house", "umbrella", "bicycle"]
each_motif = pytest.mark.parametrize("motif", FEW)


def reference(motif: str) -> Drawing:
    return drawing_of(sheet(motif))


def of_file(file: bytes) -> Drawing:
    return decode(text(file))


@pytest.mark.parametrize("motif", MOTIFS)
def test_a_drawing_has_no_distance_from_itself(motif: str) -> None:
    assert distance(reference(motif), reference(motif)) == 0


def test_every_other_motif_is_far() -> None:
    drawings = {motif: reference(motif) for motif in FEW}
    assert min(distance(drawings[a], drawings[b]) for a in FEW for b in FEW if a != b) >= FAR


def test_blank_is_as_far_as_can_be_from_a_drawing_either_way() -> None:
    blank = drawing_of(np.full((64, 64, 4), 255, np.uint8))
    assert distance(blank, reference("house")) == 100
    assert distance(reference("house"), blank) == 100


def test_blank_sheets_of_different_paper_are_the_same() -> None:
    white = drawing_of(np.full((64, 64, 4), 255, np.uint8))
    nothing = drawing_of(np.zeros((10, 200, 4), np.uint8))
    assert distance(white, nothing) == 0


def test_the_order_makes_no_difference() -> None:
    drawings = [of_file(Hand(seed).draw(MOTIFS[motif])) for seed, motif in enumerate(FEW)]
    for a in drawings:
        for b in drawings:
            assert distance(a, b) == distance(b, a)


def test_the_same_two_always_have_the_same_distance() -> None:
    first, second = Hand(1).draw(MOTIFS["cat"]), Hand(2).draw(MOTIFS["cat"])
    assert len({distance(of_file(first), of_file(second)) for _ in range(3)}) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, CANVAS - 1), st.integers(0, CANVAS - 1)), max_size=6), st.data())
def test_any_lines_have_a_distance_from_0_to_100(points: list[tuple[int, int]], data: st.DataObject) -> None:
    def drawn(at: list[tuple[int, int]]) -> Drawing:
        lines = np.zeros((CANVAS, CANVAS), np.uint8)
        for a, b in zip(at[::2], at[1::2] or at, strict=False):
            cv2.line(lines, a, b, 1)
        return Drawing(lines)

    other = data.draw(st.permutations(points))
    assert 0 <= distance(drawn(points), drawn(other)) <= 100


@each_motif
@pytest.mark.parametrize("width", [2, 12])
def test_another_pen_is_near(motif: str, width: int) -> None:
    assert distance(reference(motif), drawing_of(sheet(motif, width=width))) <= NEAR


@each_motif
@pytest.mark.parametrize("at", [(0.35, 0.3), (0.7, 0.6)])
def test_another_place_is_near(motif: str, at: tuple[float, float]) -> None:
    assert distance(reference(motif), drawing_of(sheet(motif, at=at, scale=0.5))) <= NEAR


@each_motif
@pytest.mark.parametrize("scale", [0.3, 0.95])
def test_half_and_more_than_the_size_is_near(motif: str, scale: float) -> None:
    assert distance(reference(motif), drawing_of(sheet(motif, scale=scale, width=4))) <= NEAR


@each_motif
@pytest.mark.parametrize("turn", [-15, -7, 8, 15])
def test_slightly_turned_is_near(motif: str, turn: float) -> None:
    assert distance(reference(motif), drawing_of(sheet(motif, turn=turn))) <= NEAR


@each_motif
@pytest.mark.parametrize("stretch", [0.85, 1.15])
def test_slightly_stretched_is_near(motif: str, stretch: float) -> None:
    assert distance(reference(motif), drawing_of(sheet(motif, stretch=stretch))) <= NEAR


def test_upside_down_is_far() -> None:
    assert distance(reference("umbrella"), drawing_of(sheet("umbrella", turn=180))) >= FAR


@each_motif
def test_another_hand_is_nearer_than_any_other_motif(motif: str) -> None:
    drawn = [of_file(Hand(100 + seed).draw(MOTIFS[motif])) for seed in range(4)]
    worst = max(distance(reference(motif), drawing) for drawing in drawn)
    assert worst < 50
    assert worst < min(distance(reference(other), drawing) for drawing in drawn for other in FEW if other != motif)


COLOURS: dict[str, tuple[Colour, Colour]] = {
    "light on dark": ((20, 20, 30, 255), (250, 250, 250, 255)),
    "red on yellow": ((250, 230, 90, 255), (200, 30, 30, 255)),
    "yellow on white": (WHITE, (255, 240, 0, 255)),
    "equally light": ((0, 128, 0, 255), (200, 50, 50, 255)),
    "faint pencil": (WHITE, (205, 205, 205, 255)),
    "black on nothing": ((0, 0, 0, 0), (0, 0, 0, 255)),
    "white on nothing": ((0, 0, 0, 0), WHITE),
    "half transparent ink": ((0, 0, 0, 0), (90, 20, 200, 140)),
}


@each_motif
@pytest.mark.parametrize("colours", COLOURS)
def test_other_colours_are_near(motif: str, colours: str) -> None:
    paper, ink = COLOURS[colours]
    assert distance(reference(motif), drawing_of(sheet(motif, paper=paper, ink=ink))) <= 5


@each_motif
def test_noise_and_strong_jpeg_are_near(motif: str) -> None:
    noisy = sheet(motif).astype(float) + np.random.default_rng(1).normal(size=(384, 384, 4)) * 9
    file = encoded(np.clip(noisy, 0, 255).astype(np.uint8), "JPEG", "RGB", quality=25)
    assert distance(reference(motif), of_file(file)) <= NEAR


@each_motif
def test_paper_in_uneven_light_is_near(motif: str) -> None:
    light = np.linspace(0.55, 1, 384)[:, None, None] * np.linspace(0.9, 1, 384)[None, :, None]
    photo = sheet(motif)
    photo[:, :, :3] = photo[:, :, :3] * light
    assert distance(reference(motif), drawing_of(photo)) <= NEAR


@pytest.mark.parametrize("motif", ["heart", "star", "fish", "pear", "lightning"])
def test_a_filled_shape_is_near_its_outline(motif: str) -> None:
    outline = MOTIFS[motif][:1]
    if motif == "heart":  # drawn as two halves from the top
        left, right = MOTIFS[motif]
        outline = (np.concatenate([left, right[::-1]]),)
    drawn, filled = drawing_of(sheet(outline)), drawing_of(sheet(outline, filled=True))
    assert distance(drawn, filled) <= NEAR


def test_a_coloured_in_drawing_is_near_the_uncoloured_one() -> None:
    strokes = MOTIFS["house"]
    coloured = sheet(strokes[:1], filled=True, ink=(230, 120, 60, 255))
    outline = sheet("house")
    dark = outline[:, :, 0] < 128
    coloured[dark] = outline[dark]
    assert distance(reference("house"), drawing_of(coloured)) <= NEAR


def test_a_drawing_on_a_white_sticker_is_near_the_one_on_paper() -> None:
    sticker = sheet(MOTIFS["smiley"][:1], filled=True, paper=(0, 0, 0, 0), ink=WHITE)
    outline = sheet("smiley")
    dark = outline[:, :, 0] < 128
    sticker[dark] = outline[dark]
    assert distance(reference("smiley"), drawing_of(sticker)) <= NEAR
