"""Everything that `make run` starts, in processes of its own, and Playwright: what stories in a browser stand on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import pytest
from flask import Flask
from playwright.sync_api import Playwright, sync_playwright

from portal import create_app
from tests.stage import close, free_port, wait_until

HERE = Path(__file__).parent.parent
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

    @cached_property
    def app(self) -> Flask:
        """The application beside the running one, with its settings and its data."""
        with patch.dict(os.environ, self.env):
            return create_app()

    def flask(self, *arguments: str) -> str:
        """Run a command of the portal's here, because a process takes seconds to begin; its output."""
        done = self.app.test_cli_runner().invoke(args=arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    def link(self, username: str, *options: str) -> str:
        """A new link for a user of that name."""
        integration = "Magento: stream new orders"
        return self.flask("link", "create", "--integration", integration, "--user", username, "--create-user", *options)


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything that `make run` starts, in a data folder of its own."""
    yield from run_everything(tmp_path_factory.mktemp("run"))


def run_everything(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start it in this folder, with `more` settings; end it afterwards."""
    port = free_port()
    env = {
        **os.environ,
        "PORT": str(port),
        "PORTAL_INSTANCE": str(folder / "instance"),
        "PORTAL_BASE_URL": f"http://127.0.0.1:{port}",
        "PORTAL_VENDOR_NAME": "Acme Analytics",
        "PORTAL_SUPPORT_URL": "https://help.example/",
        **(more or {}),
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

        running = Running(
            f"http://127.0.0.1:{port}",
            said("Sandbox shop"),
            said("Sandbox access token"),
            said("Install link"),
            log,
            env,
        )
        yield running
        close(running.app)
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(10)


@pytest.fixture(scope="session")
def driver() -> Iterator[Playwright]:
    """Playwright itself; a process can have it once."""
    with sync_playwright() as playwright:
        yield playwright
