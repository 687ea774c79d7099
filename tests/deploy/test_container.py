"""Dockerfile and compose file, as far as they can be tried without an engine: what is copied is enough to serve, by the
container's own command and check of health; and Compose understands the file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import facts
from tests.debian import environment_of, file_of, folder_of
from tests.server_process import PATIENCE, ROOT, ServerProcess, player
from tests.stores import Stores
from tests.whole.running import database_of

COMPOSE = ROOT / "deploy/compose.yaml"
HOME = "/opt/braingame"
PYTHON = f"{HOME}/.venv/bin/python"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile, an instruction each."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def last(name: str) -> str:
    return [value for instruction, value in instructions() if instruction == name][-1]


def in_context(path: str) -> bool:
    """Whether .dockerignore leaves a file to the build: the last line decides that matches it or a folder above it."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        parts = path.split("/")
        above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        if any(matches(one, pattern) for one in above):
            kept = line.startswith("!")
    return kept


def matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the image's last stage, without what pip has installed."""
    folder = tmp_path_factory.mktemp("image")
    for instruction, value in instructions():
        if instruction != "COPY" or value.startswith("--from") or HOME not in value:
            continue
        *sources, target = value.split()
        for source in sources:
            assert (ROOT / source).exists(), value
            place = folder / target.removeprefix(HOME).strip("/")
            for file in [ROOT / source] if (ROOT / source).is_file() else sorted((ROOT / source).rglob("*")):
                path = str(file.relative_to(ROOT))
                if file.is_file() and in_context(path):
                    copy = place / (file.name if file == ROOT / source else file.relative_to(ROOT / source))
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, copy)
    return folder


def test_nothing_secret_and_no_data_gets_into_the_build() -> None:
    for path in (".env", "deploy/.env", "server/.env", ".git/config", "var/jwt_secret", "tests/conftest.py", "x.pem"):
        assert not in_context(path), path
    assert not in_context("server/__pycache__/main.cpython-311.pyc")
    assert in_context("server/main.py")
    assert in_context("client/js/braingame.js")


def test_image_is_of_a_pinned_line_and_runs_as_no_root() -> None:
    bases = {value.split()[0] for instruction, value in instructions() if instruction == "FROM"}
    assert all(re.fullmatch(r"[\w/-]+:[\w.-]*\d[\w.-]*", base) for base in bases)
    assert last("USER").isdigit()
    assert last("USER") != "0"
    assert f"--uid {last('USER')} " in " ".join(value for instruction, value in instructions() if instruction == "RUN")
    assert not any("SECRET" in value or "PASSWORD" in value for name, value in instructions() if name in ("ENV", "ARG"))


async def test_what_the_image_holds_serves_and_says_that_it_is_healthy(
    stores: Stores, image: Path, tmp_path: Path
) -> None:
    variables = dict(pair.split("=", 1) for pair in last("ENV").split())
    assert variables["BRAINGAME_HOST"] == "0.0.0.0"
    assert set(variables) - {"PYTHONDONTWRITEBYTECODE"} <= {fact.variable for fact in facts().values()}
    entry = json.loads(last("ENTRYPOINT"))
    check = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    assert (entry, check[0]) == ([PYTHON, f"{HOME}/run_server.py"], PYTHON)
    async with database_of(stores) as settings:
        own = {"BRAINGAME_HOST": "127.0.0.1", "BRAINGAME_PORT": "0", "BRAINGAME_DATA_DIR": str(tmp_path)}
        environment = {"PATH": os.environ["PATH"], **variables, **settings, **own}
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, str(image / "run_server.py"), "--bcrypt-cost", "4"],
            cwd=tmp_path,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with ServerProcess(process) as server:
            await server.wait_until_ready()
            async with player(server.port) as ada:
                await ada.play(1, 2, 3)
            for page in ("/", "/client/braingame.js", "/docs"):
                assert await exit_code(f"import urllib.request as u; u.urlopen('{server.origin}{page}')", {}) == 0
            assert await exit_code(check[2], {"BRAINGAME_PORT": str(server.port)}) == 0
        assert process.returncode == 0, server.log
        assert await exit_code(check[2], {"BRAINGAME_PORT": str(server.port)}) != 0


async def exit_code(program: str, variables: dict[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=variables, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(PATIENCE):
        return await process.wait()


# Compose


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file as Compose reads it back, with the secrets that the example asks for."""
    folder = tmp_path_factory.mktemp("compose")
    deploy = folder / "deploy"
    deploy.mkdir()
    text = COMPOSE.read_text(encoding="utf-8")
    program = file_of("docker-compose", "usr/bin/docker-compose")
    environment, command = environment_of("docker-compose"), [str(program)]
    if program.read_bytes().startswith(b"#!"):
        # Debian 12 has the first Compose, which needs Debian's Python and has no name for a project.
        environment["PYTHONPATH"] = str(folder_of("docker-compose") / "usr/lib/python3/dist-packages")
        command = ["/usr/bin/python3", str(program)]
        text = text.replace("\nname: braingame\n", "\n")
    (deploy / "compose.yaml").write_text(text, encoding="utf-8")
    example = (ROOT / "deploy/compose.env.example").read_text(encoding="utf-8")
    assert len(re.findall(r"^\w+=$", example, re.MULTILINE)) == 2
    (deploy / ".env").write_text(re.sub(r"^(\w+)=$", r"\1=of-\1", example, flags=re.MULTILINE), encoding="utf-8")
    environment.pop("LD_LIBRARY_PATH", None)
    found = subprocess.run(
        [*command, "-f", "compose.yaml", "config"],
        cwd=deploy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert found.returncode == 0, found.stderr
    read: dict[str, Any] = yaml.safe_load(found.stdout)
    return read


def test_compose_understands_the_file(composed: dict[str, Any]) -> None:
    assert set(composed["services"]) == {"server", "postgres", "valkey"}
    server = composed["services"]["server"]["environment"]
    assert server["DATABASE_URL"] == "postgresql://braingame:of-POSTGRES_PASSWORD@postgres/braingame"
    assert composed["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == "of-POSTGRES_PASSWORD"
    assert server["BRAINGAME_JWT_SECRET"] == "of-BRAINGAME_JWT_SECRET"
    known = {fact.variable for fact in facts().values()}
    assert set(server) <= known


def test_compose_file_holds_no_secret_and_opens_nothing_to_the_network() -> None:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    assert services["server"]["ports"] == ["127.0.0.1:8080:8080"]
    assert [name for name, service in services.items() if "ports" in service] == ["server"]
    for variable in ("POSTGRES_PASSWORD", "BRAINGAME_JWT_SECRET"):
        used = re.findall(rf"\$\{{{variable}([^}}]*)\}}", COMPOSE.read_text(encoding="utf-8"))
        assert used
        assert all(rest.startswith(":?") for rest in used)  # without it nothing starts
    assert all(re.search(r":\d", service.get("image", ":0")) for name, service in services.items() if name != "server")
