"""Chores about credentials: drafts die with their link, also when nobody comes back to it."""

from __future__ import annotations

import sqlalchemy as sa

from portal.background import hourly
from portal.clock import now
from portal.credentials.models import Credential
from portal.db import transaction
from portal.links.models import Link


@hourly
def forget_dead_drafts() -> None:
    """Delete the drafts of links that are finished, revoked or expired."""
    dead = sa.select(Link.id).where(
        sa.or_(Link.finished_at.is_not(None), Link.revoked_at.is_not(None), Link.expires_at <= now())
    )
    with transaction() as session:
        session.execute(
            sa.delete(Credential).where(Credential.link_id.in_(dead)).execution_options(synchronize_session=False)
        )
