"""The reference names everything, links only to what is there, and needs nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from protocol.client_messages import CLIENT_MODELS
from protocol.errors import ERRORS, CloseCode
from protocol.http_routes import ROUTES
from protocol.reference import reference
from protocol.server_messages import SERVER_MODELS

PAGE = reference()


class Page(HTMLParser):
    """What a browser would find in it."""

    VOID = ("meta", "link")

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(PAGE)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        self.links += [str(found[name]) for name in ("href", "src") if name in found]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


PARSED = Page()


def test_page_is_well_formed() -> None:
    assert PARSED.open == []
    assert len(set(PARSED.ids)) == len(PARSED.ids)


def test_every_link_leads_somewhere_on_this_server() -> None:
    for link in PARSED.links:
        assert link.startswith(("#", "/")), link
        if link.startswith("#"):
            assert link[1:] in PARSED.ids, link


@pytest.mark.parametrize(
    "anchor",
    [
        *(f"request-{kind}" for kind in CLIENT_MODELS),
        *(f"message-{kind}" for kind in SERVER_MODELS),
        *(f"route-{route.operation}" for route in ROUTES),
        *(f"error-{code}" for code in ERRORS),
    ],
)
def test_everything_has_its_place(anchor: str) -> None:
    assert anchor in PARSED.ids


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_is_explained(code: CloseCode) -> None:
    assert re.search(rf"<td><code>{code.value}</code></td><td>\w", PAGE)


def test_field_is_shown_with_its_type_and_bounds() -> None:
    section = PAGE.partition('id="request-leaderboard.get"')[2].partition("</section>")[0]
    row = section.partition("<code>limit</code>")[2].partition("</tr>")[0]
    assert "integer (1 to 100)" in row
    assert "optional" in row
    assert "Default 10." in row
