"""Chores about links: nobody will use what windows of vendors' pages leave behind, and links that ended long ago."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from portal.background import hourly
from portal.clock import now
from portal.db import settings_of, transaction
from portal.links.models import Link, LinkOrigin

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
