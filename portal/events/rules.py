"""How an event is told: stored once, delivered in attempts that are recorded, redelivered on request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.background import Queue, enqueue
from portal.environments import Environment
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Event
from portal.events.payload import write_payload
from portal.events.schedule import next_attempt
from portal.ids import new_id
from portal.refusals import Refusal

DELIVERIES = Queue("deliveries", at_once=48, per_partition=12)
ANSWER_KEPT = 1024  # bytes of an endpoint's answer


class UnknownEvent(Refusal):
    """No event by that id."""

    status = 404
    title = "No such event"

    def __init__(self, event_id: str) -> None:
        super().__init__(f"There is no event “{event_id}”. `flask event list` shows them.")


class NoEndpoint(Refusal):
    """There is nowhere to deliver to."""

    status = 409
    title = "There is no endpoint"

    def message(self) -> str:
        return "Set PORTAL_INSTALLATION_WEBHOOK_URL to where events should be delivered, then try again."


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt. `retry_after` is what the endpoint asked for, in seconds."""

    at: datetime
    status: int | None
    problem: str | None
    latency_ms: int
    answer: str | None
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint took the event."""
        return self.status is not None and 200 <= self.status < 300


def announce(
    session: Session,
    event_type: str,
    payload: Mapping[str, Any],
    *,
    environment: Environment,
    url: str = "",
    now: datetime,
    installation_id: str | None = None,
) -> Event:
    """Store an event and, when there is a `url`, enqueue its delivery in the same transaction."""
    event = Event(
        id=new_id(),
        environment=environment,
        type=event_type,
        payload=write_payload(dict(payload)),
        installation_id=installation_id,
        created_at=now,
    )
    session.add(event)
    if url:
        _start_delivery(session, event.id, url, now)
    return event


def redeliver(session: Session, event_id: str, url: str, now: datetime) -> Delivery:
    """Start a new delivery of an event: same id, same payload. Raises `UnknownEvent`, `NoEndpoint`."""
    if session.get(Event, event_id) is None:
        raise UnknownEvent(event_id)
    if not url:
        raise NoEndpoint
    return _start_delivery(session, event_id, url, now)


def _start_delivery(session: Session, event_id: str, url: str, now: datetime) -> Delivery:
    delivery = Delivery(id=new_id(), event_id=event_id, url=url, created_at=now, next_attempt_at=now)
    session.add(delivery)
    session.flush()
    _enqueue_attempt(session, delivery, number=1, delay=0)
    return delivery


def restart_delivery(session: Session, delivery_id: str, now: datetime) -> None:
    """Enqueue the next attempt of a pending delivery whose engine record was lost. Safe to repeat within an hour."""
    delivery = session.get_one(Delivery, delivery_id)
    made = session.scalar(sa.select(sa.func.count()).where(DeliveryAttempt.delivery_id == delivery_id))
    _enqueue_attempt(session, delivery, number=(made or 0) + 1, delay=0, again=f"-{now:%Y%m%d%H}")


def _enqueue_attempt(session: Session, delivery: Delivery, *, number: int, delay: float, again: str = "") -> None:
    enqueue(
        session,
        "deliver",
        delivery.id,
        number,
        queue=DELIVERIES,
        partition=hashlib.sha256(delivery.url.encode()).hexdigest()[:16],
        delay=delay,
        workflow_id=f"deliver-{delivery.id}-{number}{again}",
    )


def is_due(session: Session, delivery: Delivery, number: int) -> bool:
    """Whether attempt `number` is still to be made: the delivery is pending and the attempt not recorded."""
    known = sa.select(DeliveryAttempt.id).where(
        DeliveryAttempt.delivery_id == delivery.id, DeliveryAttempt.number == number
    )
    return delivery.state is DeliveryState.pending and session.scalar(known) is None


def record_attempt(session: Session, delivery_id: str, number: int, outcome: Outcome, now: datetime) -> Delivery | None:
    """Keep what came of attempt `number`, and end the delivery or enqueue its next attempt.

    Safe to repeat: an attempt that is recorded already changes nothing (None is returned then, as for a delivery
    that is gone or has ended).
    """
    delivery = session.get(Delivery, delivery_id, with_for_update=True)
    if delivery is None or not is_due(session, delivery, number):
        return None
    session.add(
        DeliveryAttempt(
            delivery_id=delivery_id,
            number=number,
            at=outcome.at,
            status=outcome.status,
            problem=outcome.problem,
            latency_ms=outcome.latency_ms,
            answer=outcome.answer,
        )
    )
    if outcome.is_success:
        delivery.state, delivery.ended_at, delivery.next_attempt_at = DeliveryState.delivered, now, None
        return delivery
    moment = next_attempt(number, began=delivery.created_at, now=now, retry_after=_wait(outcome))
    if moment is None:
        delivery.state, delivery.ended_at, delivery.next_attempt_at = DeliveryState.given_up, now, None
    else:
        delivery.next_attempt_at = moment
        _enqueue_attempt(session, delivery, number=number + 1, delay=(moment - now).total_seconds())
    return delivery


def _wait(outcome: Outcome) -> timedelta | None:
    return None if outcome.retry_after is None else timedelta(seconds=outcome.retry_after)
