"""axe-core on a page, as it is shown now, in both themes."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.server_process import ROOT

_AXE = ROOT / "node_modules/axe-core/axe.min.js"
#: The rules that look at colours; nothing else is another in the other theme.
_COLOURS = ["color-contrast", "link-in-text-block"]
_RUN = """async ([theme, rules]) => {
    const root = document.documentElement;
    const before = root.dataset.theme;
    root.dataset.theme = theme;
    // Colours that are on their way to the other theme are nobody's.
    await Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {})));
    const { violations } = await axe.run(rules ? { runOnly: rules } : {});
    root.dataset.theme = before;
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, any }) =>
        `${html} (${any.map(({ message }) => message).join("; ")})`).join(" | ")}`);
}"""


async def expect_accessible(page: Page) -> None:
    """Nothing that axe-core finds wrong, by all of its rules, those about colours in both themes."""
    if not _AXE.exists():
        pytest.skip("NOT RUN: axe-core is not here; make setup-dev installs it")
    if not await page.evaluate("'axe' in window"):
        # By the debugger's way in: the page's content security policy lets no script of ours in.
        await page.evaluate(_AXE.read_text(encoding="utf-8"))
    for theme, rules in (("light", None), ("dark", _COLOURS)):
        found = await page.evaluate(_RUN, [theme, rules])
        assert not found, "\n".join([theme, *found])
