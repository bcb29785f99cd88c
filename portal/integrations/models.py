"""The tables of integrations and their versions; each apply that changes something adds a version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base
from portal.ids import new_id
from portal.workflows.models import Workflow


class Integration(Base):
    """One or more apps plus the vendor's workflows for them. `declaration` is the file as it was applied last."""

    __tablename__ = "integrations"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(120), unique=True)
    version: Mapped[int] = mapped_column(default=1)
    apps: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)

    workflows: Mapped[list[Workflow]] = relationship(
        order_by=Workflow.position,
        primaryjoin="and_(Workflow.integration_id == Integration.id, Workflow.retired_at.is_(None))",
    )


class IntegrationVersion(Base):
    """What was applied, as data; read-only once written."""

    __tablename__ = "integration_versions"
    __table_args__ = (sa.UniqueConstraint("integration_id", "number"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    integration_id: Mapped[str] = mapped_column(sa.ForeignKey("integrations.id", ondelete="CASCADE"))
    number: Mapped[int]
    declaration: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
