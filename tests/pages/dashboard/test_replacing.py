"""Replacing a link: whatever it was for, one new link can be used, and only that one."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.credentials.models import Credential
from portal.db import transaction
from portal.environments import Environment
from portal.links.models import Link, LinkOrigin, LinkState
from tests.backend import WITH_FIELDS, change, link_in
from tests.install_page import InstallPage
from tests.stage import Made

ONE_LEFT = WITH_FIELDS.partition("  - {name: Count orders")[0]
NONE_LEFT = """
name: Orders to ledger
apps: [sandbox]
workflows:
  - {name: Sum orders, description: Sum them up., trigger: {schedule: "0 * * * *"}}
"""


@pytest.fixture
def links(app):
    """Every link, the oldest first."""

    def read():
        with app.app_context(), transaction() as session:
            return list(session.scalars(sa.select(Link).order_by(Link.created_at)))

    return read


@pytest.fixture
def usable(links):
    """The ids of the links that can be used."""

    def read():
        ended = (LinkState.finished, LinkState.revoked, LinkState.expired)
        return [link.id for link in links() if link.state(now()) not in ended]

    return read


def query_of(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def end(app, link_id):
    at = now() - timedelta(minutes=1)
    change(app, sa.update(Link).where(Link.id == link_id).values(created_at=at - timedelta(hours=1), expires_at=at))


def ask(app, query):
    assert app.test_client().get("/embedded-install", query_string=query).status_code == 410
    asked = app.test_client().post("/embedded-install", data={**query, "action": "request"})
    assert asked.status_code == 200, asked.text


def test_a_connection_that_ran_out_is_replaced_and_connects_the_app(desk, user, backend, app, links, shop):
    made = backend.get("/headless/oauthUrl", query_string={"userId": user, "app": "magento"})
    (old,) = links()
    end(app, old.id)
    ask(app, query_of(made["oauthUrl"]))
    overview = desk.get("/dashboard").text
    assert "Somebody asks for a new link" in overview
    assert "ada@shop.example, Magento: asked" in overview
    ready = desk.post(f"/dashboard/links/{old.id}/replace")
    assert "For ada@shop.example, Magento; until" in ready.text
    assert "Please%20connect%20Magento%20for" in ready.html
    fresh = links()[-1]
    assert (fresh.app, fresh.origin, fresh.integration_id) == ("magento", LinkOrigin.connection, None)
    assert fresh.expires_at - fresh.created_at == timedelta(days=7)
    page = InstallPage(app, Made(fresh.id, link_in(ready), user))
    assert page.open().heading == "Connect Magento"
    done = page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()
    assert done.heading == "Magento is connected"
    assert "Somebody asks for a new link" not in desk.get("/dashboard").text


def test_a_modal_is_replaced_by_a_link_that_can_be_handed_out(desk, user, integration, backend, app, links):
    token = backend.get(f"/users/{user}/token")["token"]
    asked = {"integrationId": integration, "token": token, "hide": "true", "title": "Join us"}
    page = app.test_client().get("/forge-install", query_string=asked).text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    (old,) = links()
    end(app, old.id)
    ask(app, {name: hidden[name] for name in ("token", "integrationId")})
    assert "ada@shop.example, Magento: stream new orders: asked" in desk.get("/dashboard").text
    ready = desk.post(f"/dashboard/links/{old.id}/replace")
    fresh = links()[-1]
    assert fresh.origin is LinkOrigin.link
    assert fresh.expires_at - fresh.created_at == timedelta(days=7)
    assert (fresh.how.title, fresh.how.is_hidden) == ("Join us", False)
    shown = app.test_client().get(link_in(ready)).text
    assert "Join us" in shown
    assert "data-modal" not in shown
    assert fresh.id in desk.get("/dashboard/links").html
    assert "Somebody asks for a new link" not in desk.get("/dashboard").text


def test_replacing_twice_leaves_one_link_and_it_is_the_last(desk, user, integration, backend, app, usable, links):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")
    first = desk.post(f"/dashboard/links/{made['linkId']}/replace")
    second = desk.post(f"/dashboard/links/{made['linkId']}/replace")
    assert [app.test_client().get(url).status_code for url in (made["url"], link_in(first))] == [410, 410]
    assert app.test_client().get(link_in(second)).status_code == 200
    assert len(usable()) == 1
    # Also when it is pressed on the link that came in between.
    third = desk.post(f"/dashboard/links/{links()[1].id}/replace")
    assert app.test_client().get(link_in(second)).status_code == 410
    assert app.test_client().get(link_in(third)).status_code == 200
    assert len(usable()) == 1
    page = desk.get(f"/dashboard/links/{made['linkId']}")
    assert f'/dashboard/links/{links()[-1].id}">another link</a>' in page.html
    assert "the one that replaced this is revoked" in page.text


def test_other_links_of_the_user_stay_when_one_is_replaced(desk, user, integration, backend, app, usable):
    made, other = (backend.get(f"/users/{user}/integrations/{integration}/install-url") for _ in range(2))
    desk.post(f"/dashboard/links/{made['linkId']}/replace")
    desk.post(f"/dashboard/links/{made['linkId']}/replace")
    assert app.test_client().get(other["url"]).status_code == 200
    assert len(usable()) == 2


def test_a_link_that_was_used_stays_used_when_it_is_replaced(desk, app, link, shop, links):
    page = InstallPage(app, link)
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token)
    assert page.finish().status == 200
    text = desk.get(f"/dashboard/links/{link.id}").text
    assert "This one was used, and stays as it is." in text
    assert "this one is revoked" not in text
    ready = desk.post(f"/dashboard/links/{link.id}/replace")
    assert "This is installed already" in ready.text
    assert [one.state(now()) for one in links()] == [LinkState.finished, LinkState.created]
    desk.post(f"/dashboard/links/{link.id}/replace")
    assert [str(one.state(now())) for one in links()] == ["finished", "revoked", "created"]


def test_a_link_that_ran_out_stays_expired_when_it_is_replaced(desk, app, link, links):
    end(app, link.id)
    assert "This one has ended, and stays as it is." in desk.get(f"/dashboard/links/{link.id}").text
    desk.post(f"/dashboard/links/{link.id}/replace")
    assert [str(one.state(now())) for one in links()] == ["expired", "created"]


def test_what_was_connected_with_the_link_that_is_revoked_is_forgotten(desk, app, make_link, shop):
    two = make_link(two_apps=True)
    page = InstallPage(app, two)
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token)
    page.check()
    desk.post(f"/dashboard/links/{two.id}/replace")
    with app.app_context(), transaction() as session:
        assert session.scalars(sa.select(Credential)).all() == []


@pytest.fixture
def shared(desk, user, asking, app):
    """The id of a link for some of an integration's workflows, with all that can be given along."""

    def run(*workflows):
        named = {workflow.name: workflow.id for workflow in asking.workflows}
        book = named["Book orders"]
        facts = {
            "user": "ada@shop.example",
            "life": "1d",
            "workflow": [named[one] for one in workflows],
            "redirect_url": "https://vendor.example/back",
            "locale": "de",
            "fill-sandbox-store_url": "https://shop.example",
            f"fill-{book}-ledger": "Main",
        }
        ready = desk.post(f"/dashboard/integrations/{asking.id}/share", **facts)
        return re.search(r"/dashboard/links/([0-9a-f]{24})", ready.html)[1]

    return run


