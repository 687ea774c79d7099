"""Every stage there is, in the order in which a session deals them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from game.stages.drawing import Drawing
from game.stages.sequence import Sequence
from game.stages.stage import Stage
from game.stages.sums import Sums

_IN_TURN: Final[tuple[Stage, ...]] = (Sequence(), Sums(), Drawing())
#: By name, as `game` on the wire.
STAGES: Final[Mapping[str, Stage]] = {stage.name: stage for stage in _IN_TURN}


def stage_at(number: int) -> Stage:
    """The game of a session's stage `number`, counted from 0; a longer session begins again with the first."""
    return _IN_TURN[number % len(_IN_TURN)]
