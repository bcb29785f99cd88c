"""A picture of what the dashboard shows after something was done: receipts, refusals, errors, what needs attention.

Each in light and dark and at 320 pixels; axe finds nothing on any of them.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from portal.demo.seed import OPERATOR
from tests.browser.looking import pictures
from tests.running import Running

SHOP = "Magento: stream new orders"
LATER = """
name: "Wait, then tell"
apps: [magento]
workflows:
  - name: Tell a month later
    description: A month after it was installed, say so.
    trigger: {installation: true}
    steps: [{name: Wait, delay: 30d}, {name: Say so, request: {post: "https://vendor.example/", body: "${ trigger }"}}]
"""
Open = Callable[..., Page]


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Open]:
    """Open private windows."""
    contexts = []

    def run() -> Page:
        contexts.append(chromium.new_context(bypass_csp=True, viewport={"width": 1280, "height": 900}))
        return contexts[-1].new_page()

    yield run
    for context in contexts:
        context.close()


@pytest.fixture
def sign_in(browser: Open, portal: Running) -> Open:
    """A window in which somebody is signed in."""

    def run(email: str = OPERATOR, role: str = "admin") -> Page:
        page = browser()
        page.goto(portal.flask("operator", "invite", email, "--role", role))
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
        return page

    return run


def picture(page: Page, name: str, heading: str | re.Pattern[str]) -> None:
    """The pictures of a page, once it is there."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    pictures(page, f"state-{name}")


def connect(page: Page, portal: Running, link: str, token: str = "") -> None:
    """Open a link and press Finish, as the end user does."""
    page.goto(link)
    page.get_by_label("Store URL").fill(portal.shop)
    page.get_by_label("Access token").fill(token or portal.token)
    page.get_by_role("button", name="Finish Installation").first.click()


def database(portal: Running) -> sqlite3.Connection:
    """The portal's own database, to let time have passed."""
    return sqlite3.connect(Path(portal.env["PORTAL_INSTANCE"]) / "portal.sqlite3", timeout=10)


def user_page(page: Page, portal: Running, username: str) -> None:
    page.goto(f"{portal.base}/dashboard/users?user={username}")
    page.get_by_role("link", name=username).click()


def test_signing_in(browser, portal):
    page = browser()
    page.goto(f"{portal.base}/dashboard/sign-in")
    page.get_by_text("I run this portal").click()
    picture(page, "sign-in", "Sign in")
    link = portal.flask("operator", "invite", "pictured@demo.example", "--role", "viewer")
    page.goto(link)
    picture(page, "continue", "Sign in")
    page.get_by_role("button", name="Continue").click()
    page.goto(link)
    page.get_by_text("I run this portal").click()
    picture(page, "sign-in-used", "Sign in")


def test_refusals(sign_in, portal):
    page = sign_in("reading@demo.example", "viewer")
    page.goto(f"{portal.base}/dashboard/audit")
    picture(page, "refused-403", "Your role doesn’t allow this")
    page.goto(f"{portal.base}/dashboard/users/nobody")
    picture(page, "refused-404", "No such user")
    page.goto(f"{portal.base}/dashboard/nothing")
    picture(page, "nothing-there", re.compile("."))


def test_the_link_that_was_made(sign_in, portal):
    page = sign_in()
    page.goto(f"{portal.base}/dashboard/integrations")
    page.get_by_role("link", name=f"Share {SHOP}").click()
    page.get_by_role("radio", name="Share with a new user").check()
    page.get_by_label("E-mail address").fill("pictured-link@luma.example")
    page.get_by_role("button", name="Generate Link").click()
    page.get_by_text("QR code").click()
    picture(page, "link-ready", "The link is ready")


def test_the_difference_that_a_changed_file_makes(sign_in, portal):
    page = sign_in()
    page.goto(f"{portal.base}/dashboard/integrations")
    page.get_by_role("link", name=SHOP, exact=True).click()
    page.get_by_role("link", name="Change", exact=True).click()
    text = page.get_by_label("Text of the file (YAML)")
    text.fill(text.input_value().replace("every: 1s", "every: 5m"))
    page.get_by_role("button", name="Show the difference").click()
    picture(page, "difference", f"Change {SHOP}")
    page.get_by_role("button", name="Edit the text").click()
    page.get_by_label("Text of the file (YAML)").fill("name: [")
    page.get_by_role("button", name="Show the difference").click()
    picture(page, "error-integration", "Add or change an integration")


def test_an_installation_that_is_stopped_while_a_run_is_under_way(sign_in, browser, portal, tmp_path):
    file = tmp_path / "later.yaml"
    file.write_text(LATER)
    portal.flask("integration", "apply", str(file))
    user = ("--user", "stop@x.example", "--create-user")
    link = portal.flask("link", "create", "--integration", "Wait, then tell", *user)
    end_user = browser()
    connect(end_user, portal, link)
    expect(end_user.get_by_role("heading", name="Magento is connected")).to_be_visible()
    page = sign_in()
    page.goto(f"{portal.base}/dashboard/installations?user=stop@x")
    page.get_by_role("link", name="stop@x.example").click()
    picture(page, "installation", "Wait, then tell of stop@x.example")
    page.get_by_role("button", name="Deactivate").click()
    picture(page, "stopped", "It is stopped")


