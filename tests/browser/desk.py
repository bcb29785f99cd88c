"""What browser tests of the dashboard share: an operator's browser, its looks, and every page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from portal.demo.seed import OPERATOR

PAGES = ["", "integrations", "links", "users", "installations", "events", "api-keys", "settings", "audit", "sessions"]
PAGES += ["endpoints", "endpoints/documented-production", "tasks", "proof", "runs"]
LOOKS = {
    "desk-light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "desk-dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "desk-narrow": {"viewport": {"width": 320, "height": 700}, "color_scheme": "light"},
}


@pytest.fixture
def desk(chromium, portal):
    """An operator's browser, signed in by the link of `make run` (or, when that is used, by a new one)."""
    contexts = []

    def open_desk(**options):
        context = chromium.new_context(bypass_csp=True, timezone_id="Europe/Paris", **options)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(portal.flask("operator", "invite", OPERATOR, "--role", "admin"))
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
        return page

    yield open_desk
    for context in contexts:
        context.close()


def goto(page, name):
    """Follow a link of the navigation."""
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
