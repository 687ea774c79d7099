"""Frames: what goes past the library is what the library would have made of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from server.frames import SHORT, short_text, text_frame

thorough = settings(max_examples=300, deadline=None)


def by_the_library(data: bytes) -> Frame | None:
    """The frame that the library finds in the data, if it is one whole frame and nothing else."""
    protocol = ServerProtocol()
    protocol.receive_data(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    (request,) = protocol.events_received()
    protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]
    protocol.receive_data(data)
    events = protocol.events_received()
    if len(events) != 1 or protocol.reader.buffer:
        return None
    assert isinstance(events[0], Frame)
    return events[0]


@thorough
@given(st.binary(max_size=SHORT + 20))
def test_short_text_of_a_client_is_read(text: bytes) -> None:
    data = Frame(Opcode.TEXT, text).serialize(mask=True)
    assert short_text(data) == (text if len(text) <= SHORT else None)


headers = st.sampled_from([0x81, 0x01, 0x80, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x91, 0x00])


@thorough
@given(headers, st.integers(0, 255), st.binary(max_size=140))
def test_nothing_is_read_that_the_library_reads_otherwise(first: int, second: int, rest: bytes) -> None:
    data = bytes((first, second)) + rest
    text = short_text(data)
    if text is not None:
        frame = by_the_library(data)
        assert frame is not None
        assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, text)


@pytest.mark.parametrize("cut", [1, 2, 5, 6, 10])
def test_part_of_a_frame_and_more_than_a_frame_are_left_to_the_library(cut: int) -> None:
    data = Frame(Opcode.TEXT, b'{"type":"ping"}').serialize(mask=True)
    assert short_text(data[:cut]) is None
    assert short_text(data + data[:cut]) is None
    assert short_text(b"") is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_frame_of_a_text_is_what_the_library_would_send(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
