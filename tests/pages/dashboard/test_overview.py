"""What the overview names, in words, and what it stops naming as soon as it is settled."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.events.models import Delivery, DeliveryState
from portal.links.models import FailedTry, Link
from tests.backend import change


def fail(app, link_id, message="The store did not accept it.", field="access_token", name="magento"):
    change(app, sa.insert(FailedTry).values(id=f"{message[:20]:x<24}", link_id=link_id, app=name, field=field,
                                            reason="x", message=message, at=now()))  # fmt: skip


@pytest.fixture
def left(backend, user, integration, app):
    """Two links of a user: one opened an hour ago and left, one that ends soon, unopened."""

    def make(who=user):
        address = f"/users/{who}/integrations/{integration}/install-url"
        opened = backend.get(address)["linkId"]
        change(app, sa.update(Link).where(Link.id == opened).values(opened_at=now() - timedelta(hours=1)))
        return opened, backend.get(f"{address}?expiresIn=1h")["linkId"]

    return make


def test_what_went_wrong_is_told_by_titles_and_in_words(desk, left, app):
    opened, _ = left()
    fail(app, opened, field="store_url")
    assert "last: Magento, Store URL: “The store did not accept it.”" in desk.get("/dashboard").text
    assert "Magento, Store URL: “The store did not accept it.”" in desk.get(f"/dashboard/links/{opened}").text


def test_of_an_app_that_is_gone_the_name_is_all_there_is(desk, left, app):
    opened, _ = left()
    fail(app, opened, field="shop_key", name="gone_app")
    assert "last: gone_app, shop key: “The store" in desk.get("/dashboard").text


def test_a_webhook_that_has_arrived_by_another_delivery_fails_no_more(desk, user, integration, install, backend, app):
    install(integration)
    change(app, sa.update(Delivery).values(state=DeliveryState.given_up))
    event = backend.get("/events")["data"][0]["eventId"]
    assert "Webhooks that fail" in desk.get("/dashboard").text
    desk.post(f"/dashboard/events/{event}/redeliver")
    with app.app_context(), transaction() as session:
        first, second = session.scalars(sa.select(Delivery).order_by(Delivery.created_at))
        assert first.state is DeliveryState.given_up
        second.state = DeliveryState.delivered
    assert "Webhooks that fail" not in desk.get("/dashboard").text


def test_who_has_installed_it_meanwhile_is_neither_stuck_nor_late(desk, left, integration, install):
    links = left()
    page = desk.get("/dashboard")
    assert all(link in page.html for link in links)
    install(integration)
    page = desk.get("/dashboard")
    assert not any(link in page.html for link in links)
    assert "Somebody is stuck" not in page.text
    assert "Links that end soon" not in page.text


def test_who_got_a_link_after_it_was_installed_is_named(desk, left, integration, install):
    install(integration)
    links = left()
    page = desk.get("/dashboard")
    assert all(link in page.html for link in links)


def test_what_was_installed_and_taken_away_counts_for_nothing(desk, left, integration, install, backend):
    links = left()
    one = install(integration)
    desk.post(f"/dashboard/installations/{one}/remove")
    page = desk.get("/dashboard")
    assert all(link in page.html for link in links)


def test_what_another_user_has_installed_counts_for_nothing(desk, left, integration, install, backend):
    other = backend.post("/users", {"username": "bob@shop.example"})["userId"]
    links = left(other)
    install(integration)
    page = desk.get("/dashboard")
    assert all(link in page.html for link in links)


def test_who_asked_for_a_new_link_and_has_installed_since_waits_no_more(desk, left, integration, install, app):
    opened, _ = left()
    change(app, sa.update(Link).where(Link.id == opened).values(requested_at=now(), expires_at=now()))
    assert "Somebody asks for a new link" in desk.get("/dashboard").text
    assert "wants a new link" in desk.get("/dashboard/links").text
    install(integration)
    assert "Somebody asks for a new link" not in desk.get("/dashboard").text
    assert "wants a new link" not in desk.get("/dashboard/links").text


def test_what_is_finished_is_counted_for_its_day_also_when_it_is_gone(desk, integration, install, backend, user):
    one = install(integration)
    chosen = backend.get(f"/installations/{one}")["data"]["credentialIds"].values()
    again = {"userId": user, "integrationId": integration, "credentialIds": list(chosen)}
    for _ in range(2):
        started = backend.post("/headless/startInstallation", again)
        backend.post("/headless/completeInstallation", {"installationId": started["installationId"], "data": []})
    one = backend.get("/installations")["data"][0]["installationId"]
    desk.post(f"/dashboard/installations/{one}/remove")
    assert "finished in the last 30 days: 3" in desk.get("/dashboard").text
    desk.post("/dashboard/environment", environment="development")
    assert "finished in the last 30 days: 0" in desk.get("/dashboard").text


def test_the_plot_says_which_days_and_how_many(desk, integration, install):
    install(integration)
    page = desk.get("/dashboard")
    first, last = now() - timedelta(days=29), now()
    assert f'<p class="days"><span>{first:%-d %b %Y}</span> <span>{last:%-d %b %Y}</span></p>' in page.html
    assert '<p class="top"><span class="visually-hidden">The most on a day: </span>1</p>' in page.html
