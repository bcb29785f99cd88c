"""embed.js on a page of the vendor's own: the demo page of docs/, served from another origin."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

DOCS = Path(__file__).parent.parent.parent / "docs"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def docs() -> Iterator[str]:
    """The folder docs/ under an origin of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(DOCS)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def demo(visit, portal, docs):
    """Open the demo page with a fresh link."""

    def open_demo(name, link=None, **options):
        page = visit(name, **options).page
        link = link or portal.link(f"{name}@shop.example")
        page.goto(f"{docs}/embed-demo.html?{urlencode({'portal': portal.base, 'link': link})}")
        page.wait_for_function("() => window.Portal")
        return page

    return open_demo


def said(page, text):
    expect(page.get_by_role("status").last).to_have_text(text)


def connect(page, portal):
    frame = page.frame_locator("iframe")
    frame.get_by_label("Store URL").fill(portal.shop)
    frame.get_by_label("Access token").fill(portal.token)
    frame.get_by_role("button", name="Finish Installation").click()
    expect(frame.get_by_role("heading", name="Magento is connected")).to_be_visible()
    return frame


def test_a_link_is_finished_in_a_window_over_the_page(demo, portal):
    page = demo("embed-window")
    page.get_by_role("button", name="Connect in a window").click()
    said(page, "The page is there.")
    dialog = page.get_by_role("dialog", name="Connect your store")
    expect(dialog).to_be_visible()
    assert page.locator("iframe").get_attribute("title") == "Connect your store"
    assert page.evaluate("() => document.activeElement.tagName") == "IFRAME"
    assert page.evaluate("() => document.documentElement.style.overflow") == "hidden"
    frame = connect(page, portal)
    said(page, "Finished: 1 workflow(s).")
    frame.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    said(page, "Finished: 1 workflow(s).")
    assert page.evaluate("() => document.documentElement.style.overflow") == ""
    assert page.evaluate("() => document.activeElement.id") == "window"


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_escape_closes_the_window_and_gives_the_focus_back(demo, where):
    page = demo(f"embed-escape-{where}")
    page.get_by_role("button", name="Connect in a window").click()
    said(page, "The page is there.")
    if where == "inside":
        page.frame_locator("iframe").get_by_label("Store URL").focus()
        page.keyboard.press("Escape")  # at the page: the field is gone with the key's release
    else:
        page.evaluate("() => { const d = document.querySelector('dialog'); d.tabIndex = -1; d.focus(); }")
        page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    said(page, "Closed without finishing.")
    assert page.evaluate("() => document.activeElement.id") == "window"


def test_on_the_page_the_frame_is_as_tall_as_what_it_shows(demo, portal):
    page = demo("embed-inline", viewport={"width": 390, "height": 800})
    page.get_by_role("button", name="Connect on the page").click()
    said(page, "The page is there.")
    frame = page.frame_locator("#place iframe")
    expect(frame.get_by_role("button", name="Finish Installation")).to_be_visible()

    def fits():
        # The frame grows a moment after what it shows: the page inside has to tell the one around it.
        page.frames[1].wait_for_function(
            "() => innerHeight > 700"
            " && Math.abs(document.documentElement.getBoundingClientRect().height - innerHeight) <= 2",
            timeout=5000,
        )

    fits()
    frame.get_by_role("button", name="Finish Installation").click()
    expect(frame.locator(".error").first).to_be_visible()
    fits()
    connect(page, portal)
    said(page, "Finished: 1 workflow(s).")


def test_a_link_that_is_used_is_told_as_an_error(demo, portal):
    link = portal.link("embed-used@shop.example")
    portal.flask("link", "revoke", json.loads(portal.flask("link", "list", "--json"))[0]["linkId"])
    page = demo("embed-used", link=link)
    page.get_by_role("button", name="Connect in a window").click()
    said(page, "refused: This link was withdrawn – Acme Analytics")


def test_where_embedding_is_blocked_the_page_opens_in_a_tab_of_its_own(demo):
    page = demo("embed-blocked")
    page.clock.install()

    def forbid(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": "frame-ancestors 'none'"})

    page.route("**/embedded-install?**", forbid)
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Connect in a window").click()
        page.clock.fast_forward(8500)
    expect(opened.value.get_by_role("heading", level=1)).to_have_text("Connect Magento")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_messages_go_only_to_who_may_embed(visit, portal, docs):
    """With a list of origins, a page of another one is told nothing (the browser wouldn't even show it there)."""
    page = visit("embed-origin").page
    link = portal.link("embed-origin@shop.example")
    page.goto(f"{docs}/embed-demo.html?{urlencode({'portal': portal.base, 'link': link})}")
    page.evaluate(
        "() => { window.heard = []; addEventListener('message', (e) => heard.push(JSON.stringify(e.data))); }"
    )

    def listed(origins, is_heard):
        def change(route):
            answer = route.fetch()
            body = answer.text().replace('data-embedders="*"', f'data-embedders="{origins}"')
            headers = {k: v for k, v in answer.headers.items() if k not in ("content-encoding", "content-length")}
            route.fulfill(response=answer, body=body, headers=headers)

        page.unroute("**/embedded-install?**")
        page.route("**/embedded-install?**", change)
        page.get_by_role("button", name="Connect in a window").click()
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("button", name="Close")).to_be_visible()  # our script, which hears keys, shows it
        frame.get_by_label("Store URL").focus()
        page.keyboard.press("Escape")
        if is_heard:
            page.wait_for_function("() => heard.includes('{\"closeModal\":true}')")
        heard = page.evaluate("() => { const all = heard; window.heard = []; return all; }")
        page.keyboard.press("Escape")
        page.evaluate("() => document.querySelector('dialog')?.remove()")
        return heard

    assert listed("https://other.example", False) == []
    assert listed("https://*.example.com", False) == []
    assert '{"closeModal":true}' in listed(f"https://other.example {docs}", True)
    assert '{"closeModal":true}' in listed("*", True)
