"""The table of calls that came with an `Idempotency-Key`."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.clock import now
from portal.db import Base, InEnvironment
from portal.ids import new_id


class IdempotentCall(InEnvironment, Base):
    """One call; its answer is sealed, because an answer may hold a link. No answer: it is still under way."""

    __tablename__ = "idempotent_calls"
    __table_args__ = (sa.UniqueConstraint("environment", "key_hash"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    key_hash: Mapped[str] = mapped_column(sa.String(64))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    status: Mapped[int | None]
    sealed: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
