"""The overview, and what every page says while there is nothing."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.events.models import Delivery, DeliveryState
from portal.links.models import FailedTry, Link
from portal.operators.models import Role
from tests.backend import change


def test_the_overview_names_what_needs_attention_in_words(desk, user, integration, install, backend, app):
    other = backend.post("/users", {"username": "bob@shop.example"})["userId"]
    made = backend.get(f"/users/{other}/integrations/{integration}/install-url")["linkId"]
    soon = backend.get(f"/users/{other}/integrations/{integration}/install-url?expiresIn=1h")["linkId"]
    install(integration)
    at = now() - timedelta(hours=1)
    change(app, sa.update(Link).where(Link.id == made).values(opened_at=at))
    change(app, sa.insert(FailedTry).values(id="f" * 24, link_id=made, app="magento", field="access_token",
                                            reason="x", message="The store did not accept it.", at=at))  # fmt: skip
    change(app, sa.update(Delivery).values(state=DeliveryState.given_up))
    credential = backend.get(f"/users/{user}/credentials")["data"][0]["credentialId"]
    backend.delete(f"/users/{user}/credentials/{credential}")
    text = desk.get("/dashboard/").text
    assert "Magento, Access token: “The store did not accept it.”" in text
    assert "Links that end soon, unopened" in text
    assert "Webhooks that fail" in text
    assert "Installations that lack a credential" in text
    assert soon in desk.get("/dashboard/").html
    assert "Installations finished in the last 30 days: 1" in text


def test_who_asks_for_a_new_link_is_named_until_there_is_one(desk, user, integration, backend, app):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")
    backend.post(f"/links/{made['linkId']}/revoke")
    query = {name: re.search(rf"{name}=([^&]+)", made["url"])[1] for name in ("token", "integrationId")}
    app.test_client().post("/embedded-install", data={**query, "action": "request"})
    assert "Somebody asks for a new link" in desk.get("/dashboard/").text
    desk.post(f"/dashboard/links/{made['linkId']}/replace")
    assert "Somebody asks for a new link" not in desk.get("/dashboard/").text


def test_a_zero_character_is_refused_before_any_database_sees_it(desk):
    for path in ("/dashboard/users?user=a%00", "/dashboard/users/a%00b", "/dashboard/users/search?user=%00"):
        assert desk.client.get(path).status_code == 400
    assert desk.client.post("/dashboard/users", data={"csrf": desk.csrf, "username": "a\0"}).status_code == 400


PAGES = ["", "integrations", "links", "users", "installations", "events", "api-keys", "settings", "audit", "sessions"]
PAGES += ["endpoints", "endpoints/documented-production", "tasks", "runs"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_what_to_do_first_when_there_is_nothing(desk, page):
    view = desk.get(f"/dashboard/{page}")
    assert view.heading
    assert "None" not in re.sub(r"None( yet)?\.|-> None:", "", view.text)


def test_settings_show_no_secret(desk, app):
    text = desk.get("/dashboard/settings").text
    assert "PORTAL_BASE_URLhttp://portal.example" in text
    for secret in (app.extensions["keys"].link_keys[0], app.extensions["keys"].webhook_secrets[0]):
        assert secret not in text


def test_an_unknown_thing_is_a_page_with_a_sentence(desk):
    kinds = ("links", "users", "installations", "runs", "children", "events", "integrations", "endpoints")
    for path in (f"{kind}/x" for kind in kinds):
        view = desk.get(f"/dashboard/{path}", status=404)
        assert "There is no" in view.text
        assert "in production" in view.text
        assert "or it is in development: press Show development above" in view.text
        assert "GET /" not in view.text
        assert "flask" not in view.text


def test_an_address_that_is_none_leads_to_the_overview(desk):
    for path, status, heading in (
        ("/dashboard/nothing", 404, "There is nothing here"),
        ("/dashboard/links/x/replace", 405, "This page can’t be opened again"),
    ):
        view = desk.get(path, status=status)
        assert view.heading == heading
        assert 'href="/dashboard">To the overview' in view.html
        assert "sent a link" not in view.text
        assert "link that you were sent" not in view.text


def test_a_defect_speaks_to_operators_of_what_they_did(desk, app, monkeypatch):
    monkeypatch.setitem(app.view_functions, "dashboard.users", lambda: 1 / 0)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(app.view_functions["dashboard.users"], "needs", Role.viewer, raising=False)
    view = desk.get("/dashboard/users", status=500)
    assert "What you did last may not have been done" in view.text
    assert "your link" not in view.text
    assert "To the overview" in view.text
