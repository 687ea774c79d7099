"""The two frames that nearly all of the traffic is made of: a client's short text, and the server's text.

Everything else about frames (RFC 6455) is the websockets library's. These are here since each request and each push is
one of them, and the library's way takes some eight times as long (docs/decisions/0002).
"""

from __future__ import annotations

from typing import Final

from websockets.utils import apply_mask as _apply_mask_in_python

try:
    from websockets.speedups import apply_mask
except ImportError:  # no C extension was built for this machine
    apply_mask = _apply_mask_in_python

_FINAL_TEXT: Final = 0x81
_MASKED: Final = 0x80
_HEADER: Final = 6
#: Bytes of the text in a frame whose length stands in its second byte.
SHORT: Final = 125


def short_text(data: bytes) -> bytes | None:
    """What the client says where `data` is one whole unfragmented text frame of up to SHORT bytes, and nothing else;
    None where it is anything else, for the library to look at."""
    size = len(data) - _HEADER
    if 0 <= size <= SHORT and data[0] == _FINAL_TEXT and data[1] == _MASKED | size:
        return apply_mask(data[_HEADER:], data[2:_HEADER])
    return None


def text_frame(payload: bytes) -> bytes:
    """A message's text as an unfragmented, unmasked frame: what a server puts on the wire."""
    size = len(payload)
    if size < 126:
        return bytes((_FINAL_TEXT, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload
