"""From an order in the shop to the vendor's ingest, seen in the dashboard; and when the ingest breaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from portal.demo.seed import INTEGRATION, OPERATOR, USERNAME
from tests.browser.looking import pictures
from tests.running import Running, run_everything
from tests.runtime import Ingest, answers, takes
from tests.stage import wait_until


@pytest.fixture(scope="module")
def ingest() -> Iterator[Ingest]:
    """The vendor's ingest, which can be broken."""
    server = Ingest()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, ingest: Ingest, chromium: Browser) -> Iterator[Running]:
    """What `make run` starts, with this ingest; its link is finished."""
    for running in run_everything(tmp_path_factory.mktemp("runs"), {"PORTAL_DEMO_INGEST_URL": ingest.url}):
        window = chromium.new_page()
        window.goto(running.first_link)
        window.get_by_label("Store URL").fill(running.shop)
        window.get_by_label("Access token").fill(running.token)
        window.get_by_role("button", name="Finish Installation").first.click()
        expect(window.get_by_role("heading", name="Magento is connected")).to_be_visible()
        window.close()
        yield running


@pytest.fixture
def page(chromium, own) -> Iterator[Page]:
    """An operator's browser, signed in."""
    context = chromium.new_context(bypass_csp=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(own.flask("operator", "invite", OPERATOR, "--role", "admin"))
    page.get_by_role("button", name="Continue").click()
    yield page
    context.close()


def open_newest_run(page: Page, own: Running) -> None:
    page.goto(f"{own.base}/dashboard/runs")
    page.locator("tbody tr").first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Run of Stream new orders", level=1)).to_be_visible()


def test_an_order_streams_to_the_ingest_and_a_broken_ingest_is_seen_mended_and_run_again(own, ingest, page, tmp_path):
    own.flask("sandbox", "order")
    wait_until(lambda: len(ingest.asked) == 1)
    assert ingest.asked[0].json["entity_id"] == 1
    assert "x-alloy-signature" in ingest.asked[0].headers
    open_newest_run(page, own)
    expect(page.get_by_role("status")).to_contain_text("succeeded")
    expect(page.get_by_text(f"POST {ingest.url}")).to_be_visible()
    expect(page.get_by_text("Answered 200.")).to_be_visible()
    assert "veronica@example.com" not in page.content()
    pictures(page, "runs-succeeded")

    ingest.behave = answers(400, b'{"message": "no such tenant"}')
    own.flask("sandbox", "order")
    wait_until(lambda: len(ingest.asked) == 2)
    page.goto(f"{own.base}/dashboard")
    expect(page.get_by_role("heading", name="Runs that failed in the last 7 days")).to_be_visible()
    page.get_by_role("link", name=re.compile("Stream new orders of")).first.click()
    expect(page.get_by_role("status")).to_contain_text("Send the order: 127.0.0.1 answered 400.")
    expect(page.get_by_text("no such tenant")).to_be_visible()
    pictures(page, "runs-failed")

    ingest.behave = takes
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_role("status")).to_contain_text("succeeded", timeout=15_000)  # it looks again by itself
    assert [one.json["entity_id"] for one in ingest.asked] == [1, 2, 2]
    assert ingest.asked[2].key != ingest.asked[1].key

    item = tmp_path / "order.json"
    item.write_text(json.dumps(ingest.asked[0].json))
    user = ("--user", USERNAME, "--item", str(item))
    assert "It succeeded." in own.flask("workflow", "try", str(INTEGRATION), *user)
    assert ingest.asked[3].json == ingest.asked[0].json

    page.get_by_role("link", name="How this workflow stands").click()
    expect(page.get_by_role("heading", name="Everything is fine")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Stream new orders, drawn"))).to_be_visible()
    pictures(page, "runs-child")


def test_a_run_that_is_tried_again_is_stopped_without_a_script(chromium, own, ingest, page):
    ingest.behave = answers(500)
    own.flask("sandbox", "order")
    context = chromium.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(own.flask("operator", "invite", OPERATOR, "--role", "admin"))
    plain.get_by_role("button", name="Continue").click()

    def is_retried() -> bool:
        plain.goto(f"{own.base}/dashboard/runs?state=retrying")
        return plain.locator("tbody tr").count() == 1

    wait_until(is_retried)
    plain.locator("tbody tr").first.get_by_role("link").click()
    expect(plain.get_by_text("The runs behind it wait, so that the order is kept.")).to_be_visible()
    page.goto(plain.url)
    pictures(page, "runs-retrying")
    plain.get_by_role("link", name="How this workflow stands").click()
    expect(plain.get_by_role("heading", name="Why is nothing happening?")).to_be_visible()
    page.goto(plain.url)
    pictures(page, "runs-held-up")
    plain.get_by_role("link", name="One run").click()
    plain.get_by_role("button", name="Stop this run").click()
    expect(plain.get_by_role("status")).to_contain_text("stopped")
    context.close()
    ingest.behave = takes


def test_the_integration_s_page_draws_its_workflow(own, page):
    page.goto(f"{own.base}/dashboard/integrations")
    page.locator(".cards h2 a").first.click()
    expect(page.get_by_role("img", name=re.compile("order created, then Send the order"))).to_be_visible()
    page.get_by_text("As text").click()
    expect(page.get_by_text("Send the order: sends a request")).to_be_visible()
    pictures(page, "runs-integration")
