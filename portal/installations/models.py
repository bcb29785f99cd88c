"""The tables of installations, and of how many there were each day."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.credentials.models import InstallationCredential
from portal.db import Base, InEnvironment, partial_index
from portal.environments import Environment
from portal.ids import new_id
from portal.integrations.models import Integration
from portal.users.models import User
from portal.workflows.models import ChildWorkflow


class Installation(InEnvironment, Base):
    """One user's installed integration. `link_id` is unique: one link makes at most one installation."""

    __tablename__ = "installations"
    __table_args__ = (
        sa.Index("ix_installations_environment_installed_at_id", "environment", "installed_at", "id"),
        sa.Index("ix_installations_of_user", "user_id", "removed_at", "installed_at", "id"),
        # One for each order that a list of what stands can have, with and without a state and an integration.
        # `removed_at` stands in it, so that SQLite needs no row to count what stands.
        *(
            partial_index(
                f"ix_installations_{name}",
                "removed_at IS NULL",
                *("environment", *more, "installed_at", "id", "removed_at"),
            )
            for name, more in (
                ("standing", ()),
                ("state", ("is_enabled",)),
                ("integration", ("integration_id",)),
                ("integration_state", ("integration_id", "is_enabled")),
            )
        ),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    integration_id: Mapped[str] = mapped_column(sa.ForeignKey("integrations.id"))
    link_id: Mapped[str | None] = mapped_column(sa.ForeignKey("links.id"), unique=True)
    is_enabled: Mapped[bool] = mapped_column(default=True)
    installed_at: Mapped[datetime] = mapped_column(default=now)
    removed_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()
    integration: Mapped[Integration] = relationship()
    children: Mapped[list[ChildWorkflow]] = relationship(order_by=ChildWorkflow.created_at)
    credentials: Mapped[list[InstallationCredential]] = relationship(order_by=InstallationCredential.app)


class InstallationDay(InEnvironment, Base):
    """How many installations were finished on one day (UTC); kept when they are gone."""

    __tablename__ = "installation_days"

    environment: Mapped[Environment] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    finished: Mapped[int] = mapped_column(default=0)
