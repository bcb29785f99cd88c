"""How operators sign in, stay signed in and are signed out."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.operators.models import Invitation, OperatorSession, Role
from portal.operators.rules import invite, remove_operator
from tests.backend import change
from tests.install_page import View


def test_a_sign_in_link_works_once_and_opening_it_does_not_use_it(app, sign_in):
    with app.app_context(), transaction() as session:
        _, token = invite(session, "ada@vendor.example", Role.viewer, now())
    client = app.test_client()
    for _ in range(3):
        assert "ada@vendor.example" in client.get(f"/dashboard/sign-in?token={token}").text
        assert client.get("/dashboard/").status_code == 303
    answer = client.post("/dashboard/sign-in", data={"token": token})
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/dashboard" in cookie
    assert client.get("/dashboard/").status_code == 200
    again = app.test_client().post("/dashboard/sign-in", data={"token": token})
    assert again.status_code == 410
    assert "A sign-in link works once" in again.text


def test_a_sign_in_link_that_is_pressed_many_times_at_once_signs_one_browser_in(app):
    with app.app_context(), transaction() as session:
        _, token = invite(session, "ada@vendor.example", Role.viewer, now())
    gate = threading.Barrier(12)

    def press(_):
        client = app.test_client()
        gate.wait(30)
        return client.post("/dashboard/sign-in", data={"token": token}).status_code

    with ThreadPoolExecutor(12) as presses:
        assert sorted(presses.map(press, range(12))) == [303] + [410] * 11
    with app.app_context(), transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(OperatorSession)) == 1


def test_who_is_removed_or_may_do_less_now_feels_it_at_once(app, sign_in):
    sign_in(email="other@vendor.example")
    desk = sign_in(email="ada@vendor.example")
    with app.app_context(), transaction() as session:
        _, left_over = invite(session, "ada@vendor.example", Role.viewer, now())
    assert desk.post("/dashboard/api-keys", name="x").status == 403
    assert desk.get("/dashboard/links").status == 200
    with app.app_context(), transaction() as session:
        remove_operator(session, "ada@vendor.example")
    assert desk.client.get("/dashboard").headers["Location"] == "/dashboard/sign-in"
    assert app.test_client().post("/dashboard/sign-in", data={"token": left_over}).status_code == 410


def test_a_sign_in_link_is_over_after_an_hour(app):
    with app.app_context(), transaction() as session:
        _, token = invite(session, "ada@vendor.example", Role.viewer, now())
    change(app, sa.update(Invitation).values(expires_at=now()))
    assert app.test_client().get(f"/dashboard/sign-in?token={token}").status_code == 410
    assert app.test_client().post("/dashboard/sign-in", data={"token": token}).status_code == 410


def test_with_https_no_neighbour_of_the_same_domain_can_set_the_cookie(app, monkeypatch):
    settings = app.config["PORTAL_SETTINGS"].model_copy(update={"base_url": "https://install.example"})
    monkeypatch.setitem(app.config, "PORTAL_SETTINGS", settings)
    with app.app_context(), transaction() as session:
        _, token = invite(session, "ada@vendor.example", Role.viewer, now())
    client = app.test_client()
    at = {"base_url": "https://install.example"}
    cookie = client.post("/dashboard/sign-in", data={"token": token}, **at).headers["Set-Cookie"]
    assert cookie.startswith("__Host-portal-session=")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    page = client.get("/dashboard", **at)
    assert page.status_code == 200
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    ended = client.post("/dashboard/sign-out", data={"csrf": csrf}, **at)
    assert "Max-Age=0" in ended.headers["Set-Cookie"]


def test_no_token_of_a_session_or_invitation_is_stored(app, desk):
    with app.app_context(), transaction() as session:
        dump = "\n".join(session.connection().connection.driver_connection.iterdump())
    assert desk.client.get_cookie("portal-session", path="/dashboard").value not in dump


def test_signing_out_ends_the_session_on_the_server(desk, app):
    cookie = desk.client.get_cookie("portal-session", path="/dashboard").value
    desk.post("/dashboard/sign-out")
    thief = app.test_client()
    thief.set_cookie("portal-session", cookie, path="/dashboard")
    assert thief.get("/dashboard/").status_code == 303


def test_other_browsers_are_listed_and_can_be_signed_out(sign_in, app):
    here, there = sign_in(), sign_in()
    page = here.get("/dashboard/sessions")
    (other,) = re.findall(r"/dashboard/sessions/([0-9a-f]{24})/end", page.html)
    here.post(f"/dashboard/sessions/{other}/end")
    assert there.client.get("/dashboard/").status_code == 303
    assert here.client.get("/dashboard/").status_code == 200


def test_a_session_of_somebody_else_can_not_be_ended(sign_in, app):
    here, there = sign_in(), sign_in(email="other@vendor.example")
    with app.app_context(), transaction() as session:
        ids = session.scalars(sa.select(OperatorSession.id)).all()
    for one in ids[1:]:
        here.post(f"/dashboard/sessions/{one}/end", follow=False)
    assert there.client.get("/dashboard/").status_code == 200


def test_a_session_is_over_two_weeks_after_the_sign_in_however_often_it_was_used(desk, app):
    change(app, sa.update(OperatorSession).values(created_at=now() - timedelta(days=13, hours=23)))
    assert desk.client.get("/dashboard/").status_code == 200
    change(app, sa.update(OperatorSession).values(created_at=now() - timedelta(days=14, minutes=1)))
    assert desk.client.get("/dashboard/").status_code == 303


def test_who_has_to_sign_in_first_is_to_come_back_to_the_page_that_was_asked_for(app):
    client = app.test_client()
    sent = client.get("/dashboard/links?user=ada&order=oldest")
    assert sent.location == "/dashboard/sign-in?back=/dashboard/links?user%3Dada%26order%3Doldest"
    assert View(client.get(sent.location)).inputs["back"]["value"] == "/dashboard/links?user=ada&order=oldest"
    assert client.get("/dashboard").location == "/dashboard/sign-in"


def test_who_was_signed_out_meanwhile_is_to_come_back_to_the_form_or_the_page_that_was_open(app):
    client = app.test_client()
    sent = client.post("/dashboard/api-keys", headers={"Referer": "http://portal.example/dashboard/api-keys"})
    assert sent.location == "/dashboard/sign-in?ended=yes&back=/dashboard/api-keys"
    page = {"HX-Request": "true", "HX-Current-URL": "http://portal.example/dashboard/integrations"}
    part = client.get("/dashboard/users/search?user=ada", headers=page)
    assert part.headers["HX-Redirect"] == "/dashboard/sign-in?back=/dashboard/integrations"


@pytest.mark.parametrize(
    "back", ["https://evil.example/dashboard", "//evil.example", "/dashboard/sign-in/oidc", "/embedded-install", "\\e"]
)
def test_nobody_comes_back_to_a_page_of_somebody_else(app, back):
    page = View(app.test_client().get("/dashboard/sign-in", query_string={"back": back}))
    assert page.inputs["back"]["value"] == "/dashboard"
    foreign = {"Referer": f"https://evil.example{back}"}
    assert "evil.example" not in app.test_client().post("/dashboard/api-keys", headers=foreign).location
