"""What holds on every page that is looked at, and its pictures: on a desk, in the dark, in a narrow window."""

from __future__ import annotations

from collections.abc import Sequence

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.running import SCREENS

COLOURS = ("color-contrast", "link-in-text-block")  # the rules of axe that the dark could break


def hold(page: Page, rules: Sequence[str] = ()) -> None:
    """axe finds nothing (of these rules, or at all), and nothing is wider than the window."""
    chosen = {"runOnly": list(rules)} if rules else {}
    found = Axe().run(page, options={"resultTypes": ["violations"], **chosen})
    assert found.violations_count == 0, (page.url, found.generate_report())
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), page.url


def pictures(page: Page, name: str) -> None:
    """A picture of the page in each look; each holds."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    for look, scheme, width in (("light", "light", 1280), ("dark", "dark", 1280), ("narrow", "light", 320)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=SCREENS / f"{name}-{look}.png", full_page=True)
        hold(page, COLOURS if scheme == "dark" else ())
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
