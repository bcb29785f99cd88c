"""Deliveries that fail, and how many of them do at each endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from portal.attention.bounds import LOOK_BACK, LOOKED_AT, MOST
from portal.events.kinds import TEST
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState

MOST_FAILING = 100  # deliveries to an endpoint, in a state, that are looked at


def failing_deliveries(session: Session, now: datetime) -> list[Delivery]:
    """Deliveries that were given up lately, newest first, then those that wait for another attempt, oldest first."""
    newest, oldest = Delivery.created_at.desc(), Delivery.created_at.asc()
    given_up = _first_failing(session, DeliveryState.given_up, newest, now, sa.true())
    return [*given_up, *_first_failing(session, DeliveryState.pending, oldest, now, _was_tried())][:MOST]


def _first_failing(
    session: Session,
    state: DeliveryState,
    order: sa.UnaryExpression[datetime],
    now: datetime,
    failed: sa.ColumnElement[bool],
) -> Sequence[Delivery]:
    """Among the first deliveries of a state, those that failed and weren't sent anew since; the others aren't read."""
    lately = sa.select(Delivery.id).where(Delivery.state == state, Delivery.created_at > now - LOOK_BACK)
    some = lately.order_by(order).limit(LOOKED_AT).subquery()
    fail = (
        sa.select(Delivery.id)
        .join(some, some.c.id == Delivery.id)
        .where(Delivery.type != TEST, ~_is_followed(), failed)
        .order_by(order)
        .limit(MOST)
    )
    whole = (joinedload(Delivery.event), joinedload(Delivery.endpoint))
    return session.scalars(sa.select(Delivery).where(Delivery.id.in_(fail)).options(*whole).order_by(order)).all()


def _was_tried() -> sa.ColumnElement[bool]:
    return sa.exists().where(DeliveryAttempt.delivery_id == Delivery.id)


def _is_followed() -> sa.ColumnElement[bool]:
    """The condition that the same event was delivered to the same endpoint anew."""
    newer = aliased(Delivery)
    return sa.exists().where(
        newer.event_id == Delivery.event_id,
        newer.endpoint_id.is_not_distinct_from(Delivery.endpoint_id),
        newer.created_at > Delivery.created_at,
    )


@dataclass(frozen=True)
class Failing:
    """How many deliveries to an endpoint fail, and whether there may be more than were looked at."""

    number: int
    are_more: bool


def count_failing(session: Session, endpoint_ids: Sequence[str], now: datetime) -> dict[str, Failing]:
    """How many deliveries to each of these endpoints fail: of real events, and not when they arrived later.

    Of each it looks at the newest `MOST_FAILING` that were given up and at as many of those that wait the longest, so
    that a long outage costs no more than a short one.
    """
    return {one: _failing_to(session, one, now) for one in endpoint_ids}


def _failing_to(session: Session, endpoint_id: str, now: datetime) -> Failing:
    number, are_more = 0, False
    for state, order, failed in (
        (DeliveryState.given_up, Delivery.created_at.desc(), sa.true()),
        (DeliveryState.pending, Delivery.created_at.asc(), _was_tried()),
    ):
        some = (
            sa.select(Delivery.id)
            .where(Delivery.endpoint_id == endpoint_id, Delivery.state == state, Delivery.created_at > now - LOOK_BACK)
            .order_by(order)
            .limit(MOST_FAILING)
            .subquery()
        )
        fails = sa.case((sa.and_(Delivery.type != TEST, ~_is_followed(), failed), 1))
        counted = sa.select(sa.func.count(), sa.func.count(fails)).select_from(Delivery)
        looked_at, failing = session.execute(counted.join(some, some.c.id == Delivery.id)).one()
        number, are_more = number + failing, are_more or looked_at == MOST_FAILING
    return Failing(number, are_more)
