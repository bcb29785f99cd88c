"""The dashboard by the keyboard alone, and under its own policy: what a browser complains about fails the test."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from portal.demo.seed import INTEGRATION, OPERATOR
from tests.browser.desk import PAGES, goto
from tests.browser.looking import hold

NAME = """() => {
  const e = document.activeElement;
  return e.labels?.[0]?.innerText ?? e.getAttribute("aria-label") ?? (e.innerText || e.value || "");
}"""
IS_SHOWN = """() => {
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
  return e === document.body || (style.outlineStyle !== "none" && box.width > 1 && box.height > 1
    && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth);
}"""


@pytest.fixture
def window(chromium):
    """A private window under the real policy; what its console complains about fails the test."""
    contexts, complaints = [], []

    def note(text):
        if "status of 422" not in text:  # Chromium tells of every answer that a form was filled in wrong
            complaints.append(text)

    def open_window(**options):
        context = chromium.new_context(**options)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: note(said.text) if said.type in ("error", "warning") else None)
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert complaints == []


class Keys:
    """Somebody without a mouse."""

    def __init__(self, page):
        self.page = page

    @property
    def focused(self) -> str:
        return " ".join(self.page.evaluate(NAME).split())

    def to(self, name: str, key: str = "Tab") -> Keys:
        """Go on with the key until the focus is on what is called so; it is seen all the way."""
        for _ in range(80):
            self.page.keyboard.press(key)
            assert self.page.evaluate(IS_SHOWN), f"the focus can’t be seen on “{self.focused}”"
            if re.fullmatch(name, self.focused):
                return self
        raise AssertionError(f"no way to “{name}”, the last was “{self.focused}”")

    def press(self, key: str = "Enter") -> Keys:
        self.page.keyboard.press(key)
        return self

    def type(self, text: str) -> Keys:
        self.page.keyboard.type(text)
        return self

    def on(self, heading: str) -> Keys:
        expect(self.page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        return self


def sign_in(page, portal) -> Keys:
    page.goto(portal.flask("operator", "invite", OPERATOR, "--role", "admin"))
    keys = Keys(page)
    keys.to("Continue").press().on("Overview")
    return keys


def test_an_integration_is_shared_with_a_new_user_by_keys_alone(window, portal):
    page = window()
    keys = sign_in(page, portal)
    keys.to("Skip to the content").press()
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Shift+Tab")
    keys.to("Integrations").press().on("Integrations")
    keys.to("Share Magento: stream new orders").press().on("Share Magento: stream new orders")
    keys.to("Share with an existing user").press("ArrowDown")
    assert keys.focused == "Share with a new user"
    keys.to("E-mail address").type("keys@luma.example")
    keys.to("Expiration Time").press("ArrowDown")
    keys.to("Generate Link").press(" ").on("The link is ready")
    assert keys.focused == "Install link"
    keys.to("Copy Link").press()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("() => navigator.clipboard.readText()")
    assert link.startswith(f"{portal.base}/embedded-install?integrationId=")
    keys.to("Follow what becomes of it").press().on("Link for keys@luma.example")


def test_a_user_that_is_found_is_taken_by_arrows_and_enter(window, portal):
    for name in ("walked-a@luma.example", "walked-b@luma.example"):
        portal.link(name)
    page = window()
    keys = sign_in(page, portal)
    page.goto(f"{portal.base}/dashboard/integrations")
    keys.to("Share Magento: stream new orders").press().on("Share Magento: stream new orders")
    keys.to("Username").type("walked")
    box = page.get_by_role("combobox", name="Username")
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("status")).to_have_text("2 users found.")
    keys.press("ArrowDown").press("ArrowDown")
    chosen = page.get_by_role("listbox", name="Users found").get_by_role("option", selected=True)
    expect(chosen).to_have_text("walked-b@luma.example")
    expect(box).to_have_attribute("aria-activedescendant", chosen.get_attribute("id"))
    keys.press()
    expect(box).to_have_value("walked-b@luma.example")
    expect(box).to_have_attribute("aria-expanded", "false")
    assert keys.focused == "Username"
    page.keyboard.press("Control+A")
    keys.type("walked")
    expect(box).to_have_attribute("aria-expanded", "true")
    keys.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Control+A")
    keys.type("nobody at all")
    expect(page.get_by_role("status")).to_have_text("Nobody’s name begins with “nobody at all”.")
    keys.to("Generate Link").press()
    expect(page.get_by_role("alert")).to_contain_text("nobody at all")
    expect(box).to_be_focused()


def test_a_list_is_sorted_and_walked_by_keys(window, portal):
    portal.link("sorted@luma.example")
    for width in (1280, 320):
        page = window(viewport={"width": width, "height": 900})
        keys = sign_in(page, portal)
        page.goto(f"{portal.base}/dashboard/users")
        keys.to("Username↕").press()
        expect(page.get_by_role("columnheader", name="Username")).to_have_attribute("aria-sort", "ascending")
        assert page.url.endswith("?order=a-z")


def test_no_page_breaks_its_own_policy(window, portal):
    portal.link("policy@luma.example")
    page = window()
    sign_in(page, portal)
    page.goto(f"{portal.base}/dashboard/integrations")
    one = page.locator(".cards h2 a").first.get_attribute("href")
    addresses = [f"/dashboard/{name}" for name in PAGES]
    addresses += [one, f"{one}/share", f"{one}/preview", "/dashboard/integrations/apply"]
    for kind in ("links", "users", "installations", "events"):
        page.goto(f"{portal.base}/dashboard/{kind}")
        if page.locator("tbody a").count():
            addresses.append(page.locator("tbody a").first.get_attribute("href"))
    for address in addresses:
        page.goto(portal.base + address)
        page.wait_for_load_state("networkidle")
    page.goto(f"{portal.base}{one}/share")
    page.get_by_label("Username").press_sequentially("pol")
    expect(page.get_by_role("option", name="policy@luma.example")).to_be_visible()


def test_the_install_page_breaks_no_policy_while_it_is_used(window, portal):
    page = window()
    page.goto(portal.link("policy-install@luma.example"))
    page.get_by_label("Store URL").fill(portal.shop)
    page.get_by_label("Access token").fill("not-the-token")
    for button in ("Check connection", "Finish Installation"):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_label("Access token")).to_be_focused()
        expect(page.locator(".htmx-request")).to_have_count(0)
    page.get_by_role("button", name="Hand this page on").click()
    expect(page.get_by_role("heading", name="Hand this page on")).to_be_focused()
    page.get_by_label("Access token").fill(portal.token)
    page.get_by_role("button", name="Finish Installation").click()
    expect(page.get_by_role("heading", name="Magento is connected")).to_be_visible()


@pytest.mark.parametrize("look", [{"viewport": {"width": 320, "height": 700}}, {"color_scheme": "dark"}])
def test_an_integration_is_changed_after_a_look_at_the_difference_and_the_page(chromium, portal, look):
    context = chromium.new_context(bypass_csp=True, **look)  # axe brings scripts of its own
    page = context.new_page()
    sign_in(page, portal)
    goto(page, "Integrations")
    page.get_by_role("link", name="Add or change an integration").click()
    changed = INTEGRATION.read_text().replace("Magento: stream new orders", f"Changed {len(look)}{next(iter(look))}")
    page.get_by_label("Text of the file").fill(changed.replace("apps: [magento]", "apps: [nothing]"))
    page.get_by_role("button", name="Show the difference").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 2: there is no app “nothing”")
    hold(page)
    page.get_by_label("Text of the file").fill(changed)
    page.get_by_role("button", name="Show the difference").click()
    for width in ("phone", "desk"):
        shown = page.frame_locator(f"iframe.{width}")
        expect(shown.get_by_role("heading", name="Connect Magento")).to_be_visible()
        colour = "e => getComputedStyle(e).backgroundColor"
        button = shown.get_by_role("button", name="Finish Installation")
        assert button.evaluate(colour) not in ("rgba(0, 0, 0, 0)", "rgb(239, 239, 239)"), "it has its style"
        before = page.url
        button.click()
        assert page.url == before
    hold(page)
    page.get_by_role("button", name="Add Changed").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Changed")
    hold(page)
    context.close()
