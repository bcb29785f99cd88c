"""A link to copy, what is wrong in the Share dialog, and what waits for an operator, as they are seen."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.desk import LOOKS
from tests.browser.looking import hold
from tests.running import SCREENS

INTEGRATION = "Magento: stream new orders"


def dialog(page, portal):
    page.goto(f"{portal.base}/dashboard/integrations")
    page.get_by_role("link", name=f"Share {INTEGRATION}", exact=True).click()
    expect(page.get_by_role("heading", name=f"Share {INTEGRATION}")).to_be_visible()


def share(page, portal, email):
    dialog(page, portal)
    page.get_by_role("radio", name="Share with a new user").check()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Generate Link").click()
    expect(page.get_by_role("heading", name="The link is ready")).to_be_visible()


def selected(page):
    return page.evaluate("() => getSelection().toString()").strip()


def test_the_new_link_is_selected_as_the_page_opens(desk, portal):
    page = desk()
    share(page, portal, "selected@luma.example")
    link = page.get_by_label("Install link").input_value()
    expect(page.get_by_label("Install link")).to_be_focused()
    assert selected(page) == link
    page.keyboard.press("Control+c")
    assert page.evaluate("() => navigator.clipboard.readText()") == link
    assert page.get_by_text("Or tap it here").count() == 0


def test_without_a_script_one_tap_selects_the_whole_link(portal, chromium):
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 320, "height": 700}, has_touch=True)
    page = context.new_page()
    page.goto(portal.flask("operator", "invite", "tap@demo.example", "--role", "member"))
    page.get_by_role("button", name="Continue").click()
    share(page, portal, "tapped@luma.example")
    link = page.get_by_label("Install link").input_value()
    assert not selected(page)
    page.locator(".whole").click()
    assert selected(page) == link
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_wrong_in_the_dialog_stands_at_its_field_and_has_the_focus(desk, portal, look):
    portal.link("taken@shop.example")
    page = desk(**LOOKS[look])
    dialog(page, portal)
    page.get_by_role("radio", name="Share with a new user").check()
    page.get_by_label("E-mail address").fill("Taken@shop.example")
    page.get_by_text("More: values filled in").click()
    page.get_by_label("Address to continue to afterwards").fill("shop.example")
    page.get_by_role("button", name="Generate Link").click()
    email = page.get_by_role("textbox", name="E-mail address")
    expect(email).to_be_focused()
    expect(email).to_have_attribute("aria-invalid", "true")
    expect(email).to_have_accessible_description(re.compile("There is a user “taken@shop.example” already."))
    expect(page.get_by_label("Address to continue to afterwards")).to_have_value("shop.example")
    page.screenshot(path=SCREENS / f"{look}-share-refused.png", full_page=True)
    hold(page)
    page.get_by_role("link", name="Share with taken@shop.example instead").click()
    expect(page.get_by_label("Username")).to_have_value("taken@shop.example")
    page.get_by_label("Address to continue to afterwards").fill("https://shop.example")
    page.get_by_role("button", name="Generate Link").click()
    expect(page.get_by_text("For taken@shop.example")).to_be_visible()
    page.screenshot(path=SCREENS / f"{look}-share-made.png", full_page=True)
    hold(page)


@pytest.fixture(scope="module")
def trouble(portal):
    """A link that somebody got stuck with, one that ran out, whose user asks for another, and one that ends soon."""
    for name, life in (("stuck", "5d"), ("asked", "5d"), ("soon", "2h")):
        portal.link(f"{name}@trouble.example", "--expires", life)
    at = datetime.now(UTC) - timedelta(hours=2)
    moment = f"{at:%Y-%m-%d %H:%M:%S.%f}"
    whose = "user_id IN (SELECT id FROM users WHERE username = ?)"
    with sqlite3.connect(Path(portal.env["PORTAL_INSTANCE"]) / "portal.sqlite3", timeout=30) as database:
        database.execute(
            f"UPDATE links SET created_at = ?, opened_at = ? WHERE {whose}", (moment, moment, "stuck@trouble.example")
        )
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 24) "
            "INSERT INTO installations "
            "(id, environment, user_id, integration_id, is_enabled, installed_at, removed_at) "
            "SELECT 'trouble' || i, environment, user_id, integration_id, 0, "
            f"datetime('now', -(i * i % 29) || ' days'), datetime('now') FROM n JOIN links WHERE {whose}",
            ("asked@trouble.example",),
        )
        database.execute(
            f"UPDATE links SET created_at = ?, expires_at = ?, requested_at = ? WHERE {whose}",
            (moment, moment, moment, "asked@trouble.example"),
        )
        database.execute(
            "INSERT OR REPLACE INTO failed_tries (id, link_id, app, field, reason, message, at) "
            f"SELECT 'trouble', id, 'magento', 'store_url', 'x', 'There is no shop at this address.', ? FROM links "
            f"WHERE {whose}",
            (moment, "stuck@trouble.example"),
        )
    database.close()


@pytest.mark.parametrize("look", LOOKS)
def test_trouble_is_named_in_words_and_looks_right(desk, portal, trouble, look):
    page = desk(**LOOKS[look])
    expect(page.get_by_text("Magento, Store URL: “There is no shop at this address.”").first).to_be_visible()
    sizes = [
        float(
            page.get_by_role("heading", name=name)
            .evaluate("(one) => getComputedStyle(one).fontSize")
            .removesuffix("px")
        )
        for name in ("Overview", "Needs attention", "Somebody is stuck")
    ]
    assert sizes == sorted(sizes, reverse=True)
    page.screenshot(path=SCREENS / f"{look}-trouble-overview.png", full_page=True)
    hold(page)
    page.goto(f"{portal.base}/dashboard/links")
    row = page.get_by_role("row").filter(has_text="stuck@trouble.example").first
    expect(row).to_contain_text("opened")
    expect(row).to_contain_text("Magento, Store URL")
    page.screenshot(path=SCREENS / f"{look}-trouble-links.png", full_page=True)
    hold(page)
    page.get_by_label("State").select_option("asked for a new one")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("wants a new link").first).to_be_visible()
    expect(page.get_by_text("stuck@trouble.example")).to_have_count(0)
    page.screenshot(path=SCREENS / f"{look}-trouble-asked.png", full_page=True)
    hold(page)
    page.get_by_role("link", name="asked@trouble.example").first.click()
    page.screenshot(path=SCREENS / f"{look}-trouble-link.png", full_page=True)
    hold(page)
    page.get_by_role("link", name="About this user").click()
    page.screenshot(path=SCREENS / f"{look}-trouble-user.png", full_page=True)
    hold(page)


def test_a_button_that_is_pressed_twice_makes_one_link(desk, portal):
    page = desk()
    dialog(page, portal)
    page.get_by_role("radio", name="Share with a new user").check()
    page.get_by_label("E-mail address").fill("twice@luma.example")
    held, on_its_way = [], "**/dashboard/integrations/*/share"
    page.route(on_its_way, lambda route: held.append(route))
    button = page.get_by_role("button", name="Generate Link")
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    with page.expect_request(on_its_way):
        page.mouse.click(*at)
    page.mouse.click(*at)
    for route in held:
        route.continue_()
    expect(page.get_by_role("heading", name="The link is ready")).to_be_visible()
    assert len(held) == 1
    page.unroute(on_its_way)
    assert portal.flask("link", "list").count("twice@luma.example") == 1
