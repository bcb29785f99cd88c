"""The tables of links and of the tries that failed on them. The row decides what a link may still do."""

from __future__ import annotations

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base
from portal.environments import Environment
from portal.ids import new_id
from portal.integrations.models import Integration
from portal.users.models import User


class LinkState(enum.StrEnum):
    """How far a link has come, or how it ended."""

    created = "created"
    opened = "opened"
    verified = "verified"
    finished = "finished"
    revoked = "revoked"
    expired = "expired"


class Link(Base):
    """What was promised with a link, and when each step of its funnel was reached. The token itself isn't kept."""

    __tablename__ = "links"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    environment: Mapped[Environment]
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    integration_id: Mapped[str] = mapped_column(sa.ForeignKey("integrations.id"), index=True)
    always_show_credentials: Mapped[bool] = mapped_column(default=True)
    redirect_url: Mapped[str | None] = mapped_column(sa.String(2000))
    workflow_ids: Mapped[list[str] | None] = mapped_column(sa.JSON)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    expires_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    passed_on_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    finished_by: Mapped[str | None] = mapped_column(sa.String(64))  # which press of the button finished it

    user: Mapped[User] = relationship()
    integration: Mapped[Integration] = relationship()

    def state(self, at: datetime) -> LinkState:
        """The link's state at the moment `at`: how it ended, else the furthest step reached."""
        if self.finished_at:
            return LinkState.finished
        if self.revoked_at:
            return LinkState.revoked
        if self.expires_at <= at:
            return LinkState.expired
        if self.verified_at:
            return LinkState.verified
        return LinkState.opened if self.opened_at else LinkState.created


class FailedTry(Base):
    """One try to connect an app that its provider (or the way to it) refused, in words, never with a secret."""

    __tablename__ = "failed_tries"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    link_id: Mapped[str] = mapped_column(sa.ForeignKey("links.id", ondelete="CASCADE"))
    app: Mapped[str] = mapped_column(sa.String(64))
    field: Mapped[str | None] = mapped_column(sa.String(64))
    reason: Mapped[str] = mapped_column(sa.String(32))
    message: Mapped[str] = mapped_column(sa.String(500))
    at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (sa.Index("ix_failed_tries_link_id_at", "link_id", "at"),)
