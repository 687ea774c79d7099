"""docs/operations.md leads where it says: its links, the files it names, and every command there is."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from server.operator import list_commands
from server.settings import facts
from tests.server_process import ROOT

TEXT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
#: What is made by the server, or elsewhere than in the checkout.
_NOT_HERE = ("var/", "stores/", "log/", ".venv/", "deploy/.env", "server.lock", "/")


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_to_a_heading() -> None:
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert links
    assert links <= headings
    # And each part can be found from the top.
    contents, parts = TEXT.partition("\n## ")[0], re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    missing = set(map(anchor, parts)) - set(re.findall(r"\]\(#([^)]+)\)", contents)) - {"when-something-is-wrong"}
    assert missing == set()


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:docs|deploy|tests|storage|server)/[\w./-]+)`", TEXT))
    assert len(named) > 8
    gone = [name for name in sorted(named) if not name.startswith(_NOT_HERE) and not (ROOT / name).exists()]
    assert gone == []


def test_every_command_and_every_variable_is_known() -> None:
    listed = {line.split()[0] for line in list_commands().splitlines()[1:]} - {"conformance"}
    assert {name for name in listed if not re.search(rf"`{name}[` ]", TEXT)} == set()
    asked = set(re.findall(r"run_server\.py ([a-z][a-z-]*)", TEXT))
    assert asked <= listed
    variables = set(re.findall(r"BRAINGAME_[A-Z_]+[A-Z]", TEXT))
    assert variables <= {fact.variable for fact in facts().values()}


def test_script_runs_a_command_as_the_unit_would(tmp_path: Path) -> None:
    """With a stand-in for systemd-run, which says what it was asked for."""
    (tmp_path / "systemd-run").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    (tmp_path / "systemd-run").chmod(0o755)
    said = subprocess.run(
        [str(ROOT / "deploy/systemd/braingame"), "take-off-boards", "3", "--reason", "has cheated"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    unit = (ROOT / "deploy/systemd/braingame.service").read_text(encoding="utf-8")
    program = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)[0].split()
    assert said[-7:] == [*program, "take-off-boards", "3", "--reason", "has cheated"]
    assert f"--uid={re.findall(r'^User=(.+)$', unit, re.MULTILINE)[0]}" in said
    assert f"--property=EnvironmentFile={re.findall(r'^EnvironmentFile=(.+)$', unit, re.MULTILINE)[0]}" in said
    assert f"--setenv={re.findall(r'^Environment=(.+)$', unit, re.MULTILINE)[0]}" in said
