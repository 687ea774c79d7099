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
    """The stores cannot be started, or not be stopped; one line for the operator."""


class DataFolderInUse(EmbeddedStoresError):
    """Another server works on this data folder."""


class DataFolder:
    """Two locks (flock, so the kernel frees them whatever happens to the processes).

    `server.lock` is held by this process only. `stores.lock` is inherited by the stores' processes, so it is free
    exactly when none of an earlier run is alive: two Valkeys on one folder would both run, and both would write.
    """

    def __init__(self, path: Path) -> None:
        # Without symbolic links, so that who may get in can be read from the folders on the way.
        self.path = Path(os.path.realpath(path))
        self._server: int | None = None
        self._stores: int | None = None

    @property
    def stores_lock(self) -> int:
        """The descriptor that every store's process has to inherit."""
        if self._stores is None:
            raise RuntimeError("the data folder is not locked")
        return self._stores

    async def lock(self) -> None:
        """Take the folder, made if need be, and wait a bounded time for earlier stores to end.

        Raises DataFolderInUse, or EmbeddedStoresError when the folder cannot be used; nothing is held then.
        """
        try:
            _make_folder(self.path)
            self._server = self._open("server.lock")
            self._stores = self._open("stores.lock")
            self._claim(self._server)
            await self._wait_for_earlier_stores()
        except OSError as error:
            self.unlock()
            raise EmbeddedStoresError(f"the data folder {self.path} cannot be used: {error.strerror}") from None
        except BaseException:
            self.unlock()
            raise

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

    def _open(self, name: str) -> int:
        # Nobody else may open it: whoever can read a file can lock it, and keep the server from starting.
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _claim(self, descriptor: int) -> None:
        if not _take(descriptor):
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise DataFolderInUse(
                f"the data folder {self.path} is used by another Brain Game server (process {owner or 'unknown'})"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)

    async def _wait_for_earlier_stores(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + EARLIER_STORES_SECONDS
        while not _take(self.stores_lock):
            if loop.time() >= deadline:
                raise EmbeddedStoresError(f"stores of an earlier run are still using the data folder {self.path}")
            await asyncio.sleep(_POLL_SECONDS)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_folder(path: Path) -> None:
    """Make it, and what is missing on the way. Folders that are there stay as they are."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        # Not at the mercy of the umask: as root the stores run as another user, who has to get through, and a group
        # that may write here could put other stores in place of ours. What is private has modes of its own.
        folder.chmod(0o755)
