"""How it goes: what there is, counted as far as a page may take, and what was finished day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.events.models import Delivery, DeliveryState
from portal.installations.models import Installation, InstallationDay
from portal.links.models import Link, LinkOrigin
from portal.users.models import User

MOST_COUNTED = 5_000  # as far as is counted


@dataclass(frozen=True)
class Counts:
    """How much there is, `MOST_COUNTED` at the most of each."""

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
        pending_deliveries=_count(session, sa.select(Delivery.id).where(Delivery.state == DeliveryState.pending)),
    )


def _count(session: Session, statement: sa.Select[str]) -> int:
    some = statement.limit(MOST_COUNTED).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def installations_by_day(session: Session, now: datetime, days: int = 30) -> list[tuple[date, int]]:
    """How many installations were finished on each of the last days (UTC), the oldest first.

    They were counted as they were finished, so that a busy month costs no more than another, and none is left out.
    """
    first = (now - timedelta(days=days - 1)).date()
    known = sa.select(InstallationDay.day, InstallationDay.finished).where(InstallationDay.day >= first)
    counted = {row.day: row.finished for row in session.execute(known)}
    wanted = [first + timedelta(days=n) for n in range(days)]
    return [(day, counted.get(day, 0)) for day in wanted]
