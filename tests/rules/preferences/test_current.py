"""The settings as they hold now: read rarely, right always, and still there when the database isn't."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal import create_app
from portal.clock import now
from portal.db import settings_of, transaction
from portal.events.durable import forget_old_events
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Event
from portal.links.durable import forget_old_links
from portal.links.models import Link
from portal.preferences.models import Preference
from portal.preferences.retention import run_log_days, run_logs_kept_since
from portal.preferences.rules import change_preferences
from portal.settings import read_settings
from tests.backend import *  # noqa: F403 - fixtures


@pytest.fixture
def set_to(app):
    """Save settings the way that the dashboard does."""

    def run(**given):
        with app.app_context(), transaction() as session:
            change_preferences(session, app.config["PORTAL_SETTINGS"], given, by="ada@vendor.example", now=now())
        app.extensions["settings"].refresh()

    return run


def test_a_second_of_requests_costs_one_query(app):
    current = app.extensions["settings"]
    asked = []
    sa.event.listen(app.extensions["database"].engine, "before_cursor_execute", lambda *facts: asked.append(facts[2]))
    current.refresh()
    until = current._until
    for _ in range(10_000):
        current.settings()
    assert len(asked) == 1 + (current._until != until)


def test_rules_read_what_was_saved(app, set_to):
    with app.app_context(), transaction() as session:
        assert run_log_days(session) == 60
    set_to(run_log_days="7", frame_ancestors="https://a.example https://b.example")
    with app.app_context(), transaction() as session:
        assert run_log_days(session) == 7
        assert run_logs_kept_since(session, now()) < now() - timedelta(days=6)
        assert settings_of(session).frame_ancestors == ("https://a.example", "https://b.example")
        assert settings_of(session).base_url == app.config["PORTAL_SETTINGS"].base_url


def test_what_is_known_holds_while_the_database_does_not_answer(app, set_to):
    set_to(vendor_name="Blue Orders")
    current = app.extensions["settings"]
    with app.app_context(), transaction() as session:
        session.execute(sa.text("ALTER TABLE preferences RENAME TO away"))
    current._until = 0
    assert current.settings().vendor_name == "Blue Orders"


def test_before_the_tables_are_there_the_environment_holds(tmp_path):
    app = create_app(read_settings(instance=tmp_path, vendor_name="Acme"))
    assert app.extensions["settings"].settings().vendor_name == "Acme"
    app.extensions["database"].engine.dispose()


def test_a_saved_value_that_can_not_be_any_more_is_left_out(app, set_to):
    set_to(vendor_name="Blue Orders")
    with app.app_context(), transaction() as session:
        session.add(Preference(name="accent", value="red", changed_by="x"))
        session.add(Preference(name="base_url", value="https://evil.example", changed_by="x"))
        session.add(Preference(name="allow_private_network", value="true", changed_by="x"))
    settings = app.extensions["settings"].refresh()
    assert (settings.vendor_name, settings.accent) == ("Blue Orders", "#1f5fbf")
    assert settings.base_url == app.config["PORTAL_SETTINGS"].base_url
    assert settings.allow_private_network != "true"


def event(session, state, age):
    made = Event(environment="production", type="x", payload="{}", created_at=now() - timedelta(days=age))
    session.add(made)
    session.flush()
    delivery = Delivery(environment="production", event_id=made.id, type="x", url="https://a.example", state=state)
    session.add(delivery)
    session.flush()
    session.add(DeliveryAttempt(delivery_id=delivery.id, number=1, latency_ms=1))
    return made.id


def test_old_events_go_with_their_deliveries_and_none_that_waits(app, set_to):
    set_to(event_days="30")
    with app.app_context():
        with transaction() as session:
            gone = event(session, DeliveryState.delivered, 31)
            waiting = event(session, DeliveryState.pending, 31)
            young = event(session, DeliveryState.given_up, 29)
        forget_old_events()
        with transaction() as session:
            assert set(session.scalars(sa.select(Event.id))) == {waiting, young} != {gone}
            assert set(session.scalars(sa.select(Delivery.event_id))) == {waiting, young}
            assert len(session.scalars(sa.select(DeliveryAttempt.id)).all()) == 2


def test_links_that_ended_long_ago_go_and_finished_ones_stay(app, set_to, make_link):
    made = {name: make_link() for name in ("open", "over", "revoked", "finished")}
    long_ago = now() - timedelta(days=31)
    set_to(link_days="30")
    with app.app_context():
        with transaction() as session:
            for name, facts in {
                "over": {"expires_at": long_ago},
                "revoked": {"revoked_at": long_ago},
                "finished": {"expires_at": long_ago, "finished_at": long_ago},
            }.items():
                session.execute(sa.update(Link).where(Link.id == made[name].id).values(**facts))
        forget_old_links()
        with transaction() as session:
            assert set(session.scalars(sa.select(Link.id))) == {made["open"].id, made["finished"].id}
