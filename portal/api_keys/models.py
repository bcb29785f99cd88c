"""The table of API keys. The key itself isn't kept."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.clock import now
from portal.db import Base, InEnvironment
from portal.ids import new_id


class ApiKey(InEnvironment, Base):
    """One key; `prefix` is its visible beginning, for recognising it."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(120))
    prefix: Mapped[str] = mapped_column(sa.String(32))
    key_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
