"""Settings in a real Chromium: the preview follows what is typed, and what is saved is what end users see."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.looking import hold


def shown(page):
    return page.frame_locator("iframe.preview")


@pytest.fixture
def settings_page(desk, portal):
    page = desk()
    page.goto(f"{portal.base}/dashboard/settings")
    yield page
    for name in ("vendor_name", "accent"):
        page.goto(f"{portal.base}/dashboard/settings")
        button = page.locator(f'form[action$="/{name}/reset"] button')
        if button.count():
            button.click()


def test_the_preview_follows_what_is_typed_and_saving_is_what_end_users_see(settings_page, portal, chromium):
    page = settings_page
    expect(shown(page).get_by_text("Acme Analytics asks to connect")).to_be_visible()
    page.get_by_label("Your name").fill("Blue Orders")
    expect(shown(page).get_by_text("Blue Orders asks to connect")).to_be_visible()
    page.get_by_label("Accent colour").fill("#ffff00")
    expect(page.get_by_text("In light mode, #ffff00 has a contrast of")).to_be_visible()
    button = shown(page).get_by_role("button", name="Finish Installation")
    expect(button).to_have_css("background-color", re.compile(r"rgb\((\d+), \1, 0\)"))
    hold(page)

    link = portal.link("settings@shop.example")
    context = chromium.new_context()
    window = context.new_page()
    window.goto(link)
    expect(window.get_by_text("Acme Analytics asks to connect")).to_be_visible()
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Saved. It holds from now on")).to_be_visible()
    window.goto(link)
    expect(window.get_by_text("Blue Orders asks to connect")).to_be_visible()
    page.get_by_role("button", name="Use the default Acme Analytics").click()
    expect(page.get_by_label("Your name")).to_have_value("Acme Analytics")
    window.goto(link)
    expect(window.get_by_text("Acme Analytics asks to connect")).to_be_visible()
    context.close()


def test_the_preview_works_without_a_script(portal, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(portal.flask("operator", "invite", "settings@demo.example", "--role", "admin"))
    page.get_by_role("button", name="Continue").click()
    page.goto(f"{portal.base}/dashboard/settings")
    page.get_by_label("Your name").fill("Green Orders")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Preview: nothing of this is saved yet")).to_be_visible()
    expect(shown(page).get_by_text("Green Orders asks to connect")).to_be_visible()
    button = shown(page).get_by_role("button", name="Finish Installation")
    expect(button).to_have_css("background-color", "rgb(31, 95, 191)")  # styles are there, under the frame's own policy
    page.get_by_label("Origins").fill("https://a.example; script-src *")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("is no origin such as https://app.example")).to_be_visible()
    context.close()
