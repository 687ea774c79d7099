"""axe-core on a page, as it is shown now, in both themes."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.server_process import ROOT

_AXE = ROOT / "node_modules/axe-core/axe.min.js"
_RUN = """async (theme) => {
    const root = document.documentElement;
    const before = root.dataset.theme;
    root.dataset.theme = theme;
    // Colours that are on their way to the other theme are nobody's.
    await Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {})));
    const { violations } = await axe.run();
    root.dataset.theme = before;
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, any }) =>
        `${html} (${any.map(({ message }) => message).join("; ")})`).join(" | ")}`);
}"""


async def expect_accessible(page: Page) -> None:
    """Nothing that axe-core finds wrong, by all of its rules."""
    if not _AXE.exists():
        pytest.skip("NOT RUN: axe-core is not here; make setup-dev installs it")
    # By the debugger's way in: the page's content security policy lets no script of ours in.
    await page.evaluate(_AXE.read_text(encoding="utf-8"))
    for theme in ("light", "dark"):
        found = await page.evaluate(_RUN, theme)
        assert not found, "\n".join([theme, *found])
