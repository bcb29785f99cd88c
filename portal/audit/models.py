"""The table of audit entries. Nothing changes a row, and nothing deletes one within a year: triggers see to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.clock import now
from portal.db import Base
from portal.environments import Environment
from portal.ids import new_id


class AuditEntry(Base):
    """One deed: `actor` in words (an e-mail address), `action` as noun.verb, `subject` what it was done to.

    `environment` is where it was done, None for what concerns both.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        sa.Index("ix_audit_entries_at_id", "at", "id"),
        sa.Index("ix_audit_entries_actor_at_id", "actor", "at", "id"),
        sa.Index("ix_audit_entries_action_at_id", "action", "at", "id"),
        sa.Index("ix_audit_entries_actor_action_at_id", "actor", "action", "at", "id"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(sa.String(255))
    environment: Mapped[Environment | None]
    action: Mapped[str] = mapped_column(sa.String(64))
    subject: Mapped[str] = mapped_column(sa.String(300))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
