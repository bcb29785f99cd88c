"""What can't be taken back asks who one is, offers the ways to prove it right there, and leads back."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.operators.models import Invitation, OperatorSession, Passkey, Role
from portal.operators.rules import invite
from tests.backend import change
from tests.install_page import View


@pytest.fixture
def stale(desk, app):
    """An administrator who signed in an hour ago."""
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(hours=1)))
    return desk


def make_key(desk, came_from="http://localhost/dashboard/api-keys"):
    facts = {"csrf": desk.csrf, "name": "x"}
    return View(desk.client.post("/dashboard/api-keys", data=facts, headers={"Referer": came_from}))


def link_for(app, email, role=Role.admin):
    with app.app_context(), transaction() as session:
        _, token = invite(session, email, role, now())
    return f"http://portal.example/dashboard/sign-in?token={token}"


def test_the_refusal_offers_a_link_and_after_it_one_is_back_and_may(stale, app):
    refused = make_key(stale)
    assert refused.status == 403
    assert refused.heading == "Please prove first that it is you"
    assert "flask operator invite admin@vendor.example" in refused.text
    assert refused.inputs["back"]["value"] == "/dashboard/api-keys"
    link = f"  {link_for(app, stale.email)} "
    answer = stale.post("/dashboard/proof/link", follow=False, back="/dashboard/api-keys", link=link)
    assert (answer.status, answer.response.headers["Location"]) == (303, "/dashboard/api-keys")
    assert make_key(stale).status == 200
    assert "way: link" in stale.get("/dashboard/audit").text


def test_the_token_alone_will_do_and_works_once(stale, app):
    token = link_for(app, stale.email).partition("token=")[2]
    assert stale.post("/dashboard/proof/link", follow=False, link=token).status == 303
    again = stale.post("/dashboard/proof/link", link=token, back="/dashboard/users")
    assert again.status == 410
    assert "A sign-in link works once" in again.text
    assert again.inputs["back"]["value"] == "/dashboard/users"


def test_the_link_of_somebody_else_proves_nothing_and_is_not_used_up(stale, app):
    link = link_for(app, "eve@vendor.example")
    refused = stale.post("/dashboard/proof/link", link=link)
    assert refused.status == 403
    assert "That is somebody else" in refused.text
    assert make_key(stale).status == 403
    with app.app_context(), transaction() as session:
        invitation = session.scalars(sa.select(Invitation).order_by(Invitation.created_at.desc())).first()
        assert invitation.used_at is None


@pytest.mark.parametrize("link", ["", "x", "http://[", "http://portal.example/dashboard/sign-in?token=" + "a" * 43])
def test_what_is_no_link_is_explained_at_the_same_place(stale, link):
    view = stale.post("/dashboard/proof/link", link=link)
    assert view.status == 410
    assert "A sign-in link works once, within an hour" in view.text
    assert "Prove it with this link" in view.text


def test_passkeys_are_offered_to_who_has_one(stale, app):
    assert "Prove it with a passkey" not in make_key(stale).text
    with app.app_context(), transaction() as session:
        operator = session.scalar(sa.select(OperatorSession.operator_id))
        session.add(Passkey(operator_id=operator, credential_id=b"c", public_key=b"k", sign_count=0, name="laptop"))
    assert "Prove it with a passkey" in make_key(stale).text
    refused = stale.post("/dashboard/proof/passkey", credential="{}", back="/dashboard/users")
    assert refused.status == 400
    assert "Try once more" in refused.text


def test_a_script_and_htmx_are_told_where_to_prove_it(stale):
    came_from = {"Referer": "http://localhost/dashboard/sessions"}
    answer = stale.client.post("/dashboard/passkeys/options", data={"csrf": stale.csrf}, headers=came_from)
    assert answer.status_code == 403
    assert answer.headers["X-Prove-At"] == "/dashboard/proof?back=/dashboard/sessions"
    partly = stale.client.post("/dashboard/api-keys", data={"csrf": stale.csrf}, headers={"HX-Request": "true"})
    assert (partly.status_code, partly.headers["HX-Redirect"]) == (204, "/dashboard/proof?back=/dashboard")
    assert stale.get("/dashboard/proof?back=/dashboard/sessions").inputs["back"]["value"] == "/dashboard/sessions"


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example", "/dashboard//evil.example", "/dashboard/sign-out", "javascript:1", ""],
)
def test_nobody_is_led_elsewhere(stale, app, address):
    page = View(stale.client.get("/dashboard/proof", query_string={"back": address}))
    assert page.inputs["back"]["value"] == "/dashboard"
    answer = stale.post("/dashboard/proof/link", follow=False, back=address, link=link_for(app, stale.email))
    assert answer.response.headers["Location"] == "/dashboard"
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(hours=1)))
    assert make_key(stale, came_from=f"https://evil.example{address}").inputs["back"]["value"] == "/dashboard"


def test_the_page_that_one_comes_back_to_keeps_its_query(stale):
    refused = make_key(stale, came_from="http://localhost/dashboard/users?user=ada%40shop.example")
    assert re.search(r'value="/dashboard/users\?user=ada%40shop.example"', refused.html)
