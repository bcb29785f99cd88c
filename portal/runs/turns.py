"""How a run takes its turn, goes on, waits at a delay and ends; one transaction of the caller's for each.

Items of a child run in their order: a leg that finds an earlier run of its child unfinished is parked, and that one
wakes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from portal.background import Queue, enqueue
from portal.db import changes_one, is_alone_in_writing
from portal.runs.counting import count_run
from portal.runs.models import Run, RunState
from portal.workflows.models import ChildWorkflow

RUNS = Queue("runs", at_once=32, per_partition=1, is_in_order=True)

MOST_PROGRESS = 2000  # steps of one run, turns of loops counted each


def hold_child(session: Session, child_id: str) -> bool:
    """Keep a child as it is until this transaction ends; whether it is active.

    Whoever changes a child, its runs or its watch on account of each other holds it first, so that nobody decides on
    what another one is changing, and no two wait for each other.
    """
    touched = (
        sa.update(ChildWorkflow)
        .where(ChildWorkflow.id == child_id, ChildWorkflow.is_active, ChildWorkflow.removed_at.is_(None))
        .values(runs_made=ChildWorkflow.runs_made)
    )
    return changes_one(session, touched)


def enqueue_leg(session: Session, run: Run, delay: float = 0) -> None:
    """Let the present leg of a run begin, `delay` seconds after the commit."""
    # Named by its number first: the queue breaks ties of the same millisecond by name.
    enqueue(
        session,
        "run_leg",
        run.id,
        run.leg,
        queue=RUNS,
        partition=run.child_id,
        delay=delay,
        workflow_id=leg_name(run.number, run.id, run.leg),
    )


def leg_name(number: int, run_id: str, leg: int) -> str:
    """What the engine calls a leg of a run."""
    return f"run-{number:012d}-{run_id}-{leg}"


# Statements on the way of every run, built once: building them costs more than the database does.
_THIS_LEG = (Run.id == sa.bindparam("run_id"), Run.leg == sa.bindparam("this_leg"))
_THIS_STEP = (*_THIS_LEG, Run.progress == sa.bindparam("at_progress"), Run.state == RunState.running)


def has_earlier() -> sa.Exists:
    """The condition that a run's child has an earlier one that stands in its way."""
    other = aliased(Run)
    return sa.exists().where(
        other.child_id == Run.child_id,
        other.ended_at.is_(None),
        other.state != RunState.waiting,
        other.number < Run.number,
    )


def _claim() -> sa.Update:
    is_paused = sa.exists().where(ChildWorkflow.id == Run.child_id, ChildWorkflow.paused_at.is_not(None))
    return (
        sa.update(Run)
        .where(*_THIS_LEG, Run.ended_at.is_(None), ~has_earlier())
        .values(
            # Cast, because PostgreSQL takes the outcome of a CASE for text.
            state=sa.cast(sa.case((is_paused, RunState.paused), else_=RunState.running), Run.state.type),
            started_at=sa.func.coalesce(Run.started_at, sa.bindparam("moment", type_=Run.started_at.type)),
            next_at=None,
            is_parked=False,
        )
    )


_CLAIM = _claim()
_HOLD_CHILD = (
    sa.select(ChildWorkflow.id)
    .join(Run, Run.child_id == ChildWorkflow.id)
    .where(Run.id == sa.bindparam("run_id"))
    .with_for_update(of=ChildWorkflow, key_share=True)
)
_HOLD_LEG = sa.select(Run.id).where(*_THIS_LEG).with_for_update(key_share=True)
_PARK = sa.update(Run).where(*_THIS_LEG, Run.ended_at.is_(None)).values(is_parked=True)
_ADVANCE = (
    sa.update(Run)
    .where(*_THIS_STEP)
    .values(
        progress=sa.bindparam("new_progress"),
        sealed_memory=sa.bindparam("new_memory"),
        actions=Run.actions + sa.bindparam("new_actions"),
        state=sa.bindparam("new_state", type_=Run.state.type),
        ended_at=sa.bindparam("ended", type_=Run.ended_at.type),
        attempts=0,
        failing_since=None,
        error=None,
        error_block=None,
    )
)
_TOUCH = sa.update(Run).where(*_THIS_STEP).values(next_at=None)
_FOLLOWING = (
    sa.select(Run)
    .where(
        Run.child_id == sa.bindparam("child"),
        Run.id != sa.bindparam("run_id"),
        Run.ended_at.is_(None),
        sa.or_(Run.state != RunState.waiting, Run.is_parked),
    )
    .order_by(Run.number)
    .limit(1)
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)


