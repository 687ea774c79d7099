"""How well a method tells the same from something else."""

from __future__ import annotations

from collections.abc import Sequence
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from images.evaluation.methods import Method
from images.evaluation.samples import Pairs, Sample, one_reference_each


class Measured:
    """One method on one set of samples, prepared once."""

    def __init__(self, method: Method, samples: Sequence[Sample]) -> None:
        self._method = method
        self.samples = samples
        self._prepared: list[Any] = [method.prepare(sample.file) for sample in samples]
        self._seconds = 0.0
        self._compared = 0

    @property
    def milliseconds(self) -> float:
        """Mean processor time of a comparison so far, without decoding and preparing."""
        return 1000 * self._seconds / max(1, self._compared)

    def distances(self, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
        """Compare the pairs of sample numbers."""
        begun = process_time()
        found = np.array([self._method.distance(self._prepared[a], self._prepared[b]) for a, b in pairs])
        self._seconds += process_time() - begun
        self._compared += len(pairs)
        return found

    def auc(self, pairs: Pairs) -> float:
        """Give the area under the ROC curve: how often a pair of the same is nearer than a pair of different things."""
        return float(roc_auc_score(np.logical_not(pairs.same), self.distances(pairs.pairs)))

    def top1(self) -> float:
        """Give the share of samples whose nearest reference shows the same, with one reference for each label."""
        references, others = one_reference_each(self.samples)
        hits = 0
        for other in others:
            nearest = int(self.distances([(reference, other) for reference in references]).argmin())
            hits += self.samples[references[nearest]].label == self.samples[other].label
        return hits / len(others)


def best_boundary(distances: NDArray[np.float64], same: Sequence[bool]) -> tuple[float, float]:
    """Give the distance that parts same from different best, and the share of both that it gets right (balanced)."""
    alike = np.asarray(same)
    found = [
        (((distances[alike] < edge).mean() + (distances[~alike] >= edge).mean()) / 2, edge)
        for edge in np.unique(distances.round(3))
    ]
    share, edge = max(found)
    return float(edge), float(share)
