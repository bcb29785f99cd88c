"""How runs are paused, taken up again, stopped and handed over; one transaction of the caller's for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.credentials.models import Credential, InstallationCredential
from portal.db import changes_one, is_alone_in_writing
from portal.environments import Environment
from portal.events.kinds import CREDENTIAL_BROKEN
from portal.events.rules import announce
from portal.keys.ring import KeyRing
from portal.runs.counting import count_ended
from portal.runs.errors import NotWaiting, RunEnded
from portal.runs.models import Run, RunState
from portal.runs.turns import (
    end_run,
    enqueue_leg,
    hold_child,
    hold_step,
)
from portal.workflows.models import ChildWorkflow


def break_credential(session: Session, credential_id: str, because: str, now: datetime) -> None:
    """The app refuses a credential: pause what runs with it, and tell the vendor once.

    It is the one that the app was asked with: what took its place meanwhile stays whole.
    """
    credential = session.get(Credential, credential_id, with_for_update=True)
    if credential is None:
        return
    using = sa.select(InstallationCredential.installation_id).where(
        InstallationCredential.credential_id == credential.id
    )
    session.execute(
        sa.update(ChildWorkflow)
        .where(
            ChildWorkflow.installation_id.in_(using),
            ChildWorkflow.removed_at.is_(None),
            ChildWorkflow.paused_at.is_(None),
        )
        .values(paused_at=now, paused_because=because[:500])
        .execution_options(synchronize_session=False)
    )
    if credential.broken_at is not None:
        return
    credential.broken_at, credential.broken_because = now, because[:500]
    session.flush()
    announce(
        session,
        CREDENTIAL_BROKEN,
        {
            "userId": credential.user_id,
            "app": credential.app,
            "credentialId": credential.id,
            "account": credential.account,
            "message": because,
        },
        environment=credential.environment,
        now=now,
    )


def pause(session: Session, run: Run, progress: int, because: str, block_name: str, credential_id: str) -> bool:
    """Keep a run at its step until its child goes on; with another credential than the refused one it does at once."""
    hold_child(session, run.child_id)
    current = hold_step(session, run, progress)
    if current is None:
        return False
    current.state, current.error, current.error_block = RunState.paused, because[:1000], block_name
    current.attempts += 1
    session.flush()
    is_in_use = sa.exists().where(
        InstallationCredential.installation_id == ChildWorkflow.installation_id,
        InstallationCredential.credential_id == credential_id,
    )
    if not session.scalar(sa.select(is_in_use).where(ChildWorkflow.id == run.child_id)):
        go_on(session, current)
    return True


def go_on(session: Session, run: Run) -> None:
    """Let a run go on where it stands, by a leg of its own."""
    run.state, run.leg, run.is_parked = RunState.queued, run.leg + 1, False
    session.flush()
    enqueue_leg(session, run)


def resume(session: Session, child: ChildWorkflow) -> None:
    """Let a paused child go on where it stood."""
    child.paused_at = child.paused_because = None
    session.flush()
    held = session.scalars(
        sa.select(Run).where(Run.child_id == child.id, Run.state == RunState.paused).order_by(Run.number)
    )
    for run in held:
        go_on(session, run)


def try_now(session: Session, run: Run, now: datetime) -> None:
    """Let a run that waits for its next attempt have it at once. Raises `NotWaiting` when it does something else."""
    waits = Run.state == RunState.retrying, Run.next_at > now
    if not changes_one(session, sa.update(Run).where(Run.id == run.id, *waits).values(leg=Run.leg + 1, next_at=now)):
        raise NotWaiting
    enqueue_leg(session, session.get_one(Run, run.id, populate_existing=True))


def stop_run(session: Session, run: Run, now: datetime) -> None:
    """Stop one run at once, and let the next one of its child begin. Raises `RunEnded` when it is over.

    A request that is under way is not taken back; nothing follows it.
    """
    stopped = (
        sa.update(Run)
        .where(Run.id == run.id, Run.ended_at.is_(None))
        .values(error=sa.func.coalesce(Run.error, "It was stopped by hand."), state=RunState.cancelled)
    )
    if not changes_one(session, stopped):
        raise RunEnded
    end_run(session, session.get_one(Run, run.id, populate_existing=True), RunState.cancelled, now)


def cancel_runs(session: Session, child_ids: Iterable[str], now: datetime) -> list[str]:
    """Stop every unfinished run of these children at once; the ids of those that had begun.

    A request that is under way is not taken back; nothing follows it.
    """
    theirs = Run.child_id.in_(list(child_ids)), Run.ended_at.is_(None)
    _hold(session, *theirs)
    stopped = session.execute(
        sa.update(Run)
        .where(*theirs)
        .values(
            state=RunState.cancelled,
            ended_at=now,
            next_at=None,
            is_parked=False,
            sealed_memory=None,
            error=sa.func.coalesce(Run.error, "The workflow was stopped."),
        )
        .returning(Run.id, Run.workflow_id, Run.environment, Run.child_id, Run.number, Run.started_at, Run.actions)
        .execution_options(synchronize_session=False)
    ).all()
    runs, actions = Counter[tuple[str, Environment]](), Counter[tuple[str, Environment]]()
    for row in stopped:
        runs[row.workflow_id, row.environment] += 1
        actions[row.workflow_id, row.environment] += row.actions
    for workflow_id, environment in sorted(runs):
        place = workflow_id, environment
        count_ended(session, *place, now, runs=runs[place], actions=actions[place])
    begun = [row for row in stopped if row.started_at is not None]
    return [row.id for row in sorted(begun, key=lambda row: (row.workflow_id, row.child_id, row.number))]


def _hold(session: Session, *which: sa.ColumnElement[bool]) -> None:
    """Keep these runs as they are, in an order that is everybody's, so that no two wait for each other."""
    if is_alone_in_writing(session):
        return
    held = sa.select(Run.id).where(*which).order_by(Run.workflow_id, Run.child_id, Run.number)
    session.execute(held.with_for_update(key_share=True)).all()


