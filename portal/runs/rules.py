"""How runs come to be, take their turn, go on, end: one transaction of the caller's for each."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from portal.background import Queue, enqueue
from portal.credentials.models import Credential, InstallationCredential
from portal.db import insert_new, is_alone_in_writing
from portal.events.kinds import CREDENTIAL_BROKEN, RUN_FAILED
from portal.events.rules import announce
from portal.ids import new_id
from portal.keys.ring import KeyRing, keys_of
from portal.runs.errors import ItemTooDeep, ItemTooLarge, NotRunning, NotWaiting, RunEnded, UnknownRun
from portal.runs.models import Run, RunState, SeenItem, WorkflowDay
from portal.workflows.definition import LARGEST_VALUE
from portal.workflows.models import ChildWorkflow
from portal.workflows.sizes import DEEPEST_VALUE, as_json, bytes_of, is_too_deep

RUNS = Queue("runs", at_once=32, per_partition=1, is_in_order=True)

# The wait before each further attempt at a step; after these it is the last one each time.
WAITS = tuple(timedelta(seconds=s) for s in (1, 5, 30, 120, 300))
GIVEN_UP_AFTER = timedelta(days=1)
DROPPED_AT_ONCE = 500
MOST_PROGRESS = 2000  # steps of one run, turns of loops counted each


@dataclass(frozen=True)
class Item:
    """Something that a run begins with; `key` tells it from every other one, where its trigger has such."""

    value: Any
    key: str | None = None


def record_items(
    session: Session, child: ChildWorkflow, items: Sequence[Item], *, trigger: str, now: datetime
) -> list[Run]:
    """Start a run for each item that the child has not seen, in their order.

    Each run is enqueued in this transaction. A child that isn't active takes nothing, one that is paused keeps what
    comes. An item that is too large becomes a run that failed.
    """
    if not hold_child(session, child.id):
        return []
    fresh = [item for item in items if item.key is None or _is_new(session, child.id, item.key)]
    if not fresh:
        return []
    last = session.scalars(
        sa.update(ChildWorkflow)
        .where(ChildWorkflow.id == child.id)
        .values(runs_made=ChildWorkflow.runs_made + len(fresh))
        .returning(ChildWorkflow.runs_made)
        .execution_options(synchronize_session=False)
    ).one()
    version = child.version.number
    made = []
    for number, item in enumerate(fresh, last - len(fresh) + 1):
        made.append(_make_run(session, child, version, number, item.value, trigger=trigger, now=now))
    session.flush()
    for run in made:
        if run.state is RunState.queued:
            _enqueue_leg(session, run)
        else:
            _end(session, run, RunState.failed, now)
    return made


def hold_child(session: Session, child_id: str) -> bool:
    """Keep a child as it is until this transaction ends; whether it is active.

    Whoever changes a child, its runs or its watch on account of each other holds it first, so that nobody decides on
    what another one is changing, and no two wait for each other.
    """
    held = session.execute(
        sa.update(ChildWorkflow)
        .where(ChildWorkflow.id == child_id, ChildWorkflow.is_active, ChildWorkflow.removed_at.is_(None))
        .values(runs_made=ChildWorkflow.runs_made)
        .execution_options(synchronize_session=False)
    )
    return held.rowcount == 1  # type: ignore[attr-defined,no-any-return]


def _is_new(session: Session, child_id: str, key: str) -> bool:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16]
    return insert_new(session, SeenItem, {"child_id": child_id, "key": digest})


def _make_run(
    session: Session,
    child: ChildWorkflow,
    version: int,
    number: int,
    value: Any,
    *,
    trigger: str,
    now: datetime,
    rerun_of: str | None = None,
) -> Run:
    run_id = new_id()
    clear, problem = _seal_ready(value)
    run = Run(
        id=run_id,
        environment=child.environment,
        child_id=child.id,
        workflow_id=child.workflow_id,
        user_id=child.user_id,
        version=version,
        number=number,
        trigger=trigger,
        state=RunState.queued if problem is None else RunState.failed,
        sealed_item=keys_of(session).seal(clear, run_id) if problem is None else None,
        error=problem,
        rerun_of=rerun_of,
        leg=1,
        actions=0,
        created_at=now,
    )
    session.add(run)
    return run


def _seal_ready(value: Any) -> tuple[bytes, str | None]:
    """(the item as bytes, the sentence for one that no run can begin with)."""
    if is_too_deep(value):
        return b"", f"The item is nested more than {DEEPEST_VALUE} levels deep, so that no run can begin with it."
    clear = as_json(value)
    if len(clear) > LARGEST_VALUE:
        return b"", f"The item has {len(clear)} bytes, a run begins with at most {LARGEST_VALUE}."
    return clear, None


def _enqueue_leg(session: Session, run: Run, delay: float = 0) -> None:
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


def start_run(session: Session, child: ChildWorkflow, value: Any, *, trigger: str, now: datetime) -> Run:
    """Start one run of an active child with this data. Raises `NotRunning`, `ItemTooLarge`, `ItemTooDeep`."""
    if is_too_deep(value):
        raise ItemTooDeep
    if bytes_of(value) > LARGEST_VALUE:
        raise ItemTooLarge
    _require_active(child)
    made = record_items(session, child, [Item(value)], trigger=trigger, now=now)
    if not made:  # stopped a moment ago
        raise NotRunning(child.workflow.name)
    return made[0]


def _require_active(child: ChildWorkflow) -> None:
    if not child.is_active or child.removed_at is not None:
        raise NotRunning(child.workflow.name)


def find_run(session: Session, run_id: str) -> Run:
    """The run with this id. Raises `UnknownRun`."""
    found = session.get(Run, run_id)
    if found is None:
        raise UnknownRun(run_id)
    return found


def rerun(session: Session, run: Run, now: datetime) -> Run:
    """Start a new run with the same item, of the child that the user has now.

    Raises `NotRunning`, `UnknownRun` (the item is gone).
    """
    child = _standing(session, session.get_one(ChildWorkflow, run.child_id))
    _require_active(child)
    if run.sealed_item is None:
        raise UnknownRun(run.id)
    made = start_run(session, child, item_of(keys_of(session), run), trigger=run.trigger, now=now)
    made.rerun_of = run.id
    session.flush()
    return made


def _standing(session: Session, child: ChildWorkflow) -> ChildWorkflow:
    """The child, or the one that has taken its place."""
    if child.removed_at is None:
        return child
    follower = sa.select(ChildWorkflow).where(
        ChildWorkflow.user_id == child.user_id,
        ChildWorkflow.workflow_id == child.workflow_id,
        ChildWorkflow.removed_at.is_(None),
    )
    return session.scalar(follower.order_by(ChildWorkflow.created_at.desc()).limit(1)) or child


def item_of(keys: KeyRing, run: Run) -> Any:
    """The item that a run began with."""
    assert run.sealed_item is not None
    return json.loads(keys.open(run.sealed_item, run.id))


# Turns


# Statements on the way of every run, built once: building them costs more than the database does.
_THIS_LEG = (Run.id == sa.bindparam("run_id"), Run.leg == sa.bindparam("this_leg"))
_THIS_STEP = (*_THIS_LEG, Run.progress == sa.bindparam("at_progress"), Run.state == RunState.running)


def _claim() -> sa.Update:
    other = aliased(Run)
    earlier = sa.exists().where(
        other.child_id == Run.child_id,
        other.ended_at.is_(None),
        other.state != RunState.waiting,
        other.number < Run.number,
    )
    is_paused = sa.exists().where(ChildWorkflow.id == Run.child_id, ChildWorkflow.paused_at.is_not(None))
    return (
        sa.update(Run)
        .where(*_THIS_LEG, Run.ended_at.is_(None), ~earlier)
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
_COUNT = (
    sa.update(WorkflowDay)
    .where(
        WorkflowDay.workflow_id == sa.bindparam("of_workflow"),
        WorkflowDay.environment == sa.bindparam("of_environment", type_=WorkflowDay.environment.type),
        WorkflowDay.day == sa.bindparam("of_day"),
    )
    .values(
        runs=WorkflowDay.runs + 1,
        errors=WorkflowDay.errors + sa.bindparam("new_errors"),
        actions=WorkflowDay.actions + sa.bindparam("new_actions"),
    )
)
_UNSYNCHRONISED = {"synchronize_session": False}


def _changes_one(session: Session, statement: sa.Update, values: dict[str, Any]) -> bool:
    done = session.execute(statement, values, execution_options=_UNSYNCHRONISED)
    return done.rowcount == 1  # type: ignore[attr-defined,no-any-return]


def claim_leg(session: Session, run_id: str, leg: int, now: datetime) -> bool:
    """Let this leg of a run take its turn; False when there is nothing to do for it.

    A run whose child has an earlier one that is not through is parked; the earlier one wakes it. Safe to repeat.
    """
    place = {"run_id": run_id, "this_leg": leg}
    if not is_alone_in_writing(session):
        # So that the child can't go on, nor an earlier run of it end, between the look at them and what follows.
        session.execute(_HOLD_CHILD, {"run_id": run_id})
        session.execute(_HOLD_LEG, place)
    if _changes_one(session, _CLAIM, {**place, "moment": now}):
        return True
    _changes_one(session, _PARK, place)
    return False


def _wake_next(session: Session, run: Run) -> None:
    """Let the next run of the child begin, if it was parked."""
    following = session.scalar(_FOLLOWING, {"child": run.child_id, "run_id": run.id})
    if following is not None and following.is_parked and following.state is not RunState.paused:
        following.leg, following.is_parked = following.leg + 1, False
        session.flush()
        _enqueue_leg(session, following)


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
    is_kept = _changes_one(
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
        _count(session, run, now, actions=run.actions + made.actions)
        _wake_next(session, run)
    return is_kept


def _hold(session: Session, run: Run, progress: int) -> Run | None:
    """The run for writing, if it still stands at this step."""
    place = {"run_id": run.id, "this_leg": run.leg, "at_progress": progress}
    if not _changes_one(session, _TOUCH, place):
        return None
    return session.get_one(Run, run.id, populate_existing=True)


def _end(session: Session, run: Run, state: RunState, now: datetime) -> None:
    run.state, run.ended_at, run.next_at, run.sealed_memory = state, now, None, None
    run.is_parked = False
    session.flush()
    _count(session, run, now, actions=run.actions, is_error=state is RunState.failed)
    _wake_next(session, run)


def _count(session: Session, run: Run, now: datetime, *, actions: int, is_error: bool = False) -> None:
    """Count a run that has ended."""
    place = {"of_workflow": run.workflow_id, "of_environment": run.environment, "of_day": now.date()}
    added = {"new_errors": int(is_error), "new_actions": actions}
    if not _changes_one(session, _COUNT, {**place, **added}):
        row = {"workflow_id": run.workflow_id, "environment": run.environment, "day": now.date()}
        insert_new(session, WorkflowDay, {"id": new_id(), **row, "runs": 0, "errors": 0, "actions": 0})
        _changes_one(session, _COUNT, {**place, **added})


def fail(
    session: Session,
    run: Run,
    progress: int,
    because: str,
    *,
    block: tuple[str, str],
    integration_id: str,
    now: datetime,
) -> bool:
    """End a run at a step that can't succeed, and tell the vendor. `block` is the step's id and name."""
    current = _hold(session, run, progress)
    if current is None:
        return False
    current.error, current.error_block, current.attempts = because[:1000], block[1], current.attempts + 1
    _end(session, current, RunState.failed, now)
    announce(
        session,
        RUN_FAILED,
        {
            "userId": run.user_id,
            "workflowId": run.workflow_id,
            "integrationId": integration_id,
            "executionId": run.id,
            "block": block[1],
            "message": because,
        },
        environment=run.environment,
        now=now,
    )
    return True


def put_off(
    session: Session,
    run: Run,
    progress: int,
    because: str,
    *,
    wait: timedelta | None,
    is_try: bool,
    block_name: str,
    now: datetime,
) -> datetime | None:
    """Try the step again later; None when the run was stopped, or its day is over (then it is the caller's to fail)."""
    current = _hold(session, run, progress)
    if current is None:
        return None
    since = current.failing_since or now
    if is_try:
        if now - since >= GIVEN_UP_AFTER:
            return None
        current.failing_since, current.attempts = since, current.attempts + 1
        current.error, current.error_block = because[:1000], block_name
    pause = wait or WAITS[min(current.attempts, len(WAITS)) - 1]
    # Not all at once: what failed together would come back together.
    seconds = pause.total_seconds() * random.uniform(1.0, 1.25)  # noqa: S311 - no secret
    current.state, current.next_at = RunState.retrying, now + timedelta(seconds=seconds)
    current.leg += 1
    session.flush()
    _enqueue_leg(session, current, delay=seconds)
    return current.next_at


def delay(session: Session, run: Run, progress: int, length: timedelta, sealed_memory: bytes, now: datetime) -> bool:
    """Let a run wait at a `delay`: the next one of its child may begin meanwhile."""
    current = _hold(session, run, progress)
    if current is None:
        return False
    current.state, current.next_at = RunState.waiting, now + length
    current.progress, current.sealed_memory, current.leg = progress + 1, sealed_memory, current.leg + 1
    session.flush()
    _enqueue_leg(session, current, delay=length.total_seconds())
    _wake_next(session, current)
    return True


# Pausing, going on, stopping


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
    current = _hold(session, run, progress)
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
    _enqueue_leg(session, run)


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
    _enqueue_leg(session, session.get_one(Run, run.id, populate_existing=True))


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
    _end(session, session.get_one(Run, run.id, populate_existing=True), RunState.cancelled, now)


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
        _count(session, run, now, actions=run.actions)
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
        _enqueue_leg(session, run, delay=max(rest, 0))


def take_up_dropped(session: Session, before: datetime, ended: Callable[[Sequence[str]], set[str]]) -> int:
    """Enqueue again what began before this moment and has no leg any more; `ended` tells which legs are over."""
    other = aliased(Run)
    earlier = sa.exists().where(
        other.child_id == Run.child_id,
        other.ended_at.is_(None),
        other.state != RunState.waiting,
        other.number < Run.number,
    )
    is_due = sa.or_(
        sa.and_(Run.state.in_((RunState.queued, RunState.running)), Run.created_at < before),
        sa.and_(Run.state.in_((RunState.retrying, RunState.waiting)), Run.next_at < before),
    )
    found = sa.select(Run).where(is_due, sa.or_(~Run.is_parked, ~earlier)).order_by(Run.id).limit(DROPPED_AT_ONCE)
    count, last = 0, ""
    while runs := session.scalars(found.where(Run.id > last)).all():
        last = runs[-1].id
        legs = {leg_name(run.number, run.id, run.leg): run for run in runs}
        for name in sorted(ended(list(legs))):
            _go_on(session, legs[name])
            count += 1
    return count


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
