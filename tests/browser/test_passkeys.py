"""Coming back with a passkey, with Chromium's virtual authenticator."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.running import HERE
from tests.stage import free_port, wait_until


@pytest.fixture(scope="module")
def named_portal(tmp_path_factory):
    """A portal that is reached by a host name: browsers bind passkeys to one. Its address, and how to run `flask`."""
    folder = tmp_path_factory.mktemp("named")
    port = free_port()
    env = {
        **os.environ,
        "PORT": str(port),
        "PORTAL_DEMO": "1",
        "PORTAL_INSTANCE": str(folder),
        "PORTAL_BASE_URL": f"http://localhost:{port}",
    }
    log = folder / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "portal.server"]
        child = subprocess.Popen(command, cwd=HERE, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until(lambda: "Dashboard: " in log.read_text() or child.poll() is not None, seconds=60)
        yield re.search(r"^Dashboard: (\S+)$", log.read_text(), re.M)[1]
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(10)


@pytest.fixture
def page(chromium):
    """A window whose device has a fingerprint reader."""
    context = chromium.new_context()
    window = context.new_page()
    session = context.new_cdp_session(window)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
    }
    window.authenticator = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
    window.cdp = session
    yield window
    context.close()


def test_a_passkey_is_made_signs_in_and_is_removed(named_portal, page):
    page.goto(named_portal)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("link", name="operator@demo.example").click()
    page.get_by_label("Name of this device").fill("laptop")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_text("laptop, made")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()

    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("cell", name="passkey.create")).to_be_visible()

    page.get_by_role("link", name="operator@demo.example").click()
    page.get_by_role("button", name="Remove laptop").click()
    expect(page.get_by_text("None yet. With one you sign in")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="This passkey can’t be used")).to_be_visible()


def test_who_does_not_confirm_is_told_and_can_try_again(named_portal, page):
    page.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": page.authenticator, "isUserVerified": False})
    page.goto(named_portal.split("?")[0])
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("It was cancelled, or took too long. Try again.")).to_be_visible()
