"""Single sign-on in a real Chromium, with a provider on another origin: signing in, and proving it again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa
from playwright.sync_api import expect

from tests.oidc_provider import CLIENT, SECRET, OpenIdProvider
from tests.running import HERE
from tests.stage import free_port, wait_until


@pytest.fixture(scope="module")
def idp():
    """The provider."""
    server = OpenIdProvider()
    yield server
    server.close()


@pytest.fixture(scope="module")
def joined(idp, tmp_path_factory):
    """A portal whose operators come by the provider: its address and its data folder."""
    folder = tmp_path_factory.mktemp("joined")
    port = free_port()
    base = f"http://localhost:{port}"
    env = {
        **os.environ,
        "PORT": str(port),
        "PORTAL_DEMO": "1",
        "PORTAL_INSTANCE": str(folder),
        "PORTAL_BASE_URL": base,
        "PORTAL_OIDC_ISSUER": idp.url,
        "PORTAL_OIDC_CLIENT_ID": CLIENT,
        "PORTAL_OIDC_CLIENT_SECRET": SECRET,
        "PORTAL_OIDC_NAME": "Acme ID",
        "PORTAL_OIDC_DOMAINS": "vendor.example",
        "PORTAL_OIDC_ROLE": "admin",
    }
    log = folder / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "portal.server"]
        child = subprocess.Popen(command, cwd=HERE, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until(lambda: "Dashboard: " in log.read_text() or child.poll() is not None, seconds=60)
        assert child.poll() is None, log.read_text()
        wait_until(lambda: _answers(base), seconds=60)
        yield base, folder
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(10)


def _answers(base):
    import requests

    try:
        return requests.get(f"{base}/healthz", timeout=1).ok
    except requests.RequestException:
        return False


def hour_ago(folder):
    """Let every sign-in be an hour old."""
    engine = sa.create_engine(f"sqlite:///{folder / 'portal.sqlite3'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE operator_sessions SET proved_at = datetime('now', '-1 hour') || '.000000'"))
    engine.dispose()


@pytest.mark.parametrize("has_script", [True, False])
def test_an_operator_signs_in_by_the_provider_and_proves_it_again_there(chromium, joined, has_script):
    base, folder = joined
    context = chromium.new_context(java_script_enabled=has_script)
    page = context.new_page()
    page.goto(f"{base}/dashboard")
    page.get_by_role("link", name="Sign in with Acme ID").click()
    expect(page.get_by_role("heading", name="The provider")).to_be_visible()
    page.get_by_role("button", name="Continue as ada@vendor.example").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    assert page.url == f"{base}/dashboard"

    page.goto(f"{base}/dashboard/api-keys")
    hour_ago(folder)
    page.get_by_label("Name", exact=True).fill("billing server")
    page.get_by_role("button", name="Make key").click()
    expect(page.get_by_role("heading", name="Please prove first that it is you")).to_be_visible()
    page.get_by_role("link", name="Prove it with Acme ID").click()
    page.get_by_role("button", name="Continue as ada@vendor.example").click()
    expect(page.get_by_role("heading", name="API keys", level=1)).to_be_visible()
    page.get_by_label("Name", exact=True).fill("billing server")
    page.get_by_role("button", name="Make key").click()
    expect(page.get_by_label("API key")).to_have_value(re.compile("portal_live_"))
    context.close()


def test_a_script_that_needs_a_proof_leads_to_it_and_back(chromium, joined):
    base, folder = joined
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{base}/dashboard/sign-in")
    page.get_by_role("link", name="Sign in with Acme ID").click()
    page.get_by_role("button", name="Continue as").click()
    page.goto(f"{base}/dashboard/sessions")
    hour_ago(folder)
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("link", name="Prove it with Acme ID").click()
    page.get_by_role("button", name="Continue as").click()
    expect(page.get_by_role("heading", name="Where you are signed in")).to_be_visible()
    context.close()
