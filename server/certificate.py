"""TLS on the port, by a certificate that may be renewed while the server runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

from server.log import Log
from server.settings import SettingError

#: Seconds between two looks at whether the files have changed.
LOOK_SECONDS: Final = 30.0


class Certificate:
    """A certificate with its key, in PEM files. One task, `run`, which the owner starts and cancels."""

    def __init__(self, certificate: Path, key: Path, log: Log) -> None:
        """Raises SettingError when the files cannot be used."""
        self._files = (certificate, key)
        self._log = log
        self._seen = self._stamps()
        try:
            self.context = self._load()
        except (OSError, ssl.SSLError, ValueError) as error:
            raise SettingError(f"BRAINGAME_TLS_CERTIFICATE, BRAINGAME_TLS_KEY: {_said(error)}") from None

    async def run(self) -> None:
        """Take up renewed files, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take up the files if they have changed: connections from now on are served with them. Files that cannot be
        used, such as one of a pair that is being replaced, leave the old ones in use."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        try:
            # Tried apart, since half a pair must not get into the context in use.
            self._load()
            self.context.load_cert_chain(*self._files, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            self._log.warning("the renewed certificate cannot be used yet", said=_said(error))
            return
        self._seen = stamps
        self._log.info("the renewed certificate is in use")

    def _load(self) -> ssl.SSLContext:
        # The standard library's choice of ciphers for servers; TLS 1.2 is the oldest.
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A password that is asked for on the terminal would stop the server; a key that has one is refused.
        context.load_cert_chain(*self._files, password="")
        return context

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"the files are no certificate in PEM with its key ({error.reason or 'unreadable'})"
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]
