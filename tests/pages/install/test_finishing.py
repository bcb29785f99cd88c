"""Finish Installation: all or nothing, once, whatever is pressed twice; and credentials that are offered again."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.credentials.models import Credential
from portal.db import transaction
from portal.events.models import Event
from portal.installations.models import Installation
from portal.links.models import Link
from portal.workflows.models import ChildWorkflow


def count(app, table) -> int:
    with app.app_context(), transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table))


def connect(page, shop):
    page.open()
    return page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()


def test_a_finished_link_leaves_one_installation_one_child_and_the_documented_event(app, install_page, shop, link, row):
    view = connect(install_page, shop)

    assert (view.status, view.heading) == (200, "Magento is connected")
    assert "connected as Luma Store" in view.text
    assert "You can close this page" in view.text
    with app.app_context(), transaction() as session:
        installation = session.query(Installation).one()
        credential = session.query(Credential).one()
        child = session.query(ChildWorkflow).one()
        event = session.query(Event).one()
        assert (installation.link_id, installation.user_id) == (link.id, link.user_id)
        assert (credential.is_draft, credential.account) == (False, "Luma Store")
        assert child.is_active
        expected = {
            "userId": link.user_id,
            "workflowIds": [child.workflow_id],
            "integrationId": link.query["integrationId"],
            "credentials": {"magento": credential.id},
            "success": True,
        }
        assert event.payload == json.dumps(expected, separators=(",", ":"))
    assert row(link).finished_at


def test_the_same_press_twice_shows_the_same_success_and_another_tab_reads_that_it_was_done(
    install_page, page_of, shop, link
):
    connect(install_page, shop)
    again = install_page.finish()
    assert (again.status, again.heading) == (200, "Magento is connected")
    assert "connected as Luma Store" in again.text

    other_tab = page_of(link)
    other_tab.press = "another tab's"
    view = other_tab.finish()
    assert (view.status, view.heading) == (410, "This link was already used")
    assert install_page.open().status == 410


def test_fifty_presses_at_once_make_one_installation_and_one_event(app, page_of, link, shop):
    page_of(link).open()
    app.extensions["outbound"]._guests.per_host = 50

    def press(number: int) -> int:
        page = page_of(link)
        page.press = f"tab-{number % 5}"
        return page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish().status

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(press, range(50)))

    assert set(statuses) <= {200, 410}
    assert statuses.count(200) >= 1
    assert (count(app, Installation), count(app, Event), count(app, ChildWorkflow)) == (1, 1, 1)


def test_a_fault_in_the_middle_leaves_nothing_half_done(app, install_page, shop, link, row, monkeypatch):
    def break_down(*_args, **_options):
        raise RuntimeError("in the middle")

    monkeypatch.setattr("portal.installations.rules.announce", break_down)
    view = connect(install_page, shop)

    assert view.status == 500
    assert "This is our mistake, not yours" in view.text
    assert "in the middle" not in view.html
    assert (count(app, Installation), count(app, ChildWorkflow), count(app, Credential)) == (0, 0, 0)
    assert row(link).finished_at is None

    monkeypatch.undo()
    assert connect(install_page, shop).status == 200


def test_a_locked_database_is_a_plain_page_and_nothing_is_half_done(app, install_page, shop, link, row, monkeypatch):
    import sqlite3

    monkeypatch.setattr("portal.db.BUSY_SECONDS", 0.1)
    install_page.open()
    with app.app_context(), transaction() as session:
        session.connection()
    for connection in (app.extensions["database"].engine,):
        with connection.connect() as one:
            one.exec_driver_sql("PRAGMA busy_timeout=100")
    other = sqlite3.connect(app.extensions["database"].engine.url.database)
    other.execute("BEGIN IMMEDIATE")
    try:
        view = install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()
    finally:
        other.rollback()
    assert view.status == 503
    assert view.response.headers["Retry-After"]
    assert "your link still works" in view.text
    assert count(app, Installation) == 0
    assert connect(install_page, shop).status == 200


def test_a_full_disk_is_a_plain_page_too(app, install_page, shop, monkeypatch):
    install_page.open()

    def full(connection, *_):
        raise sa.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))

    sa.event.listen(app.extensions["database"].engine, "commit", full)
    view = install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()
    sa.event.remove(app.extensions["database"].engine, "commit", full)
    assert view.status == 503
    assert count(app, Installation) == 0


def test_the_success_view_has_a_way_back_where_the_link_has_one(page_of, make_link, shop):
    view = connect(page_of(make_link(redirect_url="https://vendor.example/back?x=1&y=2")), shop)
    assert 'href="https://vendor.example/back?x=1&amp;y=2"' in view.html
    assert "Continue to vendor.example" in view.text


def test_only_the_workflows_that_the_link_names_are_installed(app, make_link, page_of, shop):
    with app.app_context(), transaction() as session:
        made = make_link()
        workflow = session.get_one(Link, made.id).integration.workflows[0].id
    connect(page_of(make_link(workflow_ids=[workflow])), shop)
    assert count(app, ChildWorkflow) == 1


def test_a_second_installation_replaces_the_first_so_that_nothing_runs_twice(app, make_link, page_of, shop):
    connect(page_of(make_link()), shop)
    connect(page_of(make_link()), shop)
    with app.app_context(), transaction() as session:
        first, second = session.scalars(sa.select(Installation).order_by(Installation.installed_at)).all()
        assert (first.is_enabled, second.is_enabled) == (False, True)
        assert [child.is_active for child in first.children] == [False]
        assert [child.is_active for child in second.children] == [True]


def test_always_showing_offers_working_credentials_by_account_and_day(page_of, make_link, shop):
    connect(page_of(make_link()), shop)
    page = page_of(make_link())
    view = page.open()

    today = now()
    assert f"Luma Store, connected {today.day} {today:%B}" in view.text
    assert "Use other credentials" in view.text
    assert shop.token not in view.html
    chosen = next(f["value"] for t, f in view.dom.tags if f.get("name") == "magento-use" and f["value"] != "new")
    assert page.finish(**{"magento-use": chosen}).heading == "Magento is connected"


def test_another_users_credential_can_not_be_picked(app, page_of, make_link, shop):
    connect(page_of(make_link(username="victim@shop.example")), shop)
    with app.app_context(), transaction() as session:
        stolen = session.scalar(sa.select(Credential.id))
    page = page_of(make_link(username="eve@shop.example"))
    page.open()
    assert page.finish(**{"magento-use": stolen}).status == 422
    assert count(app, Installation) == 1


def test_not_always_showing_needs_no_form_while_the_one_credential_still_works(app, page_of, make_link, shop):
    connect(page_of(make_link()), shop)
    page = page_of(make_link(always_show_credentials=False))
    view = page.open(alwaysShowCredentials="false")
    assert "Connected as Luma Store" in view.text
    assert "magento-access_token" not in view.inputs
    assert page.finish(alwaysShowCredentials="false").heading == "Magento is connected"


@pytest.mark.parametrize("way", ["open", "finish"])
def test_a_credential_that_stopped_working_brings_the_form_with_the_reason(app, page_of, make_link, shop, way):
    connect(page_of(make_link()), shop)
    with app.app_context(), transaction() as session:
        session.query(Credential).one().tested_at = now() - timedelta(days=1)
    shop.token = "revoked-at-the-provider"
    page = page_of(make_link(always_show_credentials=False))
    view = page.open(alwaysShowCredentials="false")
    if way == "finish":
        view = page.finish(alwaysShowCredentials="false")
        assert view.status == 422
    assert "did not accept this access token" in view.text
    assert "magento-access_token" in view.inputs


def test_a_finish_takes_no_more_statements_than_are_known(app, install_page, shop):
    install_page.open()
    asked = []
    listened = app.extensions["database"].engine, "before_cursor_execute", lambda *facts: asked.append(facts[2])
    sa.event.listen(*listened)
    view = install_page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()
    sa.event.remove(*listened)
    assert view.heading == "Magento is connected"
    # They are what bounds installations a second. Preferences are read each second, whoever asks.
    assert len([one for one in asked if "FROM preferences" not in one]) <= 23, asked
