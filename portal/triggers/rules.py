"""What is watched for a child: begun when it is installed or started, halted when it is stopped, paused or removed."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from croniter import croniter
from sqlalchemy.orm import Session

from portal.background import Queue, enqueue
from portal.ids import new_id
from portal.keys.ring import keys_of
from portal.runs.models import SeenItem
from portal.runs.rules import Item, cancel_runs, hand_over_runs, hold_child, record_items, resume
from portal.triggers.models import Hook, Watch
from portal.workflows.definition import Trigger, read_definition
from portal.workflows.models import ChildWorkflow
from portal.workflows.rules import upgrade_child as bring_to_newest

HOOKS = Queue("hooks", at_once=8, per_partition=1, polling=0.5)


def trigger_of(child: ChildWorkflow) -> Trigger:
    """What the child begins with."""
    return read_definition(child.definition).trigger


def begin(session: Session, child: ChildWorkflow, now: datetime) -> None:
    """Watch for a child that begins, or that begins anew: only what happens from now on counts.

    A child that was paused goes on where it stood. Safe to repeat.
    """
    if child.paused_at is not None:
        resume(session, child)
        _watch_on(session, child, now)
        return
    match trigger_of(child).kind:
        case "poll" | "schedule":
            _watch(session, child, now)
        case "webhook":
            _open_hook(session, child)
        case "installation":
            item = Item({"installationId": child.installation_id, "userId": child.user_id}, key="installation")
            record_items(session, child, [item], trigger="installation", now=now)


def follow_change(session: Session, child: ChildWorkflow, now: datetime) -> None:
    """Watch for what a child's new version begins with; a poll that stays the same goes on where it stood."""
    trigger, watch, hook = trigger_of(child), session.get(Watch, child.id), session.get(Hook, child.id)
    if trigger.kind == "poll" and watch is not None and watch.start is not None:
        _watch_on(session, child, now)
    elif not (trigger.kind == "webhook" and hook is not None):
        halt(session, [child.id], now)
        begin(session, child, now)


def _watch(session: Session, child: ChildWorkflow, now: datetime) -> None:
    watch = session.get(Watch, child.id)
    if watch is None:
        watch = Watch(child_id=child.id)
        session.add(watch)
    watch.begun_at, watch.next_at, watch.page, watch.failures = now, now, 1, 0
    watch.start = watch.since = watch.walk_from = watch.error = watch.claimed_by = None
    set_schedule(watch, trigger_of(child), now)
    session.flush()


def set_schedule(watch: Watch, trigger: Trigger, after: datetime) -> None:
    """Set the next moment of a schedule; a poll's is left as it is."""
    if trigger.schedule is not None:
        watch.next_at = next_moment(trigger, after)
        watch.since = watch.next_at.isoformat()


def next_moment(trigger: Trigger, after: datetime) -> datetime:
    """The next moment of a schedule, in its own time zone: `0 9 * * *` stays nine o'clock when clocks change."""
    assert trigger.schedule is not None
    local = after.astimezone(ZoneInfo(trigger.time_zone))
    moment: datetime = croniter(trigger.schedule, local).get_next(datetime)
    return moment.astimezone(after.tzinfo)


def _watch_on(session: Session, child: ChildWorkflow, now: datetime) -> None:
    watch = session.get(Watch, child.id)
    if watch is not None:
        watch.next_at, watch.failures, watch.error, watch.claimed_by = now, 0, None, None
        set_schedule(watch, trigger_of(child), now)
        session.flush()


def halt(session: Session, child_ids: Iterable[str], now: datetime) -> list[str]:
    """Stop watching for children that stop, at once, with every run of theirs; the ids of runs that had begun."""
    ids = list(child_ids)
    session.execute(
        sa.update(Watch)
        .where(Watch.child_id.in_(ids))
        .values(next_at=None, claimed_by=None)
        .execution_options(synchronize_session=False)
    )
    for hook in session.scalars(sa.select(Hook).where(Hook.child_id.in_(ids))):
        _close_hook(session, hook)
    return cancel_runs(session, ids, now)


def start_children(session: Session, children: Iterable[ChildWorkflow], now: datetime) -> None:
    """Let children run: those that weren't active begin anew, those that were paused go on where they stood."""
    for child in children:
        if not child.is_active or child.paused_at is not None:
            child.is_active = True
            session.flush()
            begin(session, child, now)


