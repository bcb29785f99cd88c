"""How runs are paused, taken up again, stopped and handed over; one transaction of the caller's for each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.credentials.models import Credential, InstallationCredential
from portal.events.kinds import CREDENTIAL_BROKEN
from portal.events.rules import announce
from portal.keys.ring import KeyRing
from portal.runs.errors import NotWaiting, RunEnded
from portal.runs.models import Run, RunState
from portal.runs.turns import (
    count_run,
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
        _go_on(session, current)
    return True


def _go_on(session: Session, run: Run) -> None:
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
        _go_on(session, run)


def try_now(session: Session, run: Run, now: datetime) -> None:
    """Let a run that waits for its next attempt have it at once. Raises `NotWaiting` when it does something else."""
    touched = session.execute(
        sa.update(Run)
        .where(Run.id == run.id, Run.state == RunState.retrying, Run.next_at > now)
        .values(leg=Run.leg + 1, next_at=now)
        .execution_options(synchronize_session=False)
    )
    if touched.rowcount != 1:  # type: ignore[attr-defined]
        raise NotWaiting
    enqueue_leg(session, session.get_one(Run, run.id, populate_existing=True))


def stop_run(session: Session, run: Run, now: datetime) -> None:
    """Stop one run at once, and let the next one of its child begin. Raises `RunEnded` when it is over.

    A request that is under way is not taken back; nothing follows it.
    """
    touched = session.execute(
        sa.update(Run)
        .where(Run.id == run.id, Run.ended_at.is_(None))
        .values(error=sa.func.coalesce(Run.error, "It was stopped by hand."), state=RunState.cancelled)
        .execution_options(synchronize_session=False)
    )
    if touched.rowcount != 1:  # type: ignore[attr-defined]
        raise RunEnded
    end_run(session, session.get_one(Run, run.id, populate_existing=True), RunState.cancelled, now)


def cancel_runs(session: Session, child_ids: Iterable[str], now: datetime) -> list[str]:
    """Stop every unfinished run of these children at once; the ids of those that had begun.

    A request that is under way is not taken back; nothing follows it.
    """
    runs = session.scalars(
        sa.select(Run)
        .where(Run.child_id.in_(list(child_ids)), Run.ended_at.is_(None))
        .order_by(Run.workflow_id, Run.child_id, Run.number)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    begun = [run.id for run in runs if run.started_at is not None]
    for run in runs:
        run.state, run.ended_at, run.next_at, run.is_parked = RunState.cancelled, now, None, False
        run.sealed_memory = None
        run.error = run.error or "The workflow was stopped."
        count_run(session, run, now, actions=run.actions)
    session.flush()
    return begun


def hand_over_runs(session: Session, earlier: ChildWorkflow, child: ChildWorkflow, now: datetime) -> None:
    """Let a child do the runs that an earlier one, whose place it takes, didn't end; each goes on where it stood."""
    left = session.scalars(
        sa.select(Run)
        .where(Run.child_id == earlier.id, Run.ended_at.is_(None))
        .order_by(Run.number)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    for run in left:
        rest = (run.next_at - now).total_seconds() if run.state is RunState.waiting and run.next_at else 0
        run.child_id, run.is_parked, run.leg = child.id, False, run.leg + 1
        if rest <= 0:
            run.state, run.next_at = RunState.queued, None
        session.flush()
        enqueue_leg(session, run, delay=max(rest, 0))


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
