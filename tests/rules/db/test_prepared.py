"""Queries that are asked of the driver itself give what SQLAlchemy gives, and survive what it survives."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import database, transaction
from portal.environments import Environment
from portal.ids import new_id
from portal.installations.opening import _statement
from portal.links.models import Link, LinkOrigin
from portal.links.rules import create_link
from portal.users.rules import create_user
from tests.postgres import needs_postgres

# Every kind of value that our tables have: text, moments, JSON, names of a list, yes and no, and nothing.
OF_LINK = sa.select(
    Link.id, Link.environment, Link.origin, Link.manner, Link.prefilled, Link.workflow_ids, Link.created_at,
    Link.expires_at, Link.opened_at, Link.always_show_credentials, Link.redirect_url,
).where(
    Link.id == sa.bindparam("id"),
    Link.origin == LinkOrigin.modal,
    Link.created_at <= sa.bindparam("now", type_=Link.created_at.type),
    Link.redirect_url != "100 % of it",
)  # fmt: skip


def make(**more: object) -> Link:
    with transaction(Environment.production) as session:
        user = create_user(session, f"{new_id()}@shop.example", now=now())
        link, _ = create_link(
            session, ["k" * 32], user=user, integration=None, app="magento", origin=LinkOrigin.modal, now=now(), **more
        )
    return link


def both_ways(values):
    with database().engine.connect() as connection:
        usual = connection.execute(OF_LINK, values).one_or_none()
    return database().ask(OF_LINK, values), usual


def holds_for_every_kind_of_value():
    link = make(prefilled={"magento": {"store_url": "https://“ü”.example"}}, redirect_url="https://app.example/?a=%20b")
    for at, is_found in ((now(), True), (now() - timedelta(minutes=1), False)):
        asked, usual = both_ways({"id": link.id, "now": at})
        assert (usual is not None) == is_found
        assert asked == usual
        assert not is_found or [type(value) for value in asked] == [type(value) for value in usual]


def test_a_row_is_the_same_whichever_way_it_is_asked_for(app):
    with app.app_context():
        holds_for_every_kind_of_value()


@needs_postgres
def test_a_row_is_the_same_on_postgresql(postgres_world):
    holds_for_every_kind_of_value()
    assert database().ask(_statement(), {"hash": "0" * 64, "now": now()}) is None


@needs_postgres
def test_connections_that_broke_off_are_replaced(postgres_world):
    link = make(redirect_url="https://app.example")
    values = {"id": link.id, "now": now()}
    with database().engine.connect() as connection:
        assert database().ask(OF_LINK, values)  # over another connection, which is cut off then
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
        assert connection.exec_driver_sql(f"{others}current_database()").all()
        connection.invalidate()
    assert database().ask(OF_LINK, values)[0] == link.id


def test_a_fault_is_told_in_the_usual_words_and_without_values(app):
    with app.app_context():
        database().ask(OF_LINK, {"id": "x", "now": now()})
        with database().engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE links RENAME TO lost")
        with pytest.raises(sa.exc.OperationalError) as fault:
            database().ask(OF_LINK, {"id": "secret", "now": now()})
    assert "secret" not in str(fault.value)


def test_values_that_are_asked_for_are_never_part_of_the_statement(app):
    with app.app_context():
        make(redirect_url="https://app.example")
        assert both_ways({"id": "' OR 1=1 --", "now": now()}) == (None, None)
