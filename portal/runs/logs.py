"""The logs of runs: how they are written, listed and forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from portal.db import settings_of
from portal.runs.models import Run, RunState, RunStep
from portal.runs.turns import leg_name

BATCH = 500
MOST_LEGS = 5000  # of the runs of a batch, if it isn't one alone


def log_days(session: Session) -> int:
    """How many days logs of runs are kept."""
    return settings_of(session).run_log_days


_NEW = sa.insert(RunStep)


def write_steps(session: Session, rows: list[dict[str, Any]], *, may_be_again: bool) -> None:
    """Keep what steps did. Where they may have been tried before, further attempts at one go into the same row."""
    if may_be_again:
        rows = [row for row in rows if not _is_again(session, row)]
    if rows:
        session.execute(_NEW, rows)


def _is_again(session: Session, facts: dict[str, Any]) -> bool:
    row = session.scalar(sa.select(RunStep).where(RunStep.run_id == facts["run_id"], RunStep.path == facts["path"]))
    if row is None:
        return False
    row.attempts += 1
    for name in ("state", "stopped_at", "input", "output", "error"):
        setattr(row, name, facts[name])
    session.flush()
    return True


def list_runs(
    session: Session,
    workflow_id: str,
    *,
    user_id: str | None,
    only_errors: bool,
    is_newest_first: bool,
    limit: int,
    offset: int,
) -> list[Run]:
    """A page of a workflow's runs with their steps."""
    statement = sa.select(Run).where(Run.workflow_id == workflow_id).options(selectinload(Run.steps))
    if user_id is not None:
        statement = statement.where(Run.user_id == user_id)
    if only_errors:
        statement = statement.where(Run.state == RunState.failed)
    order = (Run.created_at.desc(), Run.id.desc()) if is_newest_first else (Run.created_at, Run.id)
    return list(session.scalars(statement.order_by(*order).limit(limit).offset(offset)))


def forget_old_runs(session: Session, before: datetime) -> int:
    """Delete up to `BATCH` runs that ended and began before this moment, with their steps; how many it were."""
    ids = list(
        session.scalars(sa.select(Run.id).where(Run.created_at < before, Run.ended_at.is_not(None)).limit(BATCH))
    )
    erase_runs(session, ids)
    return len(ids)


@dataclass(frozen=True)
class Erased:
    """How many runs and steps are gone."""

    runs: int
    steps: int


def erase_runs(session: Session, ids: list[str]) -> Erased:
    """Delete these runs with their steps."""
    steps = session.execute(
        sa.delete(RunStep).where(RunStep.run_id.in_(ids)).execution_options(synchronize_session=False)
    )
    runs = session.execute(sa.delete(Run).where(Run.id.in_(ids)).execution_options(synchronize_session=False))
    return Erased(runs.rowcount, steps.rowcount)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Ended:
    """A batch of runs that have ended: their ids, and what the engine calls their legs."""

    ids: list[str]
    legs: list[str]


def ended_runs(session: Session, user_id: str) -> Ended:
    """Up to `BATCH` runs of a user that have ended, fewer where they have many legs."""
    rows = session.execute(
        sa.select(Run.id, Run.number, Run.leg).where(Run.user_id == user_id, Run.ended_at.is_not(None)).limit(BATCH)
    ).all()
    ids: list[str] = []
    legs: list[str] = []
    for row in rows:
        if ids and len(legs) + row.leg > MOST_LEGS:
            break
        ids.append(row.id)
        legs += [leg_name(row.number, row.id, leg) for leg in range(1, row.leg + 1)]
    return Ended(ids, legs)


def erase_steps_under_way(session: Session, user_id: str) -> int:
    """Delete what the runs of a user that are under way logged so far; how many steps it were."""
    under_way = sa.select(Run.id).where(Run.user_id == user_id, Run.ended_at.is_(None))
    gone = session.execute(
        sa.delete(RunStep).where(RunStep.run_id.in_(under_way)).execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]
