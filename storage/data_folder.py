"""The data folder belongs to one server at a time, and to no store that an earlier server has left behind."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

#: How long the stores of a server that was killed may take to write everything down and end.
EARLIER_STORES_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02


class EmbeddedStoresError(Exception):
    """The stores cannot be started; one line for the operator."""


class DataFolderInUse(EmbeddedStoresError):
    """Another server works on this data folder."""


class DataFolder:
    """Two locks (flock, so the kernel frees them whatever happens to the processes).

    `server.lock` is held by this process only. `stores.lock` is inherited by the stores' processes, so it is free
    exactly when none of an earlier run is alive: two Valkeys on one folder would both run, and both would write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._server: int | None = None
        self._stores: int | None = None

    @property
    def stores_lock(self) -> int:
        """The descriptor that every store's process has to inherit."""
        if self._stores is None:
            raise RuntimeError("the data folder is not locked")
        return self._stores

    async def lock(self) -> None:
        """Take the folder, waiting for earlier stores to end. Raises EmbeddedStoresError, DataFolderInUse."""
        try:
            if not self.path.exists():
                self.path.mkdir(parents=True)
                # Not at the mercy of the umask: as root the stores run as another user, who has to get through.
                self.path.chmod(0o755)
            self._server = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._stores = os.open(self.path / "stores.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self.unlock()
            raise EmbeddedStoresError(f"the data folder {self.path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._server, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._server, 20, 0).decode(errors="replace").strip()
            self.unlock()
            raise DataFolderInUse(
                f"the data folder {self.path} is used by another Brain Game server (process {owner or 'unknown'})"
            ) from None
        os.ftruncate(self._server, 0)
        os.pwrite(self._server, str(os.getpid()).encode(), 0)
        await self._wait_for_earlier_stores()

    def unlock(self) -> None:
        """Let the folder go; once more changes nothing."""
        for descriptor in (self._stores, self._server):
            if descriptor is not None:
                with suppress(OSError):
                    os.close(descriptor)
        self._stores = self._server = None

    async def __aenter__(self) -> Self:
        await self.lock()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unlock()

    async def _wait_for_earlier_stores(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + EARLIER_STORES_SECONDS
        while True:
            try:
                fcntl.flock(self.stores_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if loop.time() >= deadline:
                    self.unlock()
                    raise EmbeddedStoresError(
                        f"stores of an earlier run are still using the data folder {self.path}"
                    ) from None
            await asyncio.sleep(_POLL_SECONDS)
