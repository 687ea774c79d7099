"""The secret that signs access tokens, when the operator has set none."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from server.settings import MIN_SECRET_BYTES, SettingError, Settings, weakness

_FILE: Final = "jwt_secret"
_HOW_TO_MAKE_ONE: Final = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'


def secret_for(settings: Settings) -> str:
    """The secret that the settings name, or that of the data folder. With a database of the operator's own it has to be
    named: other servers on it need the same, and a folder may be another one tomorrow. Raises SettingError."""
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    if settings.database_url is not None:
        raise SettingError(f"BRAINGAME_JWT_SECRET is needed with DATABASE_URL; make one: {_HOW_TO_MAKE_ONE}")
    return kept_secret(settings.data_dir)


def kept_secret(data_dir: Path) -> str:
    """The secret of this data folder, made at the first start. Raises SettingError when it cannot be kept."""
    path = data_dir / _FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_new(path, secrets.token_urlsafe(48))
        secret = path.read_text().strip()
    except OSError as error:
        raise SettingError(f"BRAINGAME_DATA_DIR: cannot keep a secret in {path}: {error.strerror}") from None
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise SettingError(f"{path} holds fewer than {MIN_SECRET_BYTES} bytes; remove it to have a new one made")
    if said := weakness(secret):
        raise SettingError(f"{path}: {said}; remove it to have a new one made")
    return secret


def _write_new(path: Path, secret: str) -> None:
    # Written aside and linked into place, so that a crash leaves no half a secret and of two starts one wins.
    draft = path.with_name(f"{_FILE}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
