"""Passkeys; the browser's part is acted out in tests/browser."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal.db import transaction
from portal.operators.models import PasskeyChallenge
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


def ask(app, address):
    return app.test_client().post("/dashboard/sign-in/options", environ_base={"REMOTE_ADDR": address})


def challenges(app):
    with app.app_context(), transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(PasskeyChallenge))


def test_who_is_not_signed_in_can_ask_for_so_many_challenges_and_no_more(app):
    answers = [ask(app, "192.0.2.1") for _ in range(35)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429] * 5
    assert int(answers[-1].headers["Retry-After"]) <= 60
    assert "Wait" in View(answers[-1]).text
    assert challenges(app) == 30
    assert ask(app, "192.0.2.2").status_code == 200


def test_many_addresses_together_are_bounded_too(app):
    answers = [ask(app, f"2001:db8::{number:x}").status_code for number in range(310)]
    assert answers == [200] * 300 + [429] * 10
    assert challenges(app) == 300
