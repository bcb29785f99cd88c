"""Chores about links: windows of vendors' pages leave links behind that nobody will use."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from portal.background import hourly
from portal.clock import now
from portal.db import transaction
from portal.links.models import Link, LinkOrigin

KEPT = timedelta(days=1)
AT_ONCE = 1000


@hourly
def forget_unused_windows() -> None:
    """Delete, in small batches, links of modals and headless installations that ended a day ago without a finish."""
    unused = (
        sa.select(Link.id)
        .where(Link.origin != LinkOrigin.link, Link.finished_at.is_(None), Link.expires_at < now() - KEPT)
        .limit(AT_ONCE)
    )
    while True:
        with transaction() as session:
            ids = list(session.scalars(unused))
            session.execute(sa.delete(Link).where(Link.id.in_(ids)).execution_options(synchronize_session=False))
        if len(ids) < AT_ONCE:
            return
