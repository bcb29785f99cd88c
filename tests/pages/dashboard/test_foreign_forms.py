"""Forms that need no session (signing in) are taken from our own pages alone: else a foreign page could sign one in."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.operators.models import Invitation, OperatorSession, PasskeyChallenge, Role
from portal.operators.rules import invite
from tests.install_page import View
from tests.pages.dashboard.test_roles import NEEDS, NOBODY

OPEN = [rule for (method, rule), needed in NEEDS.items() if method == "POST" and needed is NOBODY]
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://portal.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://portal.example.evil.example"},
    {"Origin": "http://portal.example:8080"},
    {"Origin": "http://user@portal.example"},
    {"Origin": "null"},
    {"Origin": ""},
]
OWN = [
    {},  # an old browser, or a program
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://portal.example"},
    {"Origin": "http://portal.example"},
    {"Origin": "http://localhost"},  # the host that this very request names
    {"Sec-Fetch-Site": "none"},
]


def token_for(app, email="mallory@vendor.example"):
    with app.app_context(), transaction() as session:
        return invite(session, email, Role.viewer, now())[1]


def rows(app, statement):
    with app.app_context(), transaction() as session:
        return session.scalars(statement).all()


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_can_send_none_of_them(app, headers):
    token = token_for(app)
    for rule in OPEN:
        view = View(app.test_client().post(rule, data={"token": token, "credential": "{}"}, headers=headers))
        assert view.status == 403, rule
        assert view.heading == "This came from another site"
        assert "Set-Cookie" not in view.response.headers
    assert rows(app, sa.select(OperatorSession.id)) == []
    assert rows(app, sa.select(Invitation.used_at)) == [None]
    assert rows(app, sa.select(PasskeyChallenge.id)) == []


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_our_own_page_can(app, headers):
    client = app.test_client()
    assert client.post("/dashboard/sign-in", data={"token": token_for(app)}, headers=headers).status_code == 303
    assert client.get("/dashboard").status_code == 200


@pytest.mark.parametrize("at", ["/dashboard", "/DASHBOARD", "/Dashboard/", "//dashboard", "/2026-11/dashboard"])
def test_no_way_to_write_the_address_lets_our_page_be_framed(app, at):
    """Else a foreign page could have its visitor press *Continue* without seeing it."""
    answer = app.test_client().get(f"{at}/sign-in", query_string={"token": token_for(app)})
    if answer.status_code == 200:
        assert "mallory@vendor.example" in answer.text
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    else:
        assert "mallory@vendor.example" not in answer.text


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Url", "X-Rewrite-Url"])
def test_no_header_of_a_request_gets_into_an_address_that_we_write(desk, user, integration, name):
    value = {"Forwarded": "host=evil.example", "X-Original-Url": "http://evil.example/"}.get(name, "evil.example")
    share = f"/dashboard/integrations/{integration}/share"
    workflows = re.findall(r'name="workflow" value="([0-9a-f]+)"', desk.get(share).html)
    facts = {"csrf": desk.csrf, "user": "ada@shop.example", "workflow": workflows}
    cookie = desk.client.get_cookie("portal-session", path="/dashboard").value  # the client has it for its own host
    sent = {name: value, "Cookie": f"portal-session={cookie}"}
    client = desk.client.application.test_client(use_cookies=False)
    answers = [client.post(share, data=facts, headers=sent)]
    for at in ("/dashboard", "/dashboard/sign-in", "/dashboard/nothing", "/docs", "/openapi.json", "/embedded-install"):
        answers.append(client.get(at, headers=sent))
    assert "http://portal.example/embedded-install?" in answers[0].text
    for answer in answers:
        assert "evil.example" not in answer.text + str(answer.headers)


def test_a_new_sign_in_ends_the_session_that_the_browser_had(app, desk):
    former = desk.client.get_cookie("portal-session", path="/dashboard").value
    page = View(desk.client.get("/dashboard/sign-in", query_string={"token": (token := token_for(app))}))
    assert "You are signed in as admin@vendor.example here" in page.text
    desk.client.post("/dashboard/sign-in", data={"token": token})
    assert "mallory@vendor.example" in desk.client.get("/dashboard").text
    thief = app.test_client()
    thief.set_cookie("portal-session", former, path="/dashboard")
    assert thief.get("/dashboard").status_code == 303


def test_a_sign_in_that_fails_ends_nothing(app, desk):
    assert desk.client.post("/dashboard/sign-in", data={"token": "x"}).status_code == 410
    assert desk.client.get("/dashboard").status_code == 200
