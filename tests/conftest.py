"""What holds for every test run: fast tests first, and nothing that was not run may pass silently.

A test that cannot run on this machine skips with a reason that begins with ``NOT RUN: `` and says what to install.
Such tests are listed in a block at the end of the run, which nobody can overlook, and they fail the run where
``CI`` is set: a CI that cannot run a test is broken. Any other skip is pytest's own business.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.stores"]

# A busy machine makes any example slow, which says nothing of it.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

NOT_RUN = "NOT RUN: "
TESTS = Path(__file__).parent

# Fast ones first, so that a mistake in a rule is seen before a browser has started. Tests directly in tests/ are fast;
# a folder that is not named here comes before the whole-server tests.
ORDER = ["", "game", "protocol", "client", "storage", "server", "web"]
LAST = ["whole"]

# The longest first of all in their folder: two files run at a time, and one that began last would be waited for alone.
LONGEST = [
    "whole/test_balancers.py",
    "whole/test_workers.py",
    "whole/test_operators.py",
    "whole/test_redis_cluster.py",
    "whole/test_pgbouncer.py",
]

CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome"]


def rank(path: Path) -> int:
    """Say how early the tests of a file run; lower is earlier."""
    folders = path.relative_to(TESTS).parent.parts if path.is_relative_to(TESTS) else ()
    folder = folders[0] if folders else ""
    if folder in ORDER:
        return ORDER.index(folder)
    return len(ORDER) + 1 + LAST.index(folder) if folder in LAST else len(ORDER)


def place(path: Path) -> int:
    """Say how early the tests of a file run in their folder; lower is earlier."""
    name = path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else ""
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (rank(item.path), place(item.path)))  # stable: any other order stays


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Guard:
    """Counts what was executed, lists what was not, and decides whether the run may pass."""

    in_ci: bool
    only_looks: bool  # --collect-only and the like execute nothing, rightly
    executed: int = 0
    not_run: list[tuple[str, str]] = field(default_factory=list)  # test and reason

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note_skip(report)
        elif report.when == "call":
            self.executed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:  # a whole file that says pytest.skip(..., allow_module_level=True)
            self._note_skip(report)

    def _note_skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if isinstance(report.longrepr, tuple | list):  # a list where another process has run it
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if reason.startswith(NOT_RUN):
                self.not_run.append((report.nodeid, reason.removeprefix(NOT_RUN)))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and not self.only_looks:
            if self.executed == 0:
                session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
            elif self.not_run and self.in_ci:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.executed == 0 and not self.only_looks:
            terminalreporter.write_sep("!", "NO TEST WAS EXECUTED", red=True, bold=True)
        if not self.not_run:
            return
        lines = [f"{test}: {reason}" for test, reason in sorted(self.not_run)]
        terminalreporter.write_sep("!", f"{len(lines)} NOT RUN", red=True, bold=True)
        for line in lines:
            terminalreporter.write_line(line, red=True)
        if self.in_ci:
            terminalreporter.write_line("CI is set, so this run has failed: a CI must run every test.", red=True)
        terminalreporter.write_sep("!", red=True, bold=True)
        if report := os.environ.get("NOT_RUN_REPORT"):  # `make test` says it once more when everything is over
            with Path(report).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)


def pytest_configure(config: pytest.Config) -> None:
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    only_looks = any(config.getoption(name) for name in ("collectonly", "setuponly", "setupplan"))
    config.pluginmanager.register(Guard(in_ci, only_looks), "not-run-guard")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Give the path of an installed Chromium: $CHROMIUM, or the first on PATH. Without one the test is NOT RUN."""
    chosen = os.environ.get("CHROMIUM")
    for name in [chosen] if chosen else CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    missing = f"CHROMIUM is {chosen}, which cannot be run" if chosen else "no Chromium on this machine"
    pytest.skip(f"{NOT_RUN}{missing}; apt install chromium, or set CHROMIUM to its path")
