"""The table of end users."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, column_property, mapped_column

from portal.clock import now
from portal.db import Base, InEnvironment
from portal.ids import new_id


class User(InEnvironment, Base):
    """One customer of the vendor's, known by `username` (often an e-mail address)."""

    __tablename__ = "users"
    __table_args__ = (
        sa.UniqueConstraint("environment", "username"),
        sa.Index("ix_users_environment_created_at_id", "environment", "created_at", "id"),
        sa.Index("ix_users_environment_small_username_id", "environment", sa.text("lower(username)"), "id"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    # In the order of its characters, so that an index finds names by their beginning, whatever the language.
    username: Mapped[str] = mapped_column(sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql"))
    full_name: Mapped[str | None] = mapped_column(sa.String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)

    # What users are found and sorted by. Both databases know the capitals of ASCII here, and those alone.
    small_username: Mapped[str] = column_property(sa.func.lower(username), deferred=True)
