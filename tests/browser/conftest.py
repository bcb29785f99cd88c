"""A real Chromium against the real server in processes of its own, and a picture of each state."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.chromium import find_chromium
from tests.stage import free_port, wait_until

HERE = Path(__file__).parent.parent.parent
SCREENS = HERE / "build" / "screens"


@dataclass
class Running:
    """`make run` as it stands: its addresses, its output, its data folder."""

    base: str
    shop: str
    token: str
    first_link: str
    log: Path
    env: dict[str, str]

    def flask(self, *arguments: str) -> str:
        """Run a command of the portal's; its output."""
        command = [str(Path(sys.executable).with_name("flask")), *arguments]
        return subprocess.run(
            command, cwd=HERE, env=self.env, capture_output=True, text=True, check=True
        ).stdout.strip()

    def link(self, username: str, *options: str) -> str:
        """A new link for a user of that name."""
        integration = "Magento: stream new orders"
        return self.flask("link", "create", "--integration", integration, "--user", username, "--create-user", *options)


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything that `make run` starts, in a data folder of its own."""
    folder = tmp_path_factory.mktemp("run")
    port = free_port()
    env = {
        **os.environ,
        "PORT": str(port),
        "PORTAL_INSTANCE": str(folder / "instance"),
        "PORTAL_BASE_URL": f"http://127.0.0.1:{port}",
        "PORTAL_VENDOR_NAME": "Acme Analytics",
        "PORTAL_SUPPORT_URL": "https://help.example/",
    }
    log = folder / "log"
    with log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "portal.demo"],
            cwd=HERE,
            env=env,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(lambda: "Install link: " in log.read_text() or child.poll() is not None, seconds=60)
        text = log.read_text()
        assert child.poll() is None, text

        def said(name: str) -> str:
            found = re.search(rf"^{name}: (\S+)$", text, re.M)
            assert found, text
            return found[1]

        yield Running(
            f"http://127.0.0.1:{port}",
            said("Sandbox shop"),
            said("Sandbox access token"),
            said("Install link"),
            log,
            env,
        )
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(10)


@pytest.fixture(scope="session")
def driver() -> Iterator[Playwright]:
    """Playwright itself; a process can have it once."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(driver: Playwright) -> Iterator[Browser]:
    """One Chromium for all stories; each gets a private window of its own."""
    path = find_chromium()
    assert path, "no Chromium: `make test` installs one"
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
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

    def error_at(self, label: str) -> str:
        control = self.page.get_by_label(label)
        described = (control.get_attribute("aria-describedby") or "").split()
        errors = [name for name in described if name.endswith("-error")]
        return self.page.locator(f"#{errors[0]}").inner_text().removeprefix("Error:").strip() if errors else ""

    def picture(self, state: str) -> InstallPage:
        """Save a picture, and hold this state to accessibility and width."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENS / f"{self.name}-{state}.png", full_page=True)
        self.hold()
        return self

    def hold(self) -> None:
        """axe finds nothing, and nothing is wider than the window."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()
        assert self.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


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
