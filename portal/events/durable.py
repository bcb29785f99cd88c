"""Delivery that survives a crash: one short workflow an attempt, the next one enqueued with its delay."""

from __future__ import annotations

import time
from datetime import timedelta

import sqlalchemy as sa
import structlog
from flask import current_app
from sqlalchemy.orm import joinedload

from portal.background import durable, hourly, patiently, step
from portal.clock import now
from portal.db import settings_of, transaction
from portal.environments import Environment
from portal.events.models import Delivery, DeliveryState, Event
from portal.events.rules import ANSWER_KEPT, DELIVERIES, Outcome, is_due, record_attempt, restart_delivery
from portal.events.schedule import read_retry_after
from portal.events.signing import sign
from portal.http import NoAnswer, Outbound, Problem, Request
from portal.keys.ring import KeyRing

log = structlog.get_logger(__name__)

OVERDUE = timedelta(minutes=15)
AT_ONCE = 500


@durable(DELIVERIES)
def deliver(delivery_id: str, number: int) -> None:
    """One attempt to hand an event to its endpoint."""
    make_attempt(delivery_id, number)


@step
def make_attempt(delivery_id: str, number: int) -> None:
    """Send the payload as it was stored, and keep what came of it, unless there is nothing to deliver any more.

    One step, because the engine keeps what steps give: what an endpoint answered is kept where it can be forgotten.
    An attempt that is recorded isn't made again; one that a crash cut off is.
    """
    with transaction() as session:
        delivery = session.get(Delivery, delivery_id, options=[joinedload(Delivery.event)])
        if delivery is None or not is_due(session, delivery, number):
            return
    outcome = _send(delivery)
    # The endpoint isn't asked again because our database is busy.
    patiently(lambda: _record(delivery_id, number, outcome))


def _send(delivery: Delivery) -> Outcome:
    keys: KeyRing = current_app.extensions["keys"]
    outbound: Outbound = current_app.extensions["outbound"]
    at = now()
    body = delivery.event.payload
    headers = sign(keys, url=delivery.url, body=body, event_id=delivery.event_id, at=at)
    start = time.monotonic()
    try:
        answer = outbound.send(Request("POST", delivery.url, headers, body.encode()), trusted=True, largest=ANSWER_KEPT)
    except NoAnswer as silence:
        return Outcome(at, None, str(silence.problem), _ms(start), None, headers=headers)
    except Exception as error:
        # Whatever the endpoint sent to cause it: repeating the step would only post to it again and again.
        log.error("delivery attempt failed", delivery=delivery.id, kind=type(error).__name__)  # noqa: TRY400
        return Outcome(at, None, str(Problem.broken), _ms(start), None, headers=headers)
    wait = read_retry_after(answer.headers, now())
    return Outcome(
        at=at,
        status=answer.status,
        problem=None,
        latency_ms=_ms(start),
        answer=answer.body.decode("utf-8", "replace").replace("\0", "\ufffd"),
        retry_after=wait.total_seconds() if wait is not None else None,
        headers=headers,
    )


def _record(delivery_id: str, number: int, outcome: Outcome) -> None:
    with transaction() as session:
        delivery = record_attempt(session, delivery_id, number, outcome, now())
    if delivery is not None and delivery.state is DeliveryState.given_up:
        log.warning("delivery given up", delivery=delivery_id, event_id=delivery.event_id, attempts=number)


def _ms(start: float) -> int:
    return round((time.monotonic() - start) * 1000)


@hourly
def take_up_what_was_dropped() -> None:
    """Enqueue again each delivery whose attempt is overdue by far: its workflow ended in a fault of ours."""
    at = now()
    overdue = sa.select(Delivery.id).where(
        Delivery.environment.in_(list(Environment)),  # an index leads to a state of an environment
        Delivery.state == DeliveryState.pending,
        Delivery.next_attempt_at < at - OVERDUE,
    )
    with transaction() as session:
        for delivery_id in session.scalars(overdue.limit(1000)):
            restart_delivery(session, delivery_id, at)


@hourly
def forget_old_events() -> None:
    """Delete, in small batches, events that are older than the setting says, with their deliveries; none that waits."""
    with transaction() as session:
        before = now() - timedelta(days=settings_of(session).event_days)
    waits = sa.exists().where(Delivery.event_id == Event.id, Delivery.state == DeliveryState.pending)
    old = sa.select(Event.id).where(Event.created_at < before, ~waits).limit(AT_ONCE)
    while True:
        with transaction() as session:
            ids = list(session.scalars(old))
            session.execute(sa.delete(Event).where(Event.id.in_(ids)).execution_options(synchronize_session=False))
        if len(ids) < AT_ONCE:
            return
