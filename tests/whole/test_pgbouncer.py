"""PostgreSQL behind PgBouncer in transaction mode, by docs/pgbouncer.ini, with fewer connections than clients."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from tests.debian import environment_of, file_of
from tests.faults.arena import Arena, arena_in
from tests.faults.faults import Fault, Scene, nothing
from tests.faults.run import run
from tests.server_process import PATIENCE, ROOT
from tests.whole.running import Server
from tests.whole.test_balancers import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: To PostgreSQL; three processes have up to ten each on the other side.
CONNECTIONS = 3


class Bouncer:
    """The program, which can be killed and started again."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._port = free_port()
        self._configuration = folder / "pgbouncer.ini"
        host = parse_qs(urlsplit(database_url).query)["host"][0]
        users = folder / "userlist.txt"
        users.write_text('"braingame" ""\n')
        text = (ROOT / "docs/pgbouncer.ini").read_text()
        for example, own in (
            ("host=127.0.0.1 port=5432", f"host={host} port=5432 user=braingame"),
            ("listen_port = 6432", f"listen_port = {self._port}\nunix_socket_dir ="),
            ("auth_type = scram-sha-256", "auth_type = any"),
            ("/etc/pgbouncer/userlist.txt", str(users)),
            ("default_pool_size = 8", f"default_pool_size = {CONNECTIONS}"),
        ):
            assert example in text
            text = text.replace(example, own)
        self._configuration.write_text(text)
        for path in (folder, users, self._configuration):
            path.chmod(0o755)
        self.process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"postgresql://braingame@127.0.0.1:{self._port}/braingame?sslmode=disable"

    async def start(self) -> None:
        program = await asyncio.to_thread(file_of, "pgbouncer", "usr/sbin/pgbouncer")
        # As root it asks to become somebody else; root's stores let nobody else in but their own user.
        command = [str(program), "-q", str(self._configuration)]
        if Path("/proc/self").stat().st_uid == 0:
            command[1:1] = ["-u", "nobody"]
        self.process = subprocess.Popen(command, env=environment_of("pgbouncer"), stderr=subprocess.DEVNULL)
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self.process.poll() is None, "PgBouncer has ended"
                with suppress(OSError, asyncpg.PostgresError):
                    connection = await asyncpg.connect(self.url, statement_cache_size=0)
                    await connection.close()
                    return
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bouncers() -> list[Bouncer]:
    """The one that runs."""
    return []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(bouncers: list[Bouncer]) -> AsyncIterator[Arena]:
    with tempfile.TemporaryDirectory(prefix="bg-whole-") as name:
        folder = Path(name)

        @asynccontextmanager
        async def through(database_url: str) -> AsyncIterator[str]:
            bouncer = Bouncer(folder, database_url)
            await bouncer.start()
            bouncers.append(bouncer)
            yield bouncer.url
            bouncer.kill()

        async with arena_in(folder, through=through, variables={"BRAINGAME_DATABASE_POOLER": "transaction"}) as found:
            yield found


async def killed(scene: Scene, bouncer: Bouncer) -> None:
    bouncer.kill()
    await asyncio.sleep(scene.away)
    await bouncer.start()


@pytest.mark.parametrize("fault", ["nothing", "SIGKILL of PgBouncer"])
async def test_two_servers_play_one_game(arena: Arena, bouncers: list[Bouncer], fault: str) -> None:
    (bouncer,) = bouncers

    async def kill_bouncer(scene: Scene) -> None:
        await killed(scene, bouncer)

    chosen: dict[str, Fault] = {"nothing": nothing, "SIGKILL of PgBouncer": kill_bouncer}
    result = await run(arena, chosen[fault], players=9, seconds=0.5, away=1.0, seed=3)
    assert result.violations == [], f"the history is in {result.history}"
    assert result.acknowledged > 9
    connection = await asyncpg.connect(arena.database_url)
    busy = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'braingame'")
    await connection.close()
    assert 0 < busy <= CONNECTIONS


async def test_what_is_acknowledged_is_on_disk_whatever_the_default(arena: Arena, bouncers: list[Bouncer]) -> None:
    """Behind the pooler the setting has to come with each transaction."""
    connection = await asyncpg.connect(arena.database_url)
    await connection.execute("ALTER DATABASE braingame SET synchronous_commit = off")
    try:
        for pid in await connection.fetch("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"):
            await connection.execute("SELECT pg_terminate_backend($1)", pid["pid"])
        await connection.execute("CREATE TABLE seen (setting text)")
        await connection.execute(
            "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$"
        )
        await connection.execute(
            "CREATE TRIGGER look AFTER INSERT ON session_events FOR EACH ROW EXECUTE FUNCTION look()"
        )
        result = await run(arena, nothing, players=3, seconds=0.2, away=0.2, seed=4)
        assert result.violations == []
        assert {row["setting"] for row in await connection.fetch("SELECT setting FROM seen")} == {"on"}
    finally:
        await connection.execute("DROP TRIGGER IF EXISTS look ON session_events")
        await connection.execute("ALTER DATABASE braingame RESET synchronous_commit")
        await connection.close()


async def test_server_that_does_not_know_of_the_pooler_says_what_to_set(arena: Arena, bouncers: list[Bouncer]) -> None:
    server = await Server.spawn(
        DATABASE_URL=bouncers[0].url,
        REDIS_URL=arena.redis_url,
        BRAINGAME_JWT_SECRET="a secret for tests that is long enough",
    )
    assert await server.exit_code() == 2
    (line,) = server.log.splitlines()
    assert re.match("Brain Game cannot start: BRAINGAME_DATABASE_POOLER: .*`transaction`", line), line