def stop_children(session: Session, children: Iterable[ChildWorkflow], now: datetime) -> list[str]:
    """Stop children at once; the ids of the runs that were under way."""
    ids = [child.id for child in children]
    session.execute(
        sa.update(ChildWorkflow)
        .where(ChildWorkflow.id.in_(ids))
        .values(is_active=False, paused_at=None, paused_because=None)
        .execution_options(synchronize_session="fetch")
    )
    return halt(session, ids, now)


def upgrade_child(session: Session, child: ChildWorkflow, now: datetime) -> None:
    """Bring a child to the newest version of its parent, and watch for its trigger. Raises `NewFieldsAsked`."""
    if bring_to_newest(session, child) and child.is_active:
        follow_change(session, child, now)


def remove_children(session: Session, children: Sequence[ChildWorkflow], now: datetime) -> list[str]:
    """Stop children for good; the ids of the runs that were under way."""
    begun = stop_children(session, children, now)
    for child in children:
        child.removed_at = child.removed_at or now
    session.flush()
    return begun


def inherit(session: Session, earlier: ChildWorkflow, child: ChildWorkflow, now: datetime) -> None:
    """Let a child that takes the place of an earlier one, for the same account, go on where that one stood.

    What it has seen, how far it has read, and the runs that it didn't come to are the new one's: nothing is lost
    between the two, and nothing runs twice.
    """
    hold_child(session, earlier.id)  # nothing more begins there
    session.refresh(earlier, ["runs_made"])
    was_watched = session.get(Watch, earlier.id, populate_existing=True)
    session.execute(
        sa.update(SeenItem)
        .where(SeenItem.child_id == earlier.id)
        .values(child_id=child.id)
        .execution_options(synchronize_session=False)
    )
    child.runs_made = earlier.runs_made
    session.flush()
    hand_over_runs(session, earlier, child)
    if was_watched is not None and was_watched.start is not None and trigger_of(child).kind == "poll":
        follower = session.get_one(Watch, child.id)
        for name in ("begun_at", "start", "since", "walk_from", "page"):
            setattr(follower, name, getattr(was_watched, name))
        follower.next_at = now
    session.flush()


def stop_asking(session: Session, child_id: str) -> None:
    """Ask nothing more for a child that is paused or stopped; one that goes on by now is asked all the same."""
    session.get(ChildWorkflow, child_id, with_for_update={"key_share": True})
    rests = sa.exists().where(
        ChildWorkflow.id == Watch.child_id,
        sa.or_(~ChildWorkflow.is_active, ChildWorkflow.removed_at.is_not(None), ChildWorkflow.paused_at.is_not(None)),
    )
    session.execute(
        sa.update(Watch)
        .where(Watch.child_id == child_id, rests)
        .values(next_at=None, claimed_by=None)
        .execution_options(synchronize_session=False)
    )


# Addresses for webhooks


def hash_address(address: str) -> str:
    """What is stored of the unguessable part of an address."""
    return hashlib.sha256(address.encode()).hexdigest()


def _open_hook(session: Session, child: ChildWorkflow) -> None:
    hook = session.get(Hook, child.id)
    if hook is None:
        address = secrets.token_urlsafe(24)
        clear = json.dumps({"address": address, "secret": secrets.token_urlsafe(24)})
        hook = Hook(
            child_id=child.id,
            address_hash=hash_address(address),
            sealed=keys_of(session).seal(clear.encode(), child.id),
        )
        session.add(hook)
        session.flush()
    _enqueue(session, "register_hook", child.id, partition=child.id)


def _close_hook(session: Session, hook: Hook) -> None:
    """Take the registration away; what that needs is taken along, because the credential may be gone by then."""
    from portal.triggers.hooks import sealed_removal

    removal = sealed_removal(session, hook)
    session.delete(hook)
    session.flush()
    if removal is not None:
        _enqueue(session, "remove_hook", removal[0], removal[1], 1, partition=hook.child_id)


def _enqueue(session: Session, workflow: str, *args: object, partition: str) -> None:
    enqueue(
        session, workflow, *args, queue=HOOKS, partition=partition, workflow_id=f"{workflow}-{partition}-{new_id()}"
    )


def reseal_hooks(session: Session) -> int:
    """Seal every address anew with the newest key; returns how many."""
    keys = keys_of(session)
    hooks: Sequence[Hook] = session.scalars(sa.select(Hook)).all()
    for hook in hooks:
        hook.sealed = keys.seal(keys.open(hook.sealed, hook.child_id), hook.child_id)
    return len(hooks)
