"""The published clients, unmodified, against the real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from tests.chromium import find_chromium
from tests.clients.tls import HOSTS, TlsFront
from tests.running import Running

HERE = Path(__file__).parent
NODE = shutil.which("node")
MODULES = HERE / "node_modules"
PYTHON = HERE / ".venv" / "bin" / "python"
REASON = "the published clients are not installed: `make test` does it where Node and npm are"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs clients that could not be installed."""
    for item in items:
        needs_python = "test_python_clients" in item.nodeid
        if HERE in item.path.parents and not (PYTHON.exists() if needs_python else NODE and MODULES.is_dir()):
            item.add_marker(pytest.mark.skip(reason=REASON))


@dataclass
class Vendor:
    """The vendor's side: a key, and calls beside the clients'."""

    portal: Running
    key: str

    def call(self, method: str, path: str, **more: Any) -> Any:
        answer = requests.request(
            method, self.portal.base + path, headers={"Authorization": f"Bearer {self.key}"}, timeout=20, **more
        )
        assert answer.ok, answer.text
        return answer.json()

    @property
    def integration(self) -> dict[str, Any]:
        """The demo's integration."""
        return dict(self.call("GET", "/integrations")["data"][0])

    def user(self, username: str) -> str:
        """A new user; its id."""
        return str(self.call("POST", "/users", json={"username": username})["userId"])

    def token(self, user: str) -> str:
        """A user token."""
        return str(self.call("GET", f"/users/{user}/token")["token"])

    def connect(self, user: str) -> str:
        """Give the user a credential for the sandbox shop; its id."""
        data = {"store_url": self.portal.shop, "access_token": self.portal.token}
        body = {"userId": user, "credential": {"type": "magento", "data": data}}
        return str(self.call("POST", "/headless/credentials", json=body)["credentialId"])

    def install(self, user: str) -> None:
        """Install the demo's integration for the user."""
        self.connect(user)
        body = {"userId": user, "integrationId": self.integration["integrationId"]}
        started = self.call("POST", "/headless/startInstallation", json=body)
        self.call("POST", "/headless/completeInstallation", json={"installationId": started["installationId"]})


@pytest.fixture(scope="session")
def vendor(portal: Running) -> Vendor:
    """The vendor with a key of the production environment."""
    return Vendor(portal, portal.flask("api-key", "create", "client tests", "--environment", "production"))


AlloyNode = Callable[..., list[Any]]


@pytest.fixture
def alloy_node(vendor: Vendor) -> AlloyNode:
    """Run calls of alloy-node, one after the other; what each gave, or `Thrown`."""

    def run(*calls: Any) -> list[Any]:
        env = {**os.environ, "ALLOY_KEY": vendor.key, "https_proxy": vendor.portal.base, "NODE_PATH": str(MODULES)}
        for name in ("no_proxy", "NO_PROXY"):
            env.pop(name, None)
        command = [str(NODE), str(HERE / "node.js")]
        wanted = [call if isinstance(call, list | tuple) else [call] for call in calls]
        done = subprocess.run(
            command, input=json.dumps(wanted), env=env, capture_output=True, text=True, timeout=60, check=True
        )
        return [result.get("gave", Thrown(result.get("thrown"))) for result in json.loads(done.stdout)]

    return run


@dataclass(frozen=True)
class Thrown:
    """What a client threw."""

    message: Any


@pytest.fixture(scope="session")
def front(portal: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsFront]:
    """TLS before the portal."""
    made = TlsFront(tmp_path_factory.mktemp("tls"), urlsplit(portal.base).port or 0)
    yield made
    made.close()


@pytest.fixture(scope="session")
def outside(front: TlsFront, driver: Playwright) -> Iterator[Browser]:
    """A Chromium for which the clients' hosts are the portal."""
    rules = ",".join(f"MAP {host} 127.0.0.1:{front.port}" for host in HOSTS)
    # The vendor's page is made up, so Chromium takes this machine for a private network behind the internet.
    lets_us = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
    # With a process of its own, the frame that a key closes may be gone before it has answered for the key: the press
    # would then wait for ever.
    together = "--disable-site-isolation-trials"
    flags = ["--no-sandbox", f"--host-resolver-rules={rules}", "--ignore-certificate-errors", lets_us, together]
    browser = driver.chromium.launch(executable_path=find_chromium(), args=flags)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """alloy-frontend for the browser, as `window.Alloy`."""
    folder = tmp_path_factory.mktemp("bundle")
    entry = folder / "entry.js"
    entry.write_text('window.Alloy = require("alloy-frontend");')
    subprocess.run(
        [
            str(MODULES / ".bin" / "esbuild"),
            str(entry),
            "--bundle",
            f"--outfile={folder / 'out.js'}",
            "--log-level=error",
        ],
        env={**os.environ, "NODE_PATH": str(MODULES)},
        check=True,
        timeout=60,
    )
    return (folder / "out.js").read_text()


@dataclass
class VendorPage:
    """A page of the vendor's own, on another origin, that uses alloy-frontend."""

    page: Page
    vendor: Vendor

    def run(self, user: str, expression: str) -> Any:
        """Evaluate an expression over `alloy`, with the user's token set; `note` is its callback."""
        token = self.vendor.token(user)
        script = f"(token) => {{ window.alloy = Alloy(); alloy.setToken(token); return ({expression}); }}"
        return self.page.evaluate(script, token)

    @property
    def noted(self) -> list[Any]:
        """What the callback was called with."""
        return list(self.page.evaluate("() => window.noted"))

    @property
    def frame(self) -> Any:
        """The modal."""
        return self.page.frame_locator("iframe")

    def connect(self) -> VendorPage:
        """Type the sandbox shop's address and token into the modal."""
        self.frame.get_by_label("Store URL").fill(self.vendor.portal.shop)
        self.frame.get_by_label("Access token").fill(self.vendor.portal.token)
        return self


@pytest.fixture
def vendor_page(outside: Browser, vendor: Vendor, bundle: str) -> Iterator[VendorPage]:
    """Open the vendor's page in a window of its own."""
    context: BrowserContext = outside.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    notes = "<script>window.noted = []; window.note = (told) => noted.push(told)</script>"
    html = f"<!doctype html><title>Vendor</title><h1>Vendor</h1>{notes}<script>{bundle}</script>"
    page.route("https://vendor.example/", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("https://vendor.example/")
    yield VendorPage(page, vendor)
    assert context.cookies() == []
    context.close()
    assert complaints == []


@pytest.fixture
def python_client(vendor: Vendor, front: TlsFront, tmp_path: Path) -> Callable[[str], Any]:
    """Run lines of Python with the published Python clients; gives what they bound to `result`."""

    def run(lines: str) -> Any:
        body = "\n".join(
            [
                "import json, os, socket",
                "import requests, urllib3",
                "urllib3.disable_warnings()",
                "real = socket.getaddrinfo",
                f"front = ('127.0.0.1', {front.port})",
                "socket.getaddrinfo = lambda host, port, *a, **k: real(*front, *a, **k)",
                "send = requests.Session.send",
                "requests.Session.send = lambda self, *a, **k: send(self, *a, **{**k, 'verify': False})",
                f"key = {vendor.key!r}",
                lines,
                "print(json.dumps(result, default=str))",
            ]
        )
        env = {name: value for name, value in os.environ.items() if not re.search("proxy", name, re.I)}
        done = subprocess.run([str(PYTHON), "-c", body], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