def test_receipts(sign_in, portal):
    portal.link("receipt@luma.example")
    page = sign_in()
    for deed, name, heading in (
        ("Delete logs", "Delete the logs of receipt@luma.example", "The logs are deleted"),
        ("Delete user", "Delete receipt@luma.example", "The user is deleted"),
    ):
        user_page(page, portal, "receipt@luma.example")
        page.locator("summary", has_text=deed).click()
        page.get_by_role("button", name=name).click()  # without typing the username
        problem = "Nothing was deleted. Type the username exactly as it stands here"
        expect(page.get_by_text(problem)).to_be_visible()
        expect(page.get_by_label("Type the username to confirm").locator("visible=true")).to_be_focused()
        picture(page, f"error-{deed.split()[1]}", "receipt@luma.example")
        page.get_by_label("Type the username to confirm").locator("visible=true").fill("receipt@luma.example")
        page.get_by_role("button", name=name).click()
        picture(page, f"receipt-{deed.split()[1]}", heading)


def test_forms_with_errors(sign_in, portal):
    portal.link("taken@luma.example")
    page = sign_in()
    page.goto(f"{portal.base}/dashboard/users")
    page.get_by_text("Make a user").click()
    page.get_by_label("Username", exact=True).fill("taken@luma.example")
    page.get_by_role("button", name="Make user").click()
    expect(page.get_by_text("There is a user “taken@luma.example” already.")).to_be_visible()
    expect(page.get_by_label("Username", exact=True)).to_have_value("taken@luma.example")
    picture(page, "error-user", "Users")

    page.goto(f"{portal.base}/dashboard/api-keys")
    page.get_by_role("button", name="Make key").click()
    picture(page, "error-key", "API keys")
    page.get_by_label("Name", exact=True).fill("pictured")
    page.get_by_role("button", name="Make key").click()
    expect(page.get_by_label("API key", exact=True)).to_be_visible()
    picture(page, "key", "API keys")

    page.goto(f"{portal.base}/dashboard/endpoints")
    page.get_by_text("Add an endpoint").click()
    page.get_by_label("Name", exact=True).fill("billing")
    page.get_by_label("Address", exact=True).fill("billing")
    page.get_by_role("button", name="Add endpoint").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("billing")
    picture(page, "error-endpoint", "Endpoints")

    page.goto(f"{portal.base}/dashboard/events")
    page.get_by_text("Redeliver what failed").click()
    page.get_by_label("Failed since").fill("")
    page.get_by_role("button", name="Redeliver all failed").click()
    picture(page, "error-since", "Events")

    page.goto(f"{portal.base}/dashboard/settings")
    page.get_by_label("Logs of runs").fill("soon")
    page.get_by_role("button", name="Save settings").click()
    picture(page, "error-settings", "Settings")


def test_an_overview_with_something_to_do(sign_in, browser, portal):
    end_user = browser()
    connect(end_user, portal, portal.link("connected@luma.example"))
    expect(end_user.get_by_role("heading", name="Magento is connected")).to_be_visible()
    connect(end_user, portal, portal.link("stuck@luma.example"), token="wrong")
    expect(end_user.get_by_text("did not accept").first).to_be_visible()
    portal.link("ends-soon@luma.example", "--expires", "1h")
    asked = json.loads(portal.link("asks@luma.example", "--json"))
    portal.flask("link", "revoke", asked["linkId"])
    end_user.goto(asked["url"])
    end_user.get_by_role("button", name="Ask for a new link").click()
    moment = datetime.now(UTC) - timedelta(hours=2)
    with database(portal) as connection:
        connection.execute(
            "UPDATE links SET opened_at = ? WHERE opened_at IS NOT NULL AND finished_at IS NULL",
            (f"{moment:%Y-%m-%d %H:%M:%S.%f}",),
        )
        installed = connection.execute("SELECT id FROM installations ORDER BY installed_at LIMIT 1").fetchone()
        connection.execute(
            "UPDATE installations SET installed_at = ? WHERE id = ?",
            (f"{moment - timedelta(days=9):%Y-%m-%d %H:%M:%S.%f}", *installed),
        )
    page = sign_in()
    for said in ("Somebody asks for a new link", "Somebody is stuck", "Links that end soon, unopened"):
        expect(page.get_by_role("heading", name=said)).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Bars"))).to_be_visible()
    page.get_by_text("The numbers").click()
    picture(page, "overview", "Overview")


def test_words_in_tables_stay_whole_and_long_names_break(sign_in, portal):
    portal.link(f"{'long' * 60}@luma.example")
    portal.flask("api-key", "create", "billing")
    page = sign_in()
    for path in ("users", "links", "audit", "events", "settings", "endpoints", "sessions", "api-keys"):
        page.goto(f"{portal.base}/dashboard/{path}")
        for width in (1280, 1024, 760, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), (path, width)
            broken = page.evaluate(BROKEN) if width > 900 else []
            assert broken == [], (path, width)


# The short words of table cells that stand on more than one line.
BROKEN = r"""() => {
  const broken = [];
  for (const cell of document.querySelectorAll("td, th")) {
    const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (walk.nextNode())
      for (const word of walk.currentNode.data.matchAll(/(?<!\S)[A-Za-z.]{2,20}(?!\S)/g)) {
        const range = document.createRange();
        range.setStart(walk.currentNode, word.index);
        range.setEnd(walk.currentNode, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) broken.push(word[0]);
      }
  }
  return broken;
}"""
