"""The operator's journey in a real Chromium, and a picture of every page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.browser.desk import LOOKS, PAGES, goto
from tests.browser.looking import COLOURS, hold
from tests.running import SCREENS
from tests.stage import wait_until


def received(portal):
    """What the listener printed, webhook by webhook."""
    return portal.log.read_text().split("Webhook received")[1:]


def test_the_journey_from_the_share_button_to_the_verified_webhook(chromium, portal, desk, visit):
    page = desk()
    goto(page, "Integrations")
    page.get_by_role("link", name="Magento: stream new orders", exact=True).click()
    page.get_by_role("link", name="Share", exact=True).click()
    page.get_by_role("radio", name="Share with a new user").check()
    page.get_by_label("E-mail address").fill("journey@luma.example")
    expect(page.get_by_label("Expiration Time")).to_have_value("7d")
    page.get_by_role("button", name="Generate Link").click()
    expect(page.get_by_role("heading", name="The link is ready")).to_be_visible()
    page.get_by_role("button", name="Copy Link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("() => navigator.clipboard.readText()")
    assert link.startswith(f"{portal.base}/embedded-install?integrationId=")

    before = len(received(portal))
    window = visit("journey").open(link)
    assert window.heading == "Connect Magento"
    window.connect().press("Finish Installation")
    assert window.heading == "Magento is connected"
    assert window.open(link).heading == "This link was already used"

    wait_until(lambda: len(received(portal)) > before)
    assert "X-Alloy-Signature: verified" in received(portal)[-1]
    assert "webhook-signature: verified" in received(portal)[-1]

    goto(page, "Links")
    row = page.get_by_role("row").filter(has_text="journey@luma.example")
    expect(row.locator("[data-state=finished]")).to_be_visible()
    goto(page, "Installations")
    expect(page.get_by_role("row").filter(has_text="journey@luma.example")).to_contain_text("Luma Store")
    goto(page, "Events")

    def is_delivered():
        page.goto(page.url)
        return page.locator('[data-state="delivered"]').count() > 0

    wait_until(is_delivered)

    before = len(received(portal))
    portal.flask("sandbox", "order")
    wait_until(lambda: any("/ingest" in told for told in received(portal)[before:]))
    streamed = next(told for told in received(portal)[before:] if "/ingest" in told)
    assert '"increment_id"' in streamed
    assert "X-Alloy-Signature: verified" in streamed
    assert "webhook-signature: verified" in streamed


def test_the_sign_in_link_of_make_run_opens_the_dashboard(portal, chromium):
    said = re.search(r"^Dashboard: (\S+)$", portal.log.read_text(), re.M)
    context = chromium.new_context()
    page = context.new_page()
    page.goto(said[1])
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    context.close()


def test_a_user_is_found_while_typing(desk, portal):
    portal.link("finder@shop.example")
    page = desk()
    page.goto(f"{portal.base}/dashboard/integrations")
    page.get_by_role("link", name="Share").first.click()
    page.get_by_label("Username").press_sequentially("finde")
    page.get_by_role("option", name="finder@shop.example").click()
    expect(page.get_by_label("Username")).to_have_value("finder@shop.example")
    page.get_by_role("button", name="Generate Link").click()
    expect(page.get_by_label("Install link")).to_have_value(re.compile("embedded-install"))


def test_times_are_in_the_reader_s_zone_and_the_exact_moment_is_at_hand(desk, portal):
    portal.link("timed@shop.example")
    page = desk()
    page.goto(f"{portal.base}/dashboard/links")
    time = page.locator("time").first
    shown, exact = time.inner_text(), time.get_attribute("title")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", exact)
    hour = int(exact[11:13])
    paris = page.evaluate("(iso) => new Date(iso).getHours()", time.get_attribute("datetime"))
    assert paris != hour
    assert f"{paris % 12 or 12}:{exact[14:16]}" in shown


def test_everything_works_without_a_script(desk, portal, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(portal.flask("operator", "invite", "plain@demo.example", "--role", "member"))
    page.get_by_role("button", name="Continue").click()
    goto(page, "Integrations")
    page.get_by_role("link", name="Share").first.click()
    page.get_by_role("radio", name="Share with a new user").check()
    page.get_by_label("E-mail address").fill("plain@luma.example")
    page.get_by_role("button", name="Generate Link").click()
    expect(page.get_by_label("Install link")).to_have_value(re.compile("embedded-install"))
    expect(page.get_by_label("Install link")).to_have_attribute("readonly", "")
    page.get_by_role("link", name="Follow what becomes of it").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("revoked").first).to_be_visible()
    context.close()


def test_a_test_event_is_sent_and_the_page_shows_by_itself_what_came_of_it(desk, portal):
    page = desk()
    goto(page, "Events")
    page.get_by_role("main").get_by_role("link", name="endpoints").first.click()
    page.get_by_role("link", name="Documented endpoint").click()
    before = len(received(portal))
    page.get_by_label("Act out").select_option("link.failed")
    page.get_by_role("button", name="Send test event").click()
    expect(page.get_by_role("heading", name="test", level=1)).to_be_visible()
    expect(page.get_by_text("answered 204")).to_be_visible(timeout=15_000)
    expect(page.locator("#deliveries[hx-trigger]")).to_have_count(0)
    page.get_by_text("Headers that were sent").click()
    expect(page.get_by_text("webhook-signature: v1,")).to_be_visible()
    wait_until(lambda: len(received(portal)) > before)
    assert "X-Alloy-Signature: verified" in received(portal)[-1]


def test_a_snippet_is_copied_as_a_whole(desk, portal):
    page = desk()
    page.goto(f"{portal.base}/dashboard/endpoints")
    page.get_by_role("button", name="Copy Verify in Node").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("const crypto")
    assert copied.rstrip().endswith("}")


def test_an_export_runs_in_the_background_shows_its_end_and_is_downloaded(desk, portal):
    portal.link("exported@shop.example")
    page = desk()
    page.goto(f"{portal.base}/dashboard/users?user=exported@")
    page.get_by_role("link", name="exported@shop.example").click()
    page.get_by_role("button", name="Export all data").click()
    expect(page.get_by_role("heading", name="All data of exported@shop.example")).to_be_visible()
    expect(page.get_by_role("link", name="Download user-")).to_be_visible(timeout=15_000)
    expect(page.locator("#progress[hx-trigger]")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download user-").click()
    document = json.loads(download.value.path().read_text())
    assert document["users"][0]["username"] == "exported@shop.example"


def test_the_audit_log_is_exported_in_the_background_with_its_filters(desk, portal):
    page = desk()
    goto(page, "Audit log")
    page.get_by_label("What", exact=True).select_option("session.start")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("button", name="Export as JSON lines").click()
    expect(page.get_by_role("heading", name="Audit log as JSON lines")).to_be_visible()
    expect(page.get_by_role("link", name="Download audit-log-")).to_be_visible(timeout=15_000)
    hold(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download audit-log-").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert {line["action"] for line in lines} == {"session.start"}


def test_long_work_can_be_followed_without_a_script(portal, chromium):
    portal.link("plain-export@shop.example")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(portal.flask("operator", "invite", "slow@demo.example", "--role", "member"))
    page.get_by_role("button", name="Continue").click()
    page.goto(f"{portal.base}/dashboard/users?user=plain-export@")
    page.get_by_role("link", name="plain-export@shop.example").click()
    page.get_by_role("button", name="Export all data").click()
    page.wait_for_url("**/dashboard/tasks/*")

    def is_there():
        page.goto(page.url)
        return page.get_by_role("link", name="Download user-").count() > 0

    wait_until(is_there)
    context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_screens_of_every_page(desk, portal, look):
    portal.link("screens@shop.example")
    page = desk(**LOOKS[look])
    addresses = [f"/dashboard/{name}" for name in PAGES]
    page.goto(f"{portal.base}/dashboard/integrations")
    one = page.locator(".cards h2 a").first.get_attribute("href")
    addresses += [one, f"{one}/share", f"{one}/preview", "/dashboard/integrations/apply"]
    page.goto(f"{portal.base}/dashboard/endpoints/documented-production")
    page.get_by_role("button", name="Send test event").click()
    addresses.append(page.url.removeprefix(portal.base))
    page.goto(f"{portal.base}/dashboard/users")
    page.locator("tbody a").first.click()
    page.get_by_role("button", name="Export all data").click()
    addresses.append(page.url.removeprefix(portal.base))
    for kind in ("links", "users"):
        page.goto(f"{portal.base}/dashboard/{kind}")
        addresses.append(page.locator("tbody a").first.get_attribute("href"))
    SCREENS.mkdir(parents=True, exist_ok=True)
    for number, address in enumerate(addresses):
        page.goto(portal.base + address)
        name = address.removeprefix("/dashboard").strip("/").split("/")[0] or "overview"
        page.screenshot(path=SCREENS / f"{look}-{number:02}-{name}.png", full_page=True)
        hold(page, COLOURS if look == "desk-dark" else ())


def test_a_moment_is_typed_in_the_reader_s_zone_and_kept_in_utc(desk, portal):
    page = desk()
    goto(page, "Integrations")
    page.get_by_role("link", name="Magento: stream new orders", exact=True).click()
    page.get_by_role("link", name="Share", exact=True).click()
    expect(page.get_by_label("Date and time")).to_be_hidden()
    page.get_by_role("radio", name="Share with a new user").check()
    page.get_by_label("E-mail address").fill("moment@luma.example")
    page.get_by_label("Expiration Time").select_option("until")
    until = (datetime.now(ZoneInfo("Europe/Paris")) + timedelta(days=3)).replace(hour=12, minute=30)
    page.get_by_label("Date and time (your time)").fill(f"{until:%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Generate Link").click()
    expect(page.get_by_role("heading", name="The link is ready")).to_be_visible()
    made = next(one for one in json.loads(portal.flask("link", "list", "--json")) if "moment@" in one["username"])
    assert made["expiresAt"].startswith(f"{until.astimezone(UTC):%Y-%m-%dT%H:%M}")

    goto(page, "Audit log")
    page.get_by_label("From (your time)").fill("2026-01-10T12:30")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("since=2026-01-10T11(%3A|:)30"))
    expect(page.get_by_label("From (your time)")).to_have_value("2026-01-10T12:30")
