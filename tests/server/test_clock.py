"""The clock tells what wire and boards can tell apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from protocol.server_messages import PongData
from server.clock import utc_now


def test_clock_tells_utc_in_whole_milliseconds() -> None:
    before = datetime.now(UTC)
    now = utc_now()
    after = datetime.now(UTC)
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
    assert before - timedelta(milliseconds=1) < now <= after


def test_time_is_the_same_after_a_way_over_the_wire() -> None:
    now = utc_now()
    assert PongData.model_validate_json(PongData(server_time=now).model_dump_json()).server_time == now
