"""New ids, of the kind that rows have that were read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from asyncpg.pgproto import pgproto

if TYPE_CHECKING:
    from uuid import UUID


def new_id() -> UUID:
    """A random UUID (version 4, RFC 9562). It is asyncpg's own kind of uuid.UUID, which is equal to any other of the
    same value, and is made and written in a fraction of the time."""
    drawn = bytearray(os.urandom(16))
    drawn[6] = drawn[6] & 0x0F | 0x40
    drawn[8] = drawn[8] & 0x3F | 0x80
    return cast("UUID", pgproto.UUID(bytes(drawn)))
