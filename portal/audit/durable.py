"""The chore that forgets what is older than the audit log is to go back; the database refuses all other deleting."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from portal.audit.models import AuditEntry
from portal.background import hourly
from portal.clock import now
from portal.db import settings_of, transaction

AT_ONCE = 500


@hourly
def forget_old_entries() -> None:
    """Delete, in small batches, entries that are older than the setting says; by default it says nothing."""
    with transaction() as session:
        days = settings_of(session).audit_days
    if not days:
        return
    old = sa.select(AuditEntry.id).where(AuditEntry.at < now() - timedelta(days=days)).limit(AT_ONCE)
    while True:
        with transaction() as session:
            ids = list(session.scalars(old))
            gone = sa.delete(AuditEntry).where(AuditEntry.id.in_(ids))
            session.execute(gone.execution_options(synchronize_session=False))
        if len(ids) < AT_ONCE:
            return
