"""The way to this server as a QR code, for phones in front of a wall screen."""

from __future__ import annotations

import io
from typing import Final
from urllib.parse import urlsplit

import segno

from protocol.errors import invalid

#: Longer addresses make codes that a phone cannot read across a room.
MAX_CHARACTERS: Final = 120


def join_code(url: str, host: str | None) -> bytes:
    """The address as SVG, dark on light whatever the page's theme. Only addresses on `host`, the one that was asked,
    so that nobody shows codes of ours for somewhere else; raises RequestError with `invalid`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or parts.netloc != host or len(url) > MAX_CHARACTERS:
        raise invalid("url", f"an address of this server, at most {MAX_CHARACTERS} characters")
    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(out, kind="svg", border=3, light="#fff", xmldecl=False, omitsize=True)
    return out.getvalue()
