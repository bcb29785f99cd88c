"""The journey of the end user, in all the ways in which people come."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.stage import wait_until

WAYS = {
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
    "narrow": {"viewport": {"width": 320, "height": 640}},
    "dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "no-script": {"java_script_enabled": False, "viewport": {"width": 390, "height": 844}},
    "forced": {"forced_colors": "active", "viewport": {"width": 390, "height": 844}},
}


@pytest.mark.parametrize("way", WAYS)
def test_screens_of_the_whole_journey(visit, portal, way):
    page = visit(way, **WAYS[way])
    page.open(portal.link(f"{way}@shop.example", "--redirect-url", "https://vendor.example/done"))
    has_script = way != "no-script"
    look = page.picture if has_script else lambda state: page.page.screenshot(path=f"build/screens/{way}-{state}.png")
    look("1-form")

    page.press("Finish Installation")
    assert page.error_at("Store URL") == "Type the address."
    assert page.focused.startswith("Store URL") or not has_script
    look("2-empty")

    page.fill("Store URL", f"{portal.shop}/admin/").fill("Access token", "wrong").press("Check connection")
    assert page.error_at("Access token").startswith("Magento did not accept this access token.")
    look("3-wrong")

    page.connect().press("Check connection")
    expect(page.page.get_by_text("Connected as Luma Store")).to_be_visible()
    expect(page.page.get_by_text("Not finished yet")).to_have_count(0)
    look("4-checked")

    page.press("Hand this page on")
    assert "/embedded-install?integrationId=" in page.page.get_by_label("Address of this page").input_value()
    look("5-handed-on")

    page.press("Finish Installation")
    assert page.heading == "Magento is connected"
    expect(page.page.get_by_role("link", name="Continue to vendor.example")).to_be_visible()
    look("6-done")


def test_screens_of_links_that_ended(visit, portal):
    page = visit("phone", viewport={"width": 390, "height": 844})
    link = portal.link("ended@shop.example")
    page.open(link).connect().press("Finish Installation")
    page.open(link).picture("7-used")
    assert page.heading == "This link was already used"
    page.open(link.replace("token=", "token=x")).picture("8-unknown")
    assert page.heading == "This link doesn’t work"
    page.open(portal.shop).picture("9-shop")


def test_screens_for_the_readme(visit, portal, request):
    page = visit("readme", viewport={"width": 480, "height": 760}, device_scale_factor=2)
    page.open(portal.link("readme@shop.example")).connect().press("Check connection").picture("screen")
    if request.config.getoption("--screens-for-docs"):
        shutil.copy(Path("build/screens/readme-screen.png"), Path("docs/install-page.png"))


def test_the_first_link_of_make_run_ends_in_a_verified_webhook_in_the_terminal(visit, portal):
    page = visit("first").open(portal.first_link).connect().press("Finish Installation")

    assert page.heading == "Magento is connected"
    wait_until(lambda: "Webhook received" in portal.log.read_text())
    said = portal.log.read_text()
    assert "X-Alloy-Signature: verified" in said
    assert "webhook-signature: verified" in said


def test_the_page_title_and_focus_follow_what_happens(visit, portal):
    page = visit("focus").open(portal.link("focus@shop.example"))
    assert page.page.title().startswith("Connect Magento")
    page.press("Finish Installation")
    assert page.page.title().startswith("Error: Connect Magento")
    assert page.focused.startswith("Store URL")
    page.connect().press("Finish Installation")
    assert page.page.title().startswith("Magento is connected")
    assert page.focused == "Magento is connected"


def test_everything_can_be_done_with_the_keyboard_alone(visit, portal):
    page = visit("keyboard").open(portal.link("keyboard@shop.example")).page
    page.keyboard.press("Tab")
    page.keyboard.type(portal.shop)
    page.keyboard.press("Tab")
    page.keyboard.type(portal.token)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.innerText").startswith("Show")
    page.keyboard.press("Space")
    expect(page.get_by_label("Access token")).to_have_attribute("type", "text")
    page.keyboard.press("Shift+Tab")
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Magento is connected")


def test_the_page_stands_right_to_left(visit, portal):
    page = visit("rtl", viewport={"width": 320, "height": 640}).open(portal.link("rtl@shop.example"))
    page.page.evaluate("() => { document.documentElement.dir = 'rtl' }")
    page.press("Finish Installation").picture("1-empty")


def test_a_scanner_that_runs_scripts_and_follows_every_link_leaves_no_trace(visit, portal):
    link = portal.link("scanned@shop.example")
    scanner = visit("scanner").page
    for _ in range(10):
        scanner.goto(link)
        for target in scanner.eval_on_selector_all("a[href]", "links => links.map(a => a.href)"):
            if target.startswith(portal.base):
                scanner.goto(target)
        scanner.mouse.move(50, 50)
        scanner.mouse.wheel(0, 200)
    shown = next(one for one in _links(portal) if one["username"] == "scanned@shop.example")
    assert (shown["state"], shown["openedAt"], shown["finishedAt"]) == ("created", None, None)

    person = visit("person").open(link)
    with person.page.expect_response(lambda response: response.request.method == "POST"):
        person.fill("Store URL", "s")
    shown = next(one for one in _links(portal) if one["username"] == "scanned@shop.example")
    assert shown["state"] == "opened"


def _links(portal):
    import json

    return json.loads(portal.flask("link", "list", "--json"))


def test_it_works_in_a_cross_site_iframe_without_third_party_cookies(visit, portal):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    link = portal.link("framed@shop.example")

    class Host(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<title>App</title><iframe src="{link}" width=400 height=900></iframe>'.encode())

        def log_message(self, *_):
            pass

    host = HTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=host.serve_forever, daemon=True).start()
    window = visit("framed").page
    window.goto(f"http://localhost:{host.server_port}/")  # another site than 127.0.0.1
    frame = window.frame_locator("iframe")
    frame.get_by_label("Store URL").fill(portal.shop)
    frame.get_by_label("Access token").fill(portal.token)
    frame.get_by_role("button", name="Finish Installation").click()
    expect(frame.get_by_role("heading", level=1)).to_have_text("Magento is connected")
    host.shutdown()


def test_no_console_complains_about_the_policy(chromium, portal):
    context = chromium.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(portal.link("policy@shop.example"))
    page.get_by_label("Store URL").fill(portal.shop)
    page.get_by_label("Access token").fill(portal.token)
    page.get_by_role("button", name="Finish Installation").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Magento is connected")
    assert complaints == []
    assert page.evaluate("() => localStorage.length + sessionStorage.length") == 0
    context.close()


def test_the_form_can_be_used_before_the_script_has_come(chromium, portal):
    context = chromium.new_context()
    page = context.new_page()
    page.route("**/*.js", lambda route: route.abort())
    page.goto(portal.link("early@shop.example"))
    page.get_by_label("Store URL").fill(portal.shop)
    page.get_by_label("Access token").fill(portal.token)
    page.get_by_role("button", name="Finish Installation").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Magento is connected")
    context.close()


def test_nothing_that_was_typed_lies_in_the_database_or_a_log_in_the_clear(visit, portal):
    secret = "Typed-Secret-0815"
    page = visit("secret").open(portal.link("secret@shop.example"))
    page.fill("Store URL", portal.shop).fill("Access token", secret).press("Finish Installation")
    page.connect().press("Finish Installation")
    instance = Path(portal.env["PORTAL_INSTANCE"])
    held = b"".join(path.read_bytes() for path in instance.glob("portal.sqlite3*"))
    logged = portal.log.read_text().split("Install link:", 1)[1]
    for word in (secret, portal.token):
        assert word.encode() not in held
        assert word not in logged
