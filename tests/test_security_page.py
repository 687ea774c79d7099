"""docs/security.md names tests; each of them has to be there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(tests/[\w/]+(?:\.py)?)(?:::(\w+))?`")


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing(page: str, root: Path) -> list[str]:
    """What the page names and the tree does not have."""
    found = []
    for path, test in NAMED.findall(page):
        there = (root / path).exists()
        if not there or (test and test not in names_in(root / path)):
            found.append(f"{path}::{test}" if test else path)
    return found


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert missing(page, ROOT) == []
    assert len(NAMED.findall(page)) > 50


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("def test_one() -> None: ...\n")
    page = "`tests/test_a.py::test_one` `tests/test_a.py::test_two` `tests/test_b.py` `tests/test_a.py`"
    assert missing(page, tmp_path) == ["tests/test_a.py::test_two", "tests/test_b.py"]
