"""The tables of long work and of the files that it leaves behind, which are kept in parts."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from portal.clock import now
from portal.db import Base, InEnvironment
from portal.ids import new_id


class TaskState(enum.StrEnum):
    """Where a piece of long work stands."""

    waiting = "waiting"
    running = "running"
    done = "done"
    failed = "failed"


class Task(InEnvironment, Base):
    """One piece of long work: who asked for what, how far it is, what came of it."""

    __tablename__ = "tasks"
    __table_args__ = (
        sa.Index("ix_tasks_environment_asked_by_created_at_id", "environment", "asked_by", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(sa.String(64))
    title: Mapped[str] = mapped_column(sa.String(300))
    asked_by: Mapped[str] = mapped_column(sa.String(255))
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cursor: Mapped[dict[str, Any]] = mapped_column(default=dict)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    state: Mapped[TaskState] = mapped_column(default=TaskState.waiting)
    outcome: Mapped[str | None] = mapped_column(sa.String(500))
    error: Mapped[str | None] = mapped_column(sa.String(500))
    file_name: Mapped[str | None] = mapped_column(sa.String(120))
    content_type: Mapped[str | None] = mapped_column(sa.String(120))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    ended_at: Mapped[datetime | None]

    @property
    def is_under_way(self) -> bool:
        """Whether there is something to wait for."""
        return self.state in (TaskState.waiting, TaskState.running)


class TaskPart(Base):
    """A part of the file that a piece of long work leaves behind; the parts in their order are the file."""

    __tablename__ = "task_parts"

    task_id: Mapped[str] = mapped_column(sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(sa.Text)
