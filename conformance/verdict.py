"""What came of a run: each thing that was expected of the client, and what it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StepResult:
    """One expectation, for people to read."""

    expected: str
    got: str
    ok: bool


@dataclass(slots=True)
class Verdict:
    """`passed` is None until the run is over. A run ends with the first step that is not ok."""

    scenario: str
    run: str
    passed: bool | None = None
    steps: list[StepResult] = field(default_factory=list)

    def note(self, expected: str, got: str) -> None:
        """The client did what was expected."""
        self.steps.append(StepResult(expected, got, ok=True))

    def fail(self, expected: str, got: str) -> None:
        """The client did something else, or nothing."""
        self.steps.append(StepResult(expected, got, ok=False))
        self.passed = False

    def end(self) -> None:
        """The script is over: it has passed unless something failed."""
        if self.passed is None:
            self.passed = True

    def as_json(self) -> dict[str, Any]:
        """`{scenario, run, passed, steps: [{expected, got, ok}]}`."""
        return asdict(self)

    def line(self) -> str:
        """For the terminal."""
        name = f"{self.scenario} {self.run}"
        if self.passed:
            return f"{name}: passed"
        last = self.steps[-1]
        return f"{name}: FAILED: expected: {last.expected}; got: {last.got}"
