"""The table of API keys. The key itself isn't kept."""

from __future__ import annotations

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.clock import now
from portal.db import Base, InEnvironment, partial_index
from portal.ids import new_id


class ApiKeyState(enum.StrEnum):
    """Whether a key can be used."""

    in_use = "in_use"
    revoked = "revoked"


class ApiKey(InEnvironment, Base):
    """One key; `prefix` is its visible beginning, for recognising it."""

    __tablename__ = "api_keys"
    __table_args__ = (
        sa.Index("ix_api_keys_environment_created_at_id", "environment", "created_at", "id"),
        sa.Index("ix_api_keys_environment_name_id", "environment", "name", "id"),
        partial_index("ix_api_keys_in_use", "revoked_at IS NULL", "environment", "created_at", "id"),
        partial_index("ix_api_keys_revoked", "revoked_at IS NOT NULL", "environment", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(120))
    prefix: Mapped[str] = mapped_column(sa.String(32))
    key_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