def hand_over_runs(session: Session, earlier: ChildWorkflow, child: ChildWorkflow, now: datetime) -> None:
    """Let a child do the runs that an earlier one, whose place it takes, didn't end; each goes on where it stood.

    Those at a delay keep their leg, which begins when that is over. The first of the others begins, and wakes the next.
    """
    theirs = Run.child_id == earlier.id, Run.ended_at.is_(None)
    _hold(session, *theirs)
    at_a_delay = Run.state == RunState.waiting, Run.next_at > now
    session.execute(_moved(child).where(*theirs, *at_a_delay))
    session.execute(
        _moved(child).where(*theirs).values(leg=Run.leg + 1, state=RunState.queued, next_at=None, is_parked=True)
    )
    first = session.scalar(
        sa.select(Run)
        .where(Run.child_id == child.id, Run.ended_at.is_(None), Run.is_parked)
        .order_by(Run.number)
        .limit(1)
        .execution_options(populate_existing=True)
    )
    if first is not None:
        first.is_parked = False
        session.flush()
        enqueue_leg(session, first)


def _moved(child: ChildWorkflow) -> sa.Update:
    return sa.update(Run).values(child_id=child.id).execution_options(synchronize_session=False)


def reseal_runs(session: Session, keys: KeyRing) -> int:
    """Seal what runs keep anew with the newest key; returns how many."""
    count = 0
    kept = sa.select(Run).where(sa.or_(Run.sealed_item.is_not(None), Run.sealed_memory.is_not(None)))
    for run in session.scalars(kept.execution_options(yield_per=500)):
        if run.sealed_item is not None:
            run.sealed_item = keys.seal(keys.open(run.sealed_item, run.id), run.id)
        if run.sealed_memory is not None:
            run.sealed_memory = keys.seal(keys.open(run.sealed_memory, run.id), run.id)
        count += 1
    return count
