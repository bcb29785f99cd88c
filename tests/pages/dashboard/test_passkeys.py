"""Passkeys; the browser's part is acted out in tests/browser."""

from __future__ import annotations

import pytest

from tests.install_page import View


@pytest.mark.parametrize("sent", ["", "{", "[]", '{"response": {"clientDataJSON": "e30"}}', "null"])
def test_an_answer_to_no_challenge_signs_nobody_in(app, sent):
    view = View(app.test_client().post("/dashboard/sign-in/passkey", data={"credential": sent}))
    assert view.status == 400
    assert "Try once more, or sign in with a link." in view.text
    assert "Set-Cookie" not in view.response.headers


def test_a_portal_without_a_host_name_says_what_passkeys_need(desk, app, monkeypatch):
    settings = app.config["PORTAL_SETTINGS"].model_copy(update={"base_url": "http://127.0.0.1:8000"})
    monkeypatch.setitem(app.config, "PORTAL_SETTINGS", settings)
    view = desk.post("/dashboard/passkeys/options")
    assert view.status == 409
    assert "Passkeys need a host name" in view.text
