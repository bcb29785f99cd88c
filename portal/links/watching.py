"""What happens to a link because nothing happens: its person stops, or its end comes near. Each is told once."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.db import settings_of
from portal.events.kinds import LINK_ABANDONED, LINK_EXPIRING
from portal.events.rules import moment
from portal.links.models import FailedTry, Link
from portal.links.rules import announce_about

BATCH = 200


def tell_abandoned(session: Session, now: datetime) -> bool:
    """Announce links whose person has done nothing for the time of the setting; whether there may be more.

    Safe to repeat, and to do in several processes at once.
    """
    before = now - timedelta(minutes=settings_of(session).abandoned_after)
    due = _due(session, Link.quiet_since, before)
    for link in due:
        if _claim(session, link, Link.quiet_since):
            facts = {
                "openedAt": moment(link.opened_at or link.created_at),
                "lastActionAt": moment(link.quiet_since or now),
                "lastFailure": _last_failure(session, link.id),
            }
            announce_about(session, link, LINK_ABANDONED, facts, now)
    return len(due) == BATCH


def tell_expiring(session: Session, now: datetime) -> bool:
    """Announce links whose last day has begun; whether there may be more. Safe as `tell_abandoned` is."""
    due = _due(session, Link.warn_at, now)
    for link in due:
        if _claim(session, link, Link.warn_at) and link.expires_at > now:
            facts = {"expiresAt": moment(link.expires_at), "opened": link.opened_at is not None}
            announce_about(session, link, LINK_EXPIRING, facts, now)
    return len(due) == BATCH


def _due(session: Session, mark: InstrumentedAttribute[datetime | None], before: datetime) -> list[Link]:
    return list(session.scalars(sa.select(Link).where(mark <= before).order_by(mark).limit(BATCH)))


def _claim(session: Session, link: Link, mark: InstrumentedAttribute[datetime | None]) -> bool:
    # Whoever takes the mark away tells of it: not another process, nor anybody once the person has acted again.
    claimed = session.execute(
        sa.update(Link)
        .where(Link.id == link.id, mark == getattr(link, mark.key))
        .values({mark.key: None})
        .execution_options(synchronize_session=False)
    )
    return bool(claimed.rowcount == 1)  # type: ignore[attr-defined]


def _last_failure(session: Session, link_id: str) -> str | None:
    return session.scalar(
        sa.select(FailedTry.message).where(FailedTry.link_id == link_id).order_by(FailedTry.at.desc()).limit(1)
    )
