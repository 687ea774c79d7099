"""What systemd hears, on a socket as it makes one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.service_manager import ServiceManager
from tests.server_process import PATIENCE


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The value of NOTIFY_SOCKET, and what listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        if request.param == "path":
            listener.bind(str(tmp_path / "notify"))
            name = str(tmp_path / "notify")
        else:
            listener.bind(f"\0braingame-test-{os.getpid()}")
            name = f"@braingame-test-{os.getpid()}"
        listener.settimeout(PATIENCE)
        yield name, listener


def test_systemd_hears_that_it_is_ready_and_that_it_stops(systemd: tuple[str, socket.socket]) -> None:
    name, listener = systemd
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    manager.ready("http://127.0.0.1:8080")
    assert listener.recv(1000) == b"READY=1\nSTATUS=Serving on http://127.0.0.1:8080"
    manager.stopping()
    assert listener.recv(1000) == b"STOPPING=1\nSTATUS=Draining"


async def test_watchdog_is_given_a_sign_again_and_again(systemd: tuple[str, socket.socket]) -> None:
    name, listener = systemd
    manager = ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())})
    assert manager.sign_seconds == 0.01
    signs = asyncio.create_task(manager.give_signs())
    for _ in range(3):
        assert await asyncio.to_thread(listener.recv, 1000) == b"WATCHDOG=1"
    signs.cancel()
    await asyncio.wait([signs])


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "20000"},  # nobody to tell
        {"NOTIFY_SOCKET": "/nowhere"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},  # it asks somebody else
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "a while"},
    ],
)
async def test_without_a_watchdog_no_sign_is_given(variables: dict[str, str]) -> None:
    manager = ServiceManager(variables)
    assert manager.sign_seconds is None
    await manager.give_signs()  # ends at once


def test_manager_that_has_gone_disturbs_nobody() -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": "/nowhere"})
    manager.ready("http://127.0.0.1:8080")
    manager.stopping()


def test_children_do_not_inherit_the_way_to_systemd() -> None:
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    ServiceManager(environment)
    assert environment == {"PATH": "/bin"}
