"""An event is stored once, its delivery is enqueued in the same transaction, its attempts are recorded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from portal.background.work import client_for
from portal.db import engine, transaction
from portal.environments import Environment
from portal.events.durable import take_up_what_was_dropped
from portal.events.errors import NoEndpoint, UnknownEvent
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Event
from portal.events.rules import Outcome, announce, record_attempt, redeliver

from .conftest import listen_alone

URL = "https://vendor.example/hooks"
DAY = timedelta(days=1)


def tell(session: Session, noon: datetime, url: str = URL) -> Event:
    listen_alone(session, url)
    event = announce(
        session,
        "installation.finished",
        {"userId": "u1", "success": True},
        environment=Environment.development,
        now=noon,
    )
    assert event
    return event


def told(noon: datetime, url: str = URL) -> str:
    """Tell an event; the id of its delivery."""
    with transaction() as session:
        event = tell(session, noon, url)
        return session.scalars(sa.select(Delivery.id).where(Delivery.event_id == event.id)).one()


def enqueued() -> list[str]:
    """What waits in the engine, oldest first."""
    return [work.workflow_id for work in client_for(engine()).list_workflows(name="deliver")]


@pytest.fixture
def failed(noon: datetime) -> Outcome:
    return Outcome(at=noon, status=500, problem=None, latency_ms=12, answer="oh no")


@pytest.fixture
def fail(failed: Outcome) -> Callable[..., Delivery | None]:
    def record(delivery: str, number: int, now: datetime, **facts: object) -> Delivery | None:
        with transaction() as session:
            return record_attempt(session, delivery, number, replace(failed, **facts), now)  # type: ignore[arg-type]

    return record


def test_an_event_is_stored_with_the_text_that_is_sent_and_its_first_attempt_is_enqueued(
    app: Flask, noon: datetime
) -> None:
    with transaction() as session:
        event = tell(session, noon)

    with transaction() as session:
        stored = session.get_one(Event, event.id)
        (delivery,) = stored.deliveries
        assert (stored.payload, stored.type) == ('{"userId":"u1","success":true}', "installation.finished")
        assert (delivery.url, delivery.state, delivery.next_attempt_at) == (URL, DeliveryState.pending, noon)
        assert enqueued() == [f"deliver-{delivery.id}-1"]


def test_a_transaction_that_fails_leaves_neither_event_nor_delivery_nor_work(app: Flask, noon: datetime) -> None:
    def tell_and_fail() -> None:
        with transaction() as session:
            tell(session, noon)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tell_and_fail()

    with transaction() as session:
        assert session.scalar(sa.select(sa.func.count(Event.id))) == 0
        assert session.scalar(sa.select(sa.func.count(Delivery.id))) == 0
    assert enqueued() == []


def test_without_an_endpoint_the_event_is_kept_and_can_be_delivered_later(app: Flask, noon: datetime) -> None:
    with transaction() as session:
        event = tell(session, noon, url="")
    assert enqueued() == []

    with transaction() as session:
        listen_alone(session, URL)
        (delivery,) = redeliver(session, event.id, noon + DAY)

    assert delivery.event_id == event.id
    assert enqueued() == [f"deliver-{delivery.id}-1"]


def test_an_unknown_event_or_a_missing_endpoint_is_refused_with_what_to_do(app: Flask, noon: datetime) -> None:
    with transaction() as session:
        event = tell(session, noon, url="")
        with pytest.raises(UnknownEvent, match="event list"):
            redeliver(session, "0" * 24, noon)
        with pytest.raises(NoEndpoint, match="PORTAL_INSTALLATION_WEBHOOK_URL"):
            redeliver(session, event.id, noon)


def test_a_2xx_ends_the_delivery(app: Flask, noon: datetime, fail: Callable[..., Delivery | None]) -> None:
    delivery = told(noon)

    ended = fail(delivery, 1, noon, status=299)

    assert ended is not None
    assert (ended.state, ended.ended_at, ended.next_attempt_at) == (DeliveryState.delivered, noon, None)
    assert enqueued() == [f"deliver-{delivery}-1"]


@pytest.mark.parametrize("status", [None, 0, 101, 199, 300, 302, 304, 400, 410, 429, 500, 599, 999, -1])
def test_anything_else_is_tried_again(
    app: Flask, noon: datetime, fail: Callable[..., Delivery | None], status: int | None
) -> None:
    delivery = told(noon)

    waiting = fail(delivery, 1, noon, status=status)

    assert waiting is not None
    assert (waiting.state, waiting.next_attempt_at) == (DeliveryState.pending, noon + timedelta(seconds=5))
    assert enqueued() == [f"deliver-{delivery}-1", f"deliver-{delivery}-2"]


def test_an_attempt_is_recorded_once_however_often_its_step_is_repeated(
    app: Flask, noon: datetime, fail: Callable[..., Delivery | None]
) -> None:
    delivery = told(noon)
    fail(delivery, 1, noon)

    assert fail(delivery, 1, noon + DAY, status=200) is None

    with transaction() as session:
        assert session.get_one(Delivery, delivery).state is DeliveryState.pending
        (attempt,) = session.scalars(sa.select(DeliveryAttempt))
        assert (attempt.number, attempt.status, attempt.latency_ms, attempt.answer) == (1, 500, 12, "oh no")
    assert enqueued() == [f"deliver-{delivery}-1", f"deliver-{delivery}-2"]


def test_a_delivery_that_has_ended_takes_no_more_attempts(
    app: Flask, noon: datetime, fail: Callable[..., Delivery | None]
) -> None:
    delivery = told(noon)
    fail(delivery, 1, noon, status=204)

    assert fail(delivery, 2, noon) is None
    assert fail("0" * 24, 1, noon) is None


def test_after_five_days_of_failures_it_is_given_up(
    app: Flask, noon: datetime, fail: Callable[..., Delivery | None]
) -> None:
    delivery, moment, number = told(noon), noon, 1
    while (waiting := fail(delivery, number, moment)) and waiting.next_attempt_at:
        moment, number = waiting.next_attempt_at, number + 1

    with transaction() as session:
        ended = session.get_one(Delivery, delivery)
        assert (ended.state, ended.ended_at, len(ended.attempts)) == (DeliveryState.given_up, moment, 13)
    assert noon + 4 * DAY < moment <= noon + 5 * DAY


def test_retry_after_is_kept_to(app: Flask, noon: datetime, fail: Callable[..., Delivery | None]) -> None:
    waiting = fail(told(noon), 1, noon, status=429, retry_after=90.0)

    assert waiting is not None
    assert waiting.next_attempt_at == noon + timedelta(seconds=90)


def test_a_delivery_whose_work_was_lost_is_taken_up_again_once_an_hour(
    app: Flask, noon: datetime, fail: Callable[..., Delivery | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, delivered, fresh = told(noon), told(noon), told(noon + timedelta(hours=2))
    fail(lost, 1, noon)
    fail(delivered, 1, noon, status=204)
    before = set(enqueued())
    monkeypatch.setattr("portal.events.durable.now", lambda: noon + timedelta(hours=2, minutes=5))

    take_up_what_was_dropped()
    take_up_what_was_dropped()

    assert set(enqueued()) - before == {f"deliver-{lost}-2-2026030214"}
    assert f"deliver-{fresh}-1" in before
