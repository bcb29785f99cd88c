"""Passkeys; the browser's part is acted out in tests/browser."""

from __future__ import annotations

import hashlib
import json

import cbor2
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url

from portal.clock import now
from portal.db import transaction
from portal.operators.models import Passkey, PasskeyChallenge, Role
from portal.operators.rules import invite
from tests.backend import change
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


@pytest.fixture
def device(app):
    """A device that has made a passkey for Ada; gives what its browser sends for a challenge."""
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_numbers()
    cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
    with app.app_context(), transaction() as session:
        operator, _ = invite(session, "ada@vendor.example", Role.viewer, now())
        session.add(
            Passkey(operator_id=operator.id, credential_id=b"key", public_key=cose, sign_count=0, name="Device")
        )

    def answer(challenge, origin="http://portal.example", kind="webauthn.get", flags=5):
        client = json.dumps({"type": kind, "challenge": challenge, "origin": origin}).encode()
        facts = hashlib.sha256(b"portal.example").digest() + bytes([flags]) + bytes(4)
        signature = key.sign(facts + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        told = {"clientDataJSON": client, "authenticatorData": facts, "signature": signature}
        response = {name: bytes_to_base64url(value) for name, value in told.items()}
        name = bytes_to_base64url(b"key")
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})

    return answer


def sign_in_with(app, sent):
    return app.test_client().post("/dashboard/sign-in/passkey", data={"credential": sent}).status_code


def test_an_answer_signs_in_once_whoever_sends_it_again(app, device):
    sent = device(ask(app, "192.0.2.1").json["challenge"])
    assert [sign_in_with(app, sent) for _ in range(3)] == [303, 400, 400]


@pytest.mark.parametrize(
    ("back", "page"), [("/dashboard/users?user=ada", "/dashboard/users?user=ada"), ("//evil.example", "/dashboard")]
)
def test_a_passkey_leads_back_to_the_page_that_was_asked_for(app, device, back, page):
    sent = device(ask(app, "192.0.2.1").json["challenge"])
    answer = app.test_client().post("/dashboard/sign-in/passkey", data={"credential": sent, "back": back})
    assert (answer.status_code, answer.location) == (303, page)


@pytest.mark.parametrize(
    "facts",
    [
        {"origin": "http://portal.example.evil.example"},
        {"origin": "https://portal.example"},
        {"kind": "webauthn.create"},
        {"flags": 1},  # somebody touched the device, and wasn't asked who they are
    ],
)
def test_an_answer_that_was_given_elsewhere_or_for_something_else_signs_nobody_in(app, device, facts):
    assert sign_in_with(app, device(ask(app, "192.0.2.1").json["challenge"], **facts)) == 400


def test_a_challenge_is_over_after_five_minutes(app, device):
    challenge = ask(app, "192.0.2.1").json["challenge"]
    change(app, sa.update(PasskeyChallenge).values(expires_at=now()))
    assert sign_in_with(app, device(challenge)) == 400


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