def claim_leg(session: Session, run_id: str, leg: int, now: datetime) -> bool:
    """Let this leg of a run take its turn; False when there is nothing to do for it.

    A run whose child has an earlier one that is not through is parked; the earlier one wakes it. Safe to repeat.
    """
    place = {"run_id": run_id, "this_leg": leg}
    if not is_alone_in_writing(session):
        # So that the child can't go on, nor an earlier run of it end, between the look at them and what follows.
        session.execute(_HOLD_CHILD, {"run_id": run_id})
        session.execute(_HOLD_LEG, place)
    if changes_one(session, _CLAIM, {**place, "moment": now}):
        return True
    changes_one(session, _PARK, place)
    return False


def wake_next(session: Session, run: Run) -> None:
    """Let the next run of the child begin, if it was parked."""
    following = session.scalar(_FOLLOWING, {"child": run.child_id, "run_id": run.id})
    if following is not None and following.is_parked and following.state is not RunState.paused:
        following.leg, following.is_parked = following.leg + 1, False
        session.flush()
        enqueue_leg(session, following)


@dataclass(frozen=True)
class Progress:
    """What finished steps come to: how many, how many of them were calls, what the run remembers now."""

    steps: int
    actions: int
    sealed_memory: bytes | None


def advance(
    session: Session, run: Run, progress: int, made: Progress, now: datetime, end: RunState | None = None
) -> bool:
    """Keep what finished steps gave, and end the run in the state `end`, if it is over.

    False when the run was stopped, or somebody else finished the step.
    """
    is_kept = changes_one(
        session,
        _ADVANCE,
        {
            "run_id": run.id,
            "this_leg": run.leg,
            "at_progress": progress,
            "new_progress": progress + made.steps,
            "new_memory": made.sealed_memory,
            "new_actions": made.actions,
            "new_state": end or RunState.running,
            "ended": now if end else None,
        },
    )
    if is_kept and end is not None:
        count_run(session, run, now, actions=run.actions + made.actions)
        wake_next(session, run)
    return is_kept


def hold_step(session: Session, run: Run, progress: int) -> Run | None:
    """The run for writing, if it still stands at this step."""
    place = {"run_id": run.id, "this_leg": run.leg, "at_progress": progress}
    if not changes_one(session, _TOUCH, place):
        return None
    return session.get_one(Run, run.id, populate_existing=True)


def end_run(session: Session, run: Run, state: RunState, now: datetime) -> None:
    """End a run, count it, and let the next one of its child begin."""
    run.state, run.ended_at, run.next_at, run.sealed_memory = state, now, None, None
    run.is_parked = False
    session.flush()
    count_run(session, run, now, actions=run.actions, is_error=state is RunState.failed)
    wake_next(session, run)


def delay(session: Session, run: Run, progress: int, length: timedelta, sealed_memory: bytes, now: datetime) -> bool:
    """Let a run wait at a `delay`: the next one of its child may begin meanwhile."""
    current = hold_step(session, run, progress)
    if current is None:
        return False
    current.state, current.next_at = RunState.waiting, now + length
    current.progress, current.sealed_memory, current.leg = progress + 1, sealed_memory, current.leg + 1
    session.flush()
    enqueue_leg(session, current, delay=length.total_seconds())
    wake_next(session, current)
    return True
