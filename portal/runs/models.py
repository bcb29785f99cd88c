"""The tables of runs, of what each step did, of what was counted, and of the items that were seen."""

from __future__ import annotations

import enum
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base, InEnvironment, partial_index
from portal.ids import new_id
from portal.users.models import User
from portal.workflows.models import ChildWorkflow, Workflow


class RunState(enum.StrEnum):
    """Where a run stands."""

    queued = "queued"
    running = "running"
    retrying = "retrying"  # a step failed, and is tried again
    waiting = "waiting"  # at a `delay`
    paused = "paused"  # its credential is refused
    succeeded = "succeeded"
    filtered = "filtered"  # a filter ended it
    failed = "failed"
    cancelled = "cancelled"


# What keeps the next item of a child from running: items run in their order.
BLOCKING = (RunState.queued, RunState.running, RunState.retrying, RunState.paused)
UNFINISHED = (*BLOCKING, RunState.waiting)


class Run(InEnvironment, Base):
    """One run. `number` counts within its child; `leg` is the part of it that is enqueued or under way.

    Questions to the database ask for `ended_at` and not for a list of states: SQLite 3.40, told that an index is
    large, answers an EXISTS over such a list with a range behind it wrongly.

    `sealed_item` is the trigger item and `sealed_memory` what the steps gave so far, both sealed for this row.
    `progress` counts finished steps: whoever finishes a step must have found it unchanged.
    """

    __tablename__ = "runs"
    __table_args__ = (
        sa.UniqueConstraint("child_id", "number"),
        partial_index("ix_runs_unfinished", "ended_at IS NULL", "child_id", "number"),
        sa.Index("ix_runs_environment_created_at_id", "environment", "created_at", "id"),
        sa.Index("ix_runs_environment_workflow_id_created_at_id", "environment", "workflow_id", "created_at", "id"),
        sa.Index(
            "ix_runs_environment_workflow_id_state_created_at_id",
            "environment",
            "workflow_id",
            "state",
            "created_at",
            "id",
        ),
        sa.Index("ix_runs_environment_state_created_at_id", "environment", "state", "created_at", "id"),
        sa.Index("ix_runs_user_id_created_at_id", "user_id", "created_at", "id"),
        sa.Index("ix_runs_user_id_state_created_at_id", "user_id", "state", "created_at", "id"),
        sa.Index("ix_runs_user_id_workflow_id_created_at_id", "user_id", "workflow_id", "created_at", "id"),
        sa.Index(
            "ix_runs_user_id_workflow_id_state_created_at_id", "user_id", "workflow_id", "state", "created_at", "id"
        ),
        partial_index("ix_runs_rerun_of", "rerun_of IS NOT NULL", "rerun_of"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    child_id: Mapped[str] = mapped_column(sa.ForeignKey("child_workflows.id", ondelete="CASCADE"))
    workflow_id: Mapped[str] = mapped_column(sa.ForeignKey("workflows.id"))
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    version: Mapped[int]
    number: Mapped[int]
    trigger: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[RunState] = mapped_column(default=RunState.queued)
    sealed_item: Mapped[bytes | None]
    sealed_memory: Mapped[bytes | None]
    rerun_of: Mapped[str | None] = mapped_column(sa.String(24))
    leg: Mapped[int] = mapped_column(default=1)
    is_parked: Mapped[bool] = mapped_column(default=False)
    progress: Mapped[int] = mapped_column(default=0)
    actions: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)  # at the present step
    failing_since: Mapped[datetime | None]  # without attempts: since when there was no place for the first
    next_at: Mapped[datetime | None]  # when it goes on, while retrying or waiting
    error: Mapped[str | None] = mapped_column(sa.String(1000))
    error_block: Mapped[str | None] = mapped_column(sa.String(120))
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    child: Mapped[ChildWorkflow] = relationship()
    workflow: Mapped[Workflow] = relationship()
    user: Mapped[User] = relationship()
    steps: Mapped[list[RunStep]] = relationship(order_by="RunStep.started_at, RunStep.number")

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens in it."""
        return self.ended_at is not None


class RunStep(Base):
    """What one step did. `input` and `output` are masked JSON, cut at a stated size (`runs.masking`)."""

    __tablename__ = "run_steps"
    __table_args__ = (sa.UniqueConstraint("run_id", "path"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(sa.ForeignKey("runs.id", ondelete="CASCADE"))
    number: Mapped[int]
    path: Mapped[str] = mapped_column(sa.String(64))
    block_id: Mapped[str] = mapped_column(sa.String(24))
    name: Mapped[str] = mapped_column(sa.String(120))
    kind: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[RunState]
    attempts: Mapped[int] = mapped_column(default=1)
    started_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    input: Mapped[str | None] = mapped_column(sa.Text)
    output: Mapped[str | None] = mapped_column(sa.Text)
    error: Mapped[str | None] = mapped_column(sa.String(1000))


class WorkflowDay(InEnvironment, Base):
    """What the runs of a workflow that ended on one day (UTC) came to; kept when their logs are gone."""

    __tablename__ = "workflow_days"
    __table_args__ = (
        sa.UniqueConstraint("workflow_id", "environment", "day"),
        sa.Index("ix_workflow_days_environment_day", "environment", "day"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    workflow_id: Mapped[str] = mapped_column(sa.ForeignKey("workflows.id", ondelete="CASCADE"))
    day: Mapped[date]
    runs: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    actions: Mapped[int] = mapped_column(default=0)


class SeenItem(Base):
    """An item that a child has taken, by a hash of its key: it isn't taken again, however long ago that was."""

    __tablename__ = "seen_items"

    child_id: Mapped[str] = mapped_column(sa.ForeignKey("child_workflows.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[bytes] = mapped_column(sa.LargeBinary(16), primary_key=True)
