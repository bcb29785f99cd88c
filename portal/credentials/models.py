"""The tables of credentials and of which installation uses which. A draft is bound to its link and dies with it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base, InEnvironment, partial_index
from portal.ids import new_id


class Credential(InEnvironment, Base):
    """Sealed values of one user for one app; `link_id` is set while it is a draft of that link."""

    __tablename__ = "credentials"
    __table_args__ = (
        sa.UniqueConstraint("link_id", "app"),  # at most one draft for an app of a link
        sa.Index("ix_credentials_user_id_app", "user_id", "app"),
        partial_index("ix_credentials_environment_broken_at", "broken_at IS NOT NULL", "environment", "broken_at"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    app: Mapped[str] = mapped_column(sa.String(64))
    account: Mapped[str] = mapped_column(sa.String(255))  # the provider's name for whose it is
    sealed: Mapped[bytes]
    link_id: Mapped[str | None] = mapped_column(sa.ForeignKey("links.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    tested_at: Mapped[datetime] = mapped_column(default=now)
    broken_at: Mapped[datetime | None]  # since when the provider refuses it
    broken_because: Mapped[str | None] = mapped_column(sa.String(500))

    @property
    def is_draft(self) -> bool:
        """Whether it still waits for its link to be finished."""
        return self.link_id is not None


class InstallationCredential(Base):
    """Which credential an installation uses for which app."""

    __tablename__ = "installation_credentials"

    installation_id: Mapped[str] = mapped_column(
        sa.ForeignKey("installations.id", ondelete="CASCADE"), primary_key=True
    )
    app: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    credential_id: Mapped[str] = mapped_column(sa.ForeignKey("credentials.id"), index=True)

    credential: Mapped[Credential] = relationship()