def test_a_workflow_that_is_gone_is_left_out_and_named(desk, shared, asking, apply, links):
    old = shared("Count orders", "Book orders")
    # All were chosen, so the link follows the integration; a link for both by name is made for itself.
    assert links()[-1].workflow_ids is None
    apply(WITH_FIELDS + '  - {name: Sum orders, description: Sum them., trigger: {schedule: "0 * * * *"}}\n')
    old = shared("Count orders", "Book orders")
    apply(ONE_LEFT)
    ready = desk.post(f"/dashboard/links/{old}/replace")
    assert "Orders to ledger doesn’t have Count orders any more, so this link is without it." in ready.text
    book = next(one.id for one in asking.workflows if one.name == "Book orders")
    assert links()[-1].workflow_ids == [book]
    assert links()[-1].prefilled == {"sandbox": {"store_url": "https://shop.example"}, book: {"ledger": "Main"}}


def test_where_no_workflow_is_left_replace_leads_to_the_share_dialog_filled_in(desk, shared, asking, apply, links, app):
    old = shared("Book orders")
    apply(NONE_LEFT)
    dialog = desk.post(f"/dashboard/links/{old}/replace")
    assert dialog.status == 200
    assert dialog.heading == "Share Orders to ledger"
    assert "so it can’t be replaced as it was" in dialog.text
    assert dialog.inputs["user"]["value"] == "ada@shop.example"
    assert dialog.inputs["redirect_url"]["value"] == "https://vendor.example/back"
    assert dialog.inputs["fill-sandbox-store_url"]["value"] == "https://shop.example"
    assert '<option value="1d" selected>' in dialog.html
    assert '<option value="de" lang="de" selected>' in dialog.html
    assert "checked" not in dialog.inputs["always"]
    assert [str(one.state(now())) for one in links()] == ["created"]
    facts = {"user": "ada@shop.example", "workflow": dialog.inputs["workflow"]["value"], "instead_of": old}
    ready = desk.post(f"/dashboard/integrations/{asking.id}/share", **facts)
    assert app.test_client().get(link_in(ready)).status_code == 200
    assert [str(one.state(now())) for one in links()] == ["revoked", "created"]


def test_a_link_is_revoked_for_another_only_when_both_are_for_the_same(
    desk, shared, asking, integration, backend, links
):
    old = shared("Book orders")
    workflow = next(w["workflowId"] for w in backend.get("/workflows")["data"] if w["integrationId"] == integration)
    facts = {"user": "ada@shop.example", "workflow": workflow, "instead_of": old}
    desk.post(f"/dashboard/integrations/{integration}/share", **facts)
    backend.post("/users", {"username": "bob@shop.example"})
    facts |= {"user": "bob@shop.example", "workflow": asking.workflows[0].id}
    desk.post(f"/dashboard/integrations/{asking.id}/share", **facts)
    assert [str(one.state(now())) for one in links()] == ["created"] * 3


def test_a_link_of_the_other_environment_is_neither_replaced_nor_revoked(desk, make_backend, asking, user, app, links):
    backend = make_backend(Environment.development)
    other = backend.post("/users", {"username": "dev@shop.example"})["userId"]
    old = backend.get(f"/users/{other}/integrations/{asking.id}/install-url")["linkId"]
    assert desk.post(f"/dashboard/links/{old}/replace").status == 404
    facts = {"user": "ada@shop.example", "workflow": asking.workflows[0].id, "instead_of": old}
    refused = desk.post(f"/dashboard/integrations/{asking.id}/share", **facts)
    assert refused.status == 422
    assert "There is no link" in refused.text
    assert [str(one.state(now())) for one in links()] == ["created"]
