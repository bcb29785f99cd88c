"""What runs that have ended come to: counted by workflow and day, for longer than their logs are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.db import changes_one, insert_new
from portal.environments import Environment
from portal.ids import new_id
from portal.runs.models import Run, WorkflowDay

# Built once: it is on the way of every run.
_COUNT = (
    sa.update(WorkflowDay)
    .where(
        WorkflowDay.workflow_id == sa.bindparam("of_workflow"),
        WorkflowDay.environment == sa.bindparam("of_environment", type_=WorkflowDay.environment.type),
        WorkflowDay.day == sa.bindparam("of_day"),
    )
    .values(
        runs=WorkflowDay.runs + sa.bindparam("new_runs"),
        errors=WorkflowDay.errors + sa.bindparam("new_errors"),
        actions=WorkflowDay.actions + sa.bindparam("new_actions"),
    )
)


def count_run(session: Session, run: Run, now: datetime, *, actions: int, is_error: bool = False) -> None:
    """Count a run that has ended."""
    count_ended(session, run.workflow_id, run.environment, now, actions=actions, errors=int(is_error))


def count_ended(
    session: Session,
    workflow_id: str,
    environment: Environment,
    now: datetime,
    *,
    runs: int = 1,
    actions: int = 0,
    errors: int = 0,
) -> None:
    """Count runs of a workflow that have ended."""
    facts = {
        "of_workflow": workflow_id,
        "of_environment": environment,
        "of_day": now.date(),
        "new_runs": runs,
        "new_errors": errors,
        "new_actions": actions,
    }
    if not changes_one(session, _COUNT, facts):
        row = {"workflow_id": workflow_id, "environment": environment, "day": now.date()}
        insert_new(session, WorkflowDay, {"id": new_id(), **row, "runs": 0, "errors": 0, "actions": 0})
        changes_one(session, _COUNT, facts)


@dataclass(frozen=True)
class Counts:
    """How many runs there were, how many of them failed, and how many calls all of them made."""

    runs: int
    errors: int
    actions: int


def count_runs(session: Session, workflow_id: str) -> Counts:
    """All that was ever counted of a workflow."""
    return _sums(session, WorkflowDay.workflow_id == workflow_id)


def count_lately(session: Session, now: datetime, days: int = 30) -> Counts:
    """What was counted of all workflows in the last days (UTC)."""
    return _sums(session, WorkflowDay.day >= (now - timedelta(days=days - 1)).date())


def _sums(session: Session, which: sa.ColumnElement[bool]) -> Counts:
    counted = (WorkflowDay.runs, WorkflowDay.errors, WorkflowDay.actions)
    sums = sa.select(*(sa.func.coalesce(sa.func.sum(one), 0) for one in counted))
    row = session.execute(sums.select_from(WorkflowDay).where(which)).one()
    return Counts(*(int(number) for number in row))
