"""What systemd is told: that the server is ready, that it stops, and, if it wants to know, that it is alive.

The protocol is one datagram a message (sd_notify(3)). Without NOTIFY_SOCKET, that is without systemd, nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = ("WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """The way to whoever started this process and waits for it."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Take the variables away, so that no store or worker takes them for its own."""
        self._address = environment.pop(_SOCKET, "")
        microseconds, pid = (environment.pop(name, "") for name in _WATCHDOG)
        ours = pid in ("", str(os.getpid()))
        #: Seconds between two signs of life: half of what systemd waits for one. None: it wants none.
        self.sign_seconds = int(microseconds) / 2e6 if self._address and microseconds.isdigit() and ours else None

    def ready(self, address: str) -> None:
        """Clients may come."""
        self._say(f"READY=1\nSTATUS=Serving on {address}")

    def stopping(self) -> None:
        """It drains."""
        self._say("STOPPING=1\nSTATUS=Draining")

    async def give_signs(self) -> None:
        """A sign of life now and then, for ever; the event loop gives it, so a server that hangs gives none."""
        while self.sign_seconds:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self.sign_seconds)

    def _say(self, message: str) -> None:
        if not self._address:
            return
        # A name that begins with @ is in the abstract namespace.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as way:
            try:
                way.sendto(message.encode(), address)
            except OSError:
                # Nobody listens any more: it is not for the server to fail by it.
                return
