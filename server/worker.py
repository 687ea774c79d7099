"""One of several processes on a port, as server/workers.py starts it: `run_server.py worker`, for nobody else.

Its orders are one line of JSON on standard input, which then stays open: its end means that the parent is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from typing import Any, BinaryIO, Final, TextIO

import structlog
import uvloop

from server import garbage
from server import log as logging
from server.log import Log
from server.metrics import SHARED_FOLDER
from server.node import serve_node
from server.settings import Settings
from server.stores import CannotStart

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


def run(orders: BinaryIO = sys.stdin.buffer, output: TextIO = sys.stdout) -> int:
    """Serve until told to stop; gives the exit code. The first line of output says where, or why not."""
    given: dict[str, Any] = json.loads(orders.readline())
    settings = Settings(**given["settings"])
    log = logging.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
    garbage.look_seldom()
    structlog.contextvars.bind_contextvars(worker=given["index"])
    return uvloop.run(_serve(settings, log, orders, output))


async def _serve(settings: Settings, log: Log, orders: BinaryIO, output: TextIO) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _, parent = await loop.connect_read_pipe(lambda: _Parent(stop), orders)

    def say(**values: str) -> None:
        print(json.dumps(values), file=output, flush=True)

    try:
        failed = await serve_node(settings, log, stop, lambda address: say(address=address), shared_port=True)
    except CannotStart as error:
        say(cannot_start=str(error))
        return EXIT_FAILED
    if not parent.there:
        # Nobody else is left to do it; each worker tries.
        shutil.rmtree(os.environ.get(SHARED_FOLDER, ""), ignore_errors=True)
    log.info("stopped")
    return EXIT_FAILED if failed else EXIT_OK


class _Parent(asyncio.Protocol):
    """Says nothing more; when it is gone, the worker stops as if it had been told to."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self.there = True

    def connection_lost(self, _error: Exception | None) -> None:
        """The parent has ended, however."""
        self.there = False
        self._stop.set()
