"""What an endpoint answered is kept in one place, and goes with the user whom it was about."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.clock import now
from portal.db import engine, transaction
from portal.environments import Environment
from portal.events.models import DeliveryAttempt, DeliveryState
from portal.installations.changing import delete_user
from portal.users.models import User
from tests.stage import LOCKED, breaking

from .conftest import Endpoint, answers, attempt_made, state, tell

ECHO = b"You said that Ada lives at 7 Rose Lane"


@pytest.fixture
def ada(live: Flask) -> User:
    """The user whom events are about."""
    with transaction() as session:
        user = session.get(User, "u1") or User(id="u1", environment=Environment.development, username="u1")
        session.add(user)
        return user


def forget(user: User) -> None:
    with transaction(Environment.development) as session:
        delete_user(session, session.get_one(User, user.id), now())


def engine_records() -> str:
    """Everything that the engine's tables hold."""
    with engine().connect() as connection:
        tables = [
            name
            for name in sa.inspect(connection).get_table_names()
            if name.startswith(("workflow_", "operation_", "streams", "notifications"))
        ]
        assert {"workflow_status", "operation_outputs"} <= set(tables)
        return repr([connection.exec_driver_sql(f"SELECT * FROM {name}").fetchall() for name in tables])


def test_the_engine_keeps_nothing_of_what_was_sent_and_answered(live: Flask, ada: User, endpoint: Endpoint) -> None:
    endpoint.will(answers(200, ECHO))
    delivery = tell(endpoint.url)

    assert attempt_made(delivery).answer == ECHO.decode()
    records = engine_records()
    assert delivery in records
    for told in ("Rose Lane", "webhook-signature", endpoint.received[0].headers["webhook-signature"]):
        assert told not in records


def test_what_endpoints_answered_about_a_user_goes_with_the_user(live: Flask, ada: User, endpoint: Endpoint) -> None:
    endpoint.will(answers(200, ECHO))
    delivery = tell(endpoint.url)
    assert attempt_made(delivery).answer == ECHO.decode()

    forget(ada)

    kept = attempt_made(delivery)
    assert (kept.status, kept.answer) == (200, None)
    assert state(delivery).state is DeliveryState.delivered


def test_what_is_answered_while_a_user_is_deleted_or_later_is_not_kept(
    live: Flask, ada: User, endpoint: Endpoint
) -> None:
    asked, go = threading.Event(), threading.Event()

    def answers_late(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        go.wait(20)
        answers(200, ECHO)(handler)

    endpoint.will(answers_late, answers(200, ECHO))
    delivery = tell(endpoint.url)
    assert asked.wait(20)
    forget(ada)
    go.set()

    assert (attempt_made(delivery).status, attempt_made(delivery).answer) == (200, None)
    later = tell(endpoint.url)
    assert (attempt_made(later).status, attempt_made(later).answer) == (200, None)


def test_a_busy_database_makes_no_attempt_twice(live: Flask, ada: User, endpoint: Endpoint) -> None:
    with breaking(engine(), "INSERT INTO delivery_attempts", LOCKED, times=2) as busy:
        delivery = tell(endpoint.url)
        assert attempt_made(delivery).status == 204

    assert len(busy) == 2
    assert len(endpoint.received) == 1
    with transaction() as session:
        made = sa.select(sa.func.count()).select_from(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery)
        assert session.scalar(made) == 1
