"""What operators are shown of the last seconds: each sample of its own second, and no more samples than fit."""

from __future__ import annotations

import random

import pytest

from server import figures as module
from server.figures import MAX_SAMPLES, Figures, Sample, quantile
from tests.server.fakes import MORNING, FakeClock, Running, until


class Node:
    """What the figures look at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.connections = (0, 0)
        self.behind = False
        self.figures = Figures(lambda: self.connections, lambda: self.behind, self.clock)


@pytest.fixture
def node() -> Node:
    return Node()


def test_second_in_which_nothing_happened_has_nothing_to_measure(node: Node) -> None:
    node.figures.sample()
    assert node.figures.samples() == [Sample(MORNING, 0, 0, 0, None, None, None, False)]


def test_sample_is_of_its_own_second(node: Node) -> None:
    node.connections, node.behind = (3, 5), True
    for milliseconds in range(100, 0, -1):
        node.figures.committed(milliseconds / 1000)
    for seconds in (0.02, 0.15, 0.1):
        node.figures.handed(seconds)
    node.figures.sample()
    node.clock.advance(seconds=1)
    node.connections, node.behind = (2, 0), False
    node.figures.committed(0.0042)
    node.figures.sample()
    assert node.figures.samples() == [
        Sample(MORNING, 3, 5, 100, 50.0, 99.0, 150.0, True),
        Sample(node.clock.now, 2, 0, 1, 4.2, 4.2, None, False),
    ]


def test_oldest_samples_make_room(node: Node) -> None:
    for count in range(MAX_SAMPLES + 10):
        node.connections = (count, 0)
        node.figures.sample()
    assert [sample.players for sample in node.figures.samples()] == list(range(10, MAX_SAMPLES + 10))


@pytest.mark.parametrize("count", [1, 2, 3, 99, 100, 101, 1000])
@pytest.mark.parametrize("share", [0.5, 0.99, 1.0])
def test_quantile_is_the_smallest_value_that_enough_do_not_exceed(count: int, share: float) -> None:
    draw = random.Random(count)
    values = sorted(draw.random() for _ in range(count))
    found = quantile(values, share)
    assert found is not None
    assert sum(value <= found for value in values) >= share * count
    assert sum(value < found for value in values) < share * count


def test_quantile_of_nothing_is_nothing() -> None:
    assert quantile([], 0.5) is None


async def test_task_makes_samples_one_after_the_other(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.01)
    async with Running(node.figures.run()):
        await until(lambda: len(node.figures.samples()) >= 3, "three samples")
