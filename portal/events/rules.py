"""How an event is told: stored once, delivered in attempts that are recorded, redelivered on request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.background import Queue, enqueue
from portal.environments import Environment
from portal.events.endpoints import address_of, is_listening, subscribers
from portal.events.errors import EndpointSilent, NoEndpoint, UnknownDelivery, UnknownEvent
from portal.events.kinds import KEPT_ALWAYS, TEST, body_of, trial_body
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Endpoint, Event
from portal.events.payload import write_payload
from portal.events.schedule import next_attempt
from portal.ids import new_id

DELIVERIES = Queue("deliveries", at_once=48, per_partition=12, slower=2)
ANSWER_KEPT = 1024  # bytes of an endpoint's answer


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt. `retry_after` is what the endpoint asked for, in seconds; `headers` is what we sent."""

    at: datetime
    status: int | None
    problem: str | None
    latency_ms: int
    answer: str | None
    retry_after: float | None = None
    headers: Mapping[str, str] | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint took the event."""
        return self.status is not None and 200 <= self.status < 300


def moment(at: datetime) -> str:
    """A moment as payloads write it: ISO 8601 in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def announce(
    session: Session,
    kind: str,
    payload: Mapping[str, Any],
    *,
    environment: Environment,
    now: datetime,
    installation_id: str | None = None,
) -> Event | None:
    """Store an event and enqueue its delivery to each endpoint that takes its kind, in the same transaction.

    What nobody takes isn't stored (None is returned then), except for the documented installation event. Whom it is
    about is read from the payload's `userId`.
    """
    endpoints = subscribers(session, kind, environment)
    if not endpoints and kind not in KEPT_ALWAYS:
        return None
    event = _store(session, kind, body_of(kind, payload), environment, now, installation_id)
    for endpoint in endpoints:
        _start_delivery(session, event, endpoint, now)
    return event


def send_test_event(session: Session, endpoint: Endpoint, kind: str, now: datetime) -> Event:
    """Try an endpoint with an event that acts `kind` out; it is sent once. Raises `EndpointSilent`."""
    if not is_listening(session, endpoint):
        raise EndpointSilent
    event = _store(session, TEST, trial_body(kind), endpoint.environment, now, None)
    _start_delivery(session, event, endpoint, now)
    return event


def _store(
    session: Session,
    kind: str,
    body: Mapping[str, Any],
    environment: Environment,
    now: datetime,
    installation_id: str | None,
) -> Event:
    user_id = body.get("userId")
    event = Event(
        id=new_id(),
        environment=environment,
        type=kind,
        payload=write_payload(dict(body)),
        installation_id=installation_id,
        user_id=user_id if isinstance(user_id, str) else None,
        created_at=now,
    )
    session.add(event)
    return event


def find_event(session: Session, event_id: str) -> Event:
    """The event with this id. Raises `UnknownEvent`."""
    event = session.get(Event, event_id)
    if event is None:
        raise UnknownEvent(event_id)
    return event


def redeliver(session: Session, event_id: str, now: datetime) -> list[Delivery]:
    """Deliver an event again, with the same id and payload, to each endpoint that takes its kind now.

    Raises `UnknownEvent`, `NoEndpoint`.
    """
    event = find_event(session, event_id)
    endpoints = subscribers(session, event.type, event.environment)
    if not endpoints:
        raise NoEndpoint
    return [_start_delivery(session, event, endpoint, now) for endpoint in endpoints]


def redeliver_one(session: Session, delivery_id: str, now: datetime) -> Delivery:
    """Start a delivery anew, to the same endpoint where it is now. Raises `UnknownDelivery`, `EndpointSilent`."""
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:
        raise UnknownDelivery(delivery_id)
    endpoint = delivery.endpoint
    if endpoint is None or not is_listening(session, endpoint):
        raise EndpointSilent
    return _start_delivery(session, delivery.event, endpoint, now)


def _start_delivery(session: Session, event: Event, endpoint: Endpoint, now: datetime) -> Delivery:
    delivery = Delivery(
        id=new_id(),
        environment=event.environment,
        event_id=event.id,
        endpoint_id=endpoint.id,
        type=event.type,
        url=address_of(session, endpoint),
        created_at=now,
        next_attempt_at=now,
    )
    session.add(delivery)
    session.flush()
    _enqueue_attempt(session, delivery, number=1, delay=0)
    return delivery


def restart_delivery(session: Session, delivery_id: str, now: datetime) -> None:
    """Enqueue the next attempt of a pending delivery whose engine record was lost. Safe to repeat within an hour."""
    attempt_now(session, session.get_one(Delivery, delivery_id), why=f"{now:%Y%m%d%H}")


def attempt_now(session: Session, delivery: Delivery, *, why: str) -> None:
    """Enqueue the next attempt of a pending delivery for this moment; once for the same `why`."""
    made = session.scalar(sa.select(sa.func.count()).where(DeliveryAttempt.delivery_id == delivery.id))
    _enqueue_attempt(session, delivery, number=(made or 0) + 1, delay=0, again=f"-{why}")


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
    that is gone or has ended). What an endpoint says about a user who was deleted is not kept.
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
            answer=outcome.answer if _may_keep_answers(session, delivery.event) else None,
            headers=dict(outcome.headers) if outcome.headers else None,
        )
    )
    if outcome.is_success:
        delivery.state, delivery.ended_at, delivery.next_attempt_at = DeliveryState.delivered, now, None
        return delivery
    due = None
    if delivery.type != TEST:  # which somebody is watching
        due = next_attempt(number, began=delivery.created_at, now=now, retry_after=_wait(outcome))
    if due is None:
        delivery.state, delivery.ended_at, delivery.next_attempt_at = DeliveryState.given_up, now, None
    else:
        delivery.next_attempt_at = due
        _enqueue_attempt(session, delivery, number=number + 1, delay=(due - now).total_seconds())
    return delivery


def _may_keep_answers(session: Session, event: Event) -> bool:
    if event.user_id is None:
        return True
    # By name: users know events, and not the other way round. Held, so that who deletes the user meanwhile waits.
    users = sa.table("users", sa.column("id"))
    held = sa.select(users.c.id).where(users.c.id == event.user_id).with_for_update(read=True, key_share=True)
    return session.scalar(held) is not None


def forget_answers(session: Session, user_id: str) -> None:
    """Forget what endpoints answered to events about a user, once the user is deleted: it may repeat what they got."""
    theirs = sa.select(Delivery.id).join(Event).where(Event.user_id == user_id)
    session.execute(
        sa.update(DeliveryAttempt)
        .where(DeliveryAttempt.delivery_id.in_(theirs), DeliveryAttempt.answer.is_not(None))
        .values(answer=None)
        .execution_options(synchronize_session=False)
    )


def _wait(outcome: Outcome) -> timedelta | None:
    return None if outcome.retry_after is None else timedelta(seconds=outcome.retry_after)
