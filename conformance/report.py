"""What only the conformance kit and clients under test say: "what do you hold?" and the answer to it.

For everybody else `conformance.report` is a push of an unknown type, which a client ignores.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from protocol.fields import RequestId

REPORT: Final = "conformance.report"


class _Lenient(BaseModel):
    # A client may send its entries as it holds them, with all of their fields.
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, strict=True, extra="ignore")


class ReportedEntry(_Lenient):
    """One row as the client holds it."""

    number: int
    total_score: int


class ReportData(_Lenient):
    """A board as the client holds it, best first; `entries` is null where it holds nothing."""

    board: str
    entries: list[ReportedEntry] | None


class StateReport(_Lenient):
    """The client's answer to `conformance.report`; it is a request, replied to with `ok`."""

    type: Literal["conformance.state"]
    id: RequestId
    data: ReportData
