"""Delivering again all that failed since a time: after an endpoint was down for longer than anybody waits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from portal.events.endpoints import is_listening
from portal.events.errors import BadSince
from portal.events.kinds import TEST
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState
from portal.events.rules import attempt_now, redeliver_one
from portal.tasks.models import Task
from portal.tasks.rules import long_work, start_task

BATCH = 100
REDELIVER = "events.redeliver"
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Failures:
    """Which deliveries: begun from `since` until `until`, of one endpoint or (None) of all."""

    since: datetime
    until: datetime
    endpoint_id: str | None = None

    def condition(self) -> sa.ColumnElement[bool]:
        """Given up, or failed and waiting for the next attempt; unless the same was delivered anew afterwards."""
        newer = aliased(Delivery)
        followed = sa.exists().where(
            newer.event_id == Delivery.event_id,
            newer.endpoint_id == Delivery.endpoint_id,
            newer.created_at > Delivery.created_at,
        )
        has_failed = sa.exists().where(DeliveryAttempt.delivery_id == Delivery.id)
        return sa.and_(
            Delivery.state.in_([DeliveryState.given_up, DeliveryState.pending]),
            Delivery.created_at >= self.since,
            Delivery.created_at < self.until,
            Delivery.endpoint_id == self.endpoint_id if self.endpoint_id else Delivery.endpoint_id.is_not(None),
            Delivery.type != TEST,
            sa.or_(Delivery.state == DeliveryState.given_up, has_failed),
            ~followed,
        )


def parse_since(text: str, now: datetime) -> datetime:
    """Read `90m`, `12h`, `5d`, or a date with or without a time (UTC unless it says otherwise). Raises `BadSince`."""
    if span := re.fullmatch(r"\s*(\d{1,4})\s*([mhd])\s*", text, re.ASCII):
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadSince from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def count_failures(session: Session, failures: Failures) -> int:
    """How many deliveries there are to do again."""
    counted = sa.select(sa.func.count()).select_from(Delivery).where(failures.condition())
    return session.scalar(counted) or 0


def redeliver_some(
    session: Session, failures: Failures, place: tuple[datetime, str] | None, now: datetime, *, why: str
) -> tuple[list[Delivery], int]:
    """Do the next `BATCH` after `place` again; those that were looked at, and how many of them could be.

    What was given up starts anew; what waits is tried at once. An endpoint that is paused or gone gets nothing.
    Safe to repeat with the same `why`.
    """
    statement = (
        sa.select(Delivery)
        .where(failures.condition())
        .options(joinedload(Delivery.endpoint), joinedload(Delivery.event))
    )
    if place is not None:
        at, row_id = (sa.literal(place[0], Delivery.created_at.type), sa.literal(place[1]))
        statement = statement.where(sa.tuple_(Delivery.created_at, Delivery.id) > sa.tuple_(at, row_id))
    found = list(session.scalars(statement.order_by(Delivery.created_at, Delivery.id).limit(BATCH)))
    started = 0
    for delivery in found:
        if not is_listening(session, delivery.endpoint):
            continue
        if delivery.state is DeliveryState.pending:
            attempt_now(session, delivery, why=why)
        else:
            redeliver_one(session, delivery.id, now)
        started += 1
    return found, started


def start_redelivery(
    session: Session, *, since: datetime, endpoint_id: str | None, title: str, asked_by: str, now: datetime
) -> Task:
    """Do all of it again in the background."""
    params: Mapping[str, Any] = {"since": since.isoformat(), "endpoint": endpoint_id}
    return start_task(session, REDELIVER, title=title, asked_by=asked_by, now=now, params=params)


@long_work(REDELIVER, needs="member")
def redeliver_batch(session: Session, task: Task, now: datetime) -> bool:
    """One batch of the background work."""
    failures = Failures(datetime.fromisoformat(task.params["since"]), task.created_at, task.params["endpoint"])
    if task.total is None:
        task.total = count_failures(session, failures)
    cursor = task.cursor
    place = (datetime.fromisoformat(cursor["at"]), str(cursor["id"])) if cursor else None
    found, started = redeliver_some(session, failures, place, now, why=task.id)
    started += cursor.get("started", 0)
    task.done += len(found)
    if found:
        task.cursor = {"at": found[-1].created_at.isoformat(), "id": found[-1].id, "started": started}
    task.outcome = _said(task.done, started)
    return len(found) == BATCH


def _said(looked_at: int, started: int) -> str:
    if looked_at == 0:
        return "Nothing has failed since then."
    said = f"Deliveries on their way again: {started}."
    if looked_at > started:
        said += f" Left, because their endpoint is paused or has no address: {looked_at - started}."
    return said
