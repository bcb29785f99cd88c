"""How a deed is written down."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from portal.audit.models import AuditEntry
from portal.environments import Environment


def write_down(
    session: Session,
    action: str,
    subject: str,
    *,
    actor: str,
    environment: Environment | None,
    now: datetime,
    **details: str | int | bool | None,
) -> None:
    """Add an entry, in the transaction of the deed itself: either both happen or neither."""
    session.add(
        AuditEntry(
            at=now, actor=actor, environment=environment, action=action, subject=subject[:300], details=dict(details)
        )
    )
