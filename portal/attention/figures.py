"""How it goes: what there is, counted as far as a page may take, and what was finished day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.events.models import Delivery, DeliveryState
from portal.installations.models import Installation
from portal.links.models import Link, LinkOrigin
from portal.users.models import User

MOST_COUNTED, MOST_A_DAY = 10_000, 1_000  # as far as is counted


@dataclass(frozen=True)
class Counts:
    """How much there is, `MOST_COUNTED` at the most of each; `MOST_A_DAY` of deliveries."""

    users: int
    installations: int
    open_links: int
    pending_deliveries: int


def count_everything(session: Session, now: datetime) -> Counts:
    """Users, installations that stand, links that can be used, deliveries that wait."""
    open_links = sa.select(Link.id).where(
        Link.origin == LinkOrigin.link,
        sa.func.coalesce(Link.finished_at, Link.revoked_at).is_(None),
        Link.expires_at > now,
    )
    return Counts(
        users=_count(session, sa.select(User.id)),
        installations=_count(session, sa.select(Installation.id).where(Installation.removed_at.is_(None))),
        open_links=_count(session, open_links),
        pending_deliveries=_count(
            session, sa.select(Delivery.id).where(Delivery.state == DeliveryState.pending), MOST_A_DAY
        ),
    )


def _count(session: Session, statement: sa.Select[str], most: int = MOST_COUNTED) -> int:
    some = statement.limit(most).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def installations_by_day(session: Session, now: datetime, days: int = 30) -> list[tuple[date, int]]:
    """How many installations were finished on each of the last days (UTC), the oldest first.

    `MOST_A_DAY` at the most of each day, so that a busy month costs no more than that.
    """
    first = (now - timedelta(days=days - 1)).date()
    wanted = [first + timedelta(days=n) for n in range(days)]
    counted = session.execute(sa.select(*(_finished_on(day) for day in wanted))).one()
    return list(zip(wanted, counted, strict=True))


def _finished_on(day: date) -> sa.ScalarSelect[int]:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    some = (
        sa.select(Installation.id)
        .where(Installation.installed_at >= start, Installation.installed_at < start + timedelta(days=1))
        .limit(MOST_A_DAY)
        .subquery()
    )
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()
