"""The comparison keeps what docs/decisions/0006-image-comparison.md says of it, on a part of the sets."""

import numpy as np
import pytest

from images.compare import BOUNDARY
from images.evaluation.hands import Hand
from images.evaluation.measures import Measured, best_boundary
from images.evaluation.methods import CHOSEN, METHODS, Method
from images.evaluation.motifs import HELD_OUT, TUNING
from images.evaluation.samples import Sample, drawn_by_hands, one_reference_each, some_pairs, written_digits

USUAL = drawn_by_hands(HELD_OUT, hands=2, seed=1_000_000)


@pytest.fixture(scope="module")
def chosen() -> Measured:
    return Measured(CHOSEN, USUAL)


def test_other_hands_are_told_from_other_motifs(chosen: Measured) -> None:
    assert chosen.auc(some_pairs(USUAL, 20, seed=1)) >= 0.97


def test_a_motif_is_found_among_twenty_by_one_drawing_of_each(chosen: Measured) -> None:
    assert chosen.top1() >= 0.90


def test_the_boundary_parts_other_hands_from_other_motifs(chosen: Measured) -> None:
    pairs = some_pairs(USUAL, 20, seed=2)
    right = (chosen.distances(pairs.pairs) < BOUNDARY) == np.asarray(pairs.same)
    assert right.mean() >= 0.93


def test_digits_written_by_others_are_told_apart() -> None:
    digits = written_digits(600, 90)
    assert Measured(CHOSEN, digits).auc(some_pairs(digits, 60, seed=3)) >= 0.85


def test_perceptual_hashing_is_beaten_by_far(chosen: Measured) -> None:
    pairs = some_pairs(USUAL, 20, seed=1)
    best = max(Measured(method, USUAL).auc(pairs) for method in METHODS if method.name.startswith("pHash"))
    assert best < chosen.auc(pairs) - 0.1


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_prefers_the_very_same_file(method: Method) -> None:
    house, fish = (method.prepare(Hand(3).draw(TUNING[name])) for name in ("house", "fish"))
    assert method.distance(house, house) < method.distance(house, fish)


def test_a_hand_draws_the_same_twice() -> None:
    assert Hand(7).draw(TUNING["cup"]) == Hand(7).draw(TUNING["cup"])
    assert Hand(7).draw(TUNING["cup"]) != Hand(8).draw(TUNING["cup"])


def test_no_motif_is_both_tuned_and_measured_with() -> None:
    assert len(TUNING) == len(HELD_OUT) == 20
    assert not set(TUNING) & set(HELD_OUT)


def test_the_first_sample_of_each_label_is_its_reference() -> None:
    samples = [Sample(label, b"") for label in "aabba"]
    assert one_reference_each(samples) == ([0, 2], [1, 3, 4])


def test_pairs_are_half_the_same_and_half_not() -> None:
    pairs = some_pairs(USUAL, 15, seed=5)
    assert sum(pairs.same) == 15
    assert all((USUAL[a].label == USUAL[b].label) == same for (a, b), same in zip(pairs.pairs, pairs.same, strict=True))


def test_the_best_boundary_lies_between() -> None:
    assert best_boundary(np.array([0.1, 0.2, 0.6, 0.9]), [True, True, False, False]) == (0.6, 1.0)
