"""How runs come to be: from items that triggers found, by hand, again. One transaction of the caller's for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.db import insert_new
from portal.ids import new_id
from portal.keys.ring import KeyRing, keys_of
from portal.runs.errors import ItemTooDeep, ItemTooLarge, NoRoom, NotRunning, UnknownRun
from portal.runs.failing import tell_failure
from portal.runs.models import Run, RunState, SeenItem
from portal.runs.turns import end_run, enqueue_leg, hold_child
from portal.workflows.blocks import name_of
from portal.workflows.definition import LARGEST_VALUE, read_definition
from portal.workflows.models import ChildWorkflow, Workflow
from portal.workflows.sizes import DEEPEST_VALUE, as_json, bytes_of, is_too_deep

TOGETHER = 100  # items that come from outside and are recorded in one transaction
MOST_AHEAD = 1000  # runs of a child that have not got through, before nothing more is taken from outside


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
    comes. An item that is too large or too deep becomes a run that failed, and the vendor is told.
    """
    if not hold_child(session, child.id):
        return []
    fresh = _see(session, child.id, items)
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
            enqueue_leg(session, run)
        else:
            _fail(session, child, run, now)
    return made


def _fail(session: Session, child: ChildWorkflow, run: Run, now: datetime) -> None:
    """End a run that can't begin with its item, and tell the vendor: its trigger is where it failed."""
    run.error_block = name_of(read_definition(child.definition).trigger)[:120]
    end_run(session, run, RunState.failed, now)
    integration_id = session.get_one(Workflow, child.workflow_id).integration_id
    because = run.error or ""
    tell_failure(session, run, because, block_name=run.error_block, integration_id=integration_id, now=now)


def has_room(session: Session, child: ChildWorkflow) -> bool:
    """Whether a child takes more from outside. Runs that wait at a delay are in nobody's way, and don't count."""
    if child.runs_made < MOST_AHEAD:
        return True
    # Runs begin in their order, so those that have not begun are the newest.
    newest = (
        sa.select(Run.state)
        .where(Run.child_id == child.id, Run.ended_at.is_(None))
        .order_by(Run.number.desc())
        .limit(MOST_AHEAD)
        .subquery()
    )
    ahead = sa.select(sa.func.count()).select_from(newest).where(newest.c.state != RunState.waiting)
    return (session.scalar(ahead) or 0) < MOST_AHEAD


def require_room(session: Session, child: ChildWorkflow) -> None:
    """Raises `NoRoom` when a child has so much to do that it takes nothing more from outside."""
    if not has_room(session, child):
        raise NoRoom(MOST_AHEAD)


def unseen(session: Session, child_id: str, items: Sequence[Item]) -> list[Item]:
    """Those of these items that a child has not seen yet, and those without a key."""
    # Polls read back a little, so most of what they bring was seen: that is asked once, not item by item.
    digests = [_digest(item.key) for item in items if item.key is not None]
    known = sa.select(SeenItem.key).where(SeenItem.child_id == child_id, SeenItem.key.in_(digests))
    seen = set(session.scalars(known))
    return [item for item in items if item.key is None or _digest(item.key) not in seen]


def _see(session: Session, child_id: str, items: Sequence[Item]) -> list[Item]:
    """The items that the child takes now, and from now on has seen."""
    return [
        item
        for item in unseen(session, child_id, items)
        if item.key is None or insert_new(session, SeenItem, {"child_id": child_id, "key": _digest(item.key)})
    ]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16]


def _make_run(
    session: Session,
    child: ChildWorkflow,
    version: int,
    number: int,
    value: Any,
    *,
    trigger: str,
    now: datetime,
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
