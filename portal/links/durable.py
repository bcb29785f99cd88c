"""Chores about links: telling of those that stand still or end soon, forgetting those that nobody will use."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from portal.background import hourly, minutely
from portal.clock import now
from portal.db import settings_of, transaction
from portal.links.models import Link, LinkOrigin
from portal.links.watching import tell_abandoned, tell_expiring

KEPT = timedelta(days=1)
AT_ONCE = 1000


@hourly
def forget_unused_windows() -> None:
    """Delete links of modals and headless installations that ended a day ago without a finish."""
    _forget(Link.origin != LinkOrigin.link, Link.expires_at < now() - KEPT)


@hourly
def forget_old_links() -> None:
    """Delete links that ended without a finish, as many days ago as the setting says."""
    with transaction() as session:
        before = now() - timedelta(days=settings_of(session).link_days)
    _forget(sa.or_(Link.expires_at < before, Link.revoked_at < before))


def _forget(*which: sa.ColumnElement[bool]) -> None:
    """In small batches, so that nobody waits for long. What was finished stays: its installation tells of it."""
    unused = sa.select(Link.id).where(Link.finished_at.is_(None), *which).limit(AT_ONCE)
    while True:
        with transaction() as session:
            ids = list(session.scalars(unused))
            session.execute(sa.delete(Link).where(Link.id.in_(ids)).execution_options(synchronize_session=False))
        if len(ids) < AT_ONCE:
            return


@minutely
def tell_of_links() -> None:
    """Announce, batch by batch, what was abandoned and what ends soon."""
    for tell in (tell_abandoned, tell_expiring):
        is_more = True
        while is_more:
            with transaction() as session:
                is_more = tell(session, now())
