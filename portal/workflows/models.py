"""The tables of parent workflows, their versions, and the children that users run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base, InEnvironment, partial_index
from portal.ids import new_id
from portal.workflows.fields import fields_of


class Workflow(Base):
    """A parent: named by the vendor, told to end users in `description`. Retired when its integration drops it."""

    __tablename__ = "workflows"
    __table_args__ = (sa.UniqueConstraint("integration_id", "name"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    integration_id: Mapped[str] = mapped_column(sa.ForeignKey("integrations.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(sa.String(120))
    description: Mapped[str] = mapped_column(sa.String(300))
    position: Mapped[int]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    retired_at: Mapped[datetime | None]

    newest: Mapped[WorkflowVersion] = relationship(
        primaryjoin="and_(Workflow.id == WorkflowVersion.workflow_id, Workflow.version == WorkflowVersion.number)",
        viewonly=True,
        uselist=False,
    )

    @property
    def field_names(self) -> list[str]:
        """The names of the configurable fields of its newest version."""
        return [field.name for field in fields_of(self.newest.definition)]


class WorkflowVersion(Base):
    """One published version of a parent (trigger, steps, fields as data); read-only once written."""

    __tablename__ = "workflow_versions"
    __table_args__ = (sa.UniqueConstraint("workflow_id", "number"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    workflow_id: Mapped[str] = mapped_column(sa.ForeignKey("workflows.id", ondelete="CASCADE"))
    number: Mapped[int]
    definition: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class ChildWorkflow(InEnvironment, Base):
    """One user's copy of one version of a parent; `values` are what was set for its configurable fields.

    `output_override` is what the vendor's page gave to replace outputs of steps with. A child that is paused keeps
    what comes until it goes on; one that isn't active takes nothing.
    """

    __tablename__ = "child_workflows"
    __table_args__ = (
        sa.UniqueConstraint("installation_id", "workflow_id"),
        partial_index(
            "ix_child_workflows_version", "removed_at IS NULL", "environment", "version_id", "id", "removed_at"
        ),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    installation_id: Mapped[str] = mapped_column(sa.ForeignKey("installations.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    workflow_id: Mapped[str] = mapped_column(sa.ForeignKey("workflows.id"), index=True)
    version_id: Mapped[str] = mapped_column(sa.ForeignKey("workflow_versions.id"))
    definition: Mapped[dict[str, Any]]
    values: Mapped[dict[str, Any]] = mapped_column(default=dict)
    output_override: Mapped[list[Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    removed_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_because: Mapped[str | None] = mapped_column(sa.String(500))
    runs_made: Mapped[int] = mapped_column(default=0)

    workflow: Mapped[Workflow] = relationship()
    version: Mapped[WorkflowVersion] = relationship()
