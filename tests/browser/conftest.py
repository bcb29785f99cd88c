"""A real Chromium against the real server in processes of its own, and a picture of each state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright

from tests.browser.desk import desk  # noqa: F401 - a fixture
from tests.browser.looking import hold
from tests.chromium import find_chromium
from tests.running import HERE, Running

SCREENS = HERE / "build" / "screens"


@pytest.fixture(scope="session")
def chromium(driver: Playwright) -> Iterator[Browser]:
    """One Chromium for all stories; each gets a private window of its own."""
    path = find_chromium()
    assert path, "no Chromium: `make test` installs one"
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    browser = driver.chromium.launch(executable_path=path, args=flags)
    yield browser
    browser.close()


@dataclass
class InstallPage:
    """The install page as a person sees it."""

    page: Page
    portal: Running
    name: str

    def open(self, link: str) -> InstallPage:
        self.page.goto(link)
        return self

    def fill(self, label: str, value: str, app: str = "magento") -> InstallPage:
        self.page.locator(f"#app-{app}").get_by_label(label).fill(value)
        return self

    def press(self, name: str) -> InstallPage:
        """Press a button and wait until the answer is in its place."""
        with self.page.expect_response(lambda response: response.request.method == "POST"):
            self.page.get_by_role("button", name=name).first.click()
        self.page.wait_for_function("() => !document.querySelector('.htmx-request')")
        return self

    def connect(self) -> InstallPage:
        """Type the sandbox shop's address and token."""
        return self.fill("Store URL", self.portal.shop).fill("Access token", self.portal.token)

    @property
    def heading(self) -> str:
        return self.page.get_by_role("heading", level=1).inner_text()

    @property
    def focused(self) -> str:
        return self.page.evaluate(
            "() => document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText"
        )

    @property
    def error_text(self) -> str:
        """Every error that stands at a field."""
        return " ".join(self.page.locator(".error").all_inner_texts())

    def error_at(self, label: str) -> str:
        control = self.page.get_by_label(label)
        described = (control.get_attribute("aria-describedby") or "").split()
        errors = [name for name in described if name.endswith("-error")]
        return self.page.locator(f"#{errors[0]}").inner_text().removeprefix("Error:").strip() if errors else ""

    def picture(self, state: str) -> InstallPage:
        """Save a picture, and hold this state to accessibility and width."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENS / f"{self.name}-{state}.png", full_page=True)
        hold(self.page)
        return self


Visit = Callable[..., InstallPage]


@pytest.fixture
def visit(chromium: Browser, portal: Running, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open private windows; what their consoles complain about fails the test."""
    contexts = []
    complaints: list[str] = []

    def open_window(name: str, **options: Any) -> InstallPage:
        context = chromium.new_context(bypass_csp=True, **options)  # axe and pictures bring scripts and styles
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return InstallPage(page, portal, name)

    yield open_window
    for context in contexts:
        assert context.cookies() == [], "the install page sets no cookie"
        context.close()
    assert complaints == []
