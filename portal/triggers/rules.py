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
from portal.runs.rules import Item, record_items
from portal.runs.stopping import cancel_runs, hand_over_runs, resume
from portal.runs.turns import hold_child
from portal.triggers.models import Hook, Watch
from portal.workflows.definition import Trigger, comes_ever, read_definition
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
    else:
        _start(session, child, now)


def _start(session: Session, child: ChildWorkflow, now: datetime) -> None:
    match trigger_of(child).kind:
        case "poll" | "schedule":
            _watch(session, child, now)
        case "webhook":
            _open_hook(session, child)
        case "installation":
            item = Item({"installationId": child.installation_id, "userId": child.user_id}, key="installation")
            record_items(session, child, [item], trigger="installation", now=now)


def follow_change(session: Session, child: ChildWorkflow, before: Trigger, now: datetime) -> None:
    """Watch for what a child's new version begins with; what stays the same goes on where it stood.

    `before` is what it began with until now. Runs that it has are not touched.
    """
    trigger = trigger_of(child)
    if is_same_source(before, trigger):
        _watch_on(session, child, now, is_other_time=before != trigger)
    else:
        stop_watching(session, [child.id])
        _start(session, child, now)


def is_same_source(trigger: Trigger, other: Trigger) -> bool:
    """Whether two triggers tell of the same things, if perhaps at another pace."""

    def source(one: Trigger) -> tuple[str, str, str | None, str | None]:
        return one.kind, one.name, one.app, one.event

    return source(trigger) == source(other)


def begin_afresh(session: Session, child: ChildWorkflow, now: datetime) -> None:
    """Let a child that has got another account begin anew: nothing of the other one counts."""
    halt(session, [child.id], now)
    child.paused_at = child.paused_because = None
    session.flush()
    if trigger_of(child).kind != "installation":  # once for each installation, and this is the same one
        session.execute(sa.delete(SeenItem).where(SeenItem.child_id == child.id))
    _start(session, child, now)


def _watch(session: Session, child: ChildWorkflow, now: datetime) -> None:
    # A child that is just being made has none; both are then written together.
    watch = None if child in session.new else session.get(Watch, child.id)
    if watch is None:
        watch = Watch(child_id=child.id)
        session.add(watch)
    watch.begun_at, watch.next_at, watch.page, watch.failures = now, now, 1, 0
    watch.start = watch.since = watch.walk_from = watch.error = watch.claimed_by = None
    set_schedule(watch, trigger_of(child), now)
    session.flush()


def set_schedule(watch: Watch, trigger: Trigger, after: datetime) -> None:
    """Set the next moment of a schedule; a poll's is left as it is. One that never comes isn't waited for."""
    if trigger.schedule is not None:
        watch.next_at = next_moment(trigger, after) if comes_ever(trigger.schedule) else None
        watch.since = watch.next_at.isoformat() if watch.next_at else None


def next_moment(trigger: Trigger, after: datetime) -> datetime:
    """The next moment of a schedule, in its own time zone: `0 9 * * *` stays nine o'clock when clocks change.

    Of an hour that comes twice, the first counts, unless the schedule is for every hour.
    """
    assert trigger.schedule is not None
    local = after.astimezone(ZoneInfo(trigger.time_zone))
    moments = croniter(trigger.schedule, local)
    moment: datetime = moments.get_next(datetime)
    if "*" not in trigger.schedule.split()[1]:
        while _comes_again(moment):
            moment = moments.get_next(datetime)
    return moment.astimezone(after.tzinfo)


def _comes_again(local: datetime) -> bool:
    """Whether clocks have shown this time before, on the same day."""
    return local.fold == 1 and local.utcoffset() != local.replace(fold=0).utcoffset()


def _watch_on(session: Session, child: ChildWorkflow, now: datetime, *, is_other_time: bool = False) -> None:
    watch = session.get(Watch, child.id)
    if watch is None:
        return
    watch.next_at, watch.failures, watch.error, watch.claimed_by = now, 0, None, None
    has_missed = watch.since is not None and datetime.fromisoformat(watch.since) <= now
    if trigger_of(child).kind == "schedule" and (is_other_time or not has_missed):
        set_schedule(watch, trigger_of(child), now)
    session.flush()


def halt(session: Session, child_ids: Iterable[str], now: datetime) -> list[str]:
    """Stop watching for children that stop, at once, with every run of theirs; the ids of runs that had begun."""
    ids = list(child_ids)
    stop_watching(session, ids)
    return cancel_runs(session, ids, now)


def stop_watching(session: Session, ids: Sequence[str]) -> None:
    """Ask nothing more for these children, and take their addresses away."""
    session.execute(
        sa.update(Watch)
        .where(Watch.child_id.in_(ids))
        .values(next_at=None, claimed_by=None)
        .execution_options(synchronize_session=False)
    )
    for hook in session.scalars(sa.select(Hook).where(Hook.child_id.in_(ids))):
        _close_hook(session, hook)


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
    before = trigger_of(child)
    if bring_to_newest(session, child) and child.is_active:
        follow_change(session, child, before, now)


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
    hand_over_runs(session, earlier, child, now)
    if not is_same_source(trigger_of(earlier), trigger_of(child)):
        return
    if was_watched is not None and was_watched.start is not None and trigger_of(child).kind == "poll":
        follower = session.get_one(Watch, child.id)
        for name in ("begun_at", "start", "since", "walk_from", "page"):
            setattr(follower, name, getattr(was_watched, name))
        follower.next_at = now
    hook = session.get(Hook, earlier.id)
    if hook is not None:
        _move_hook(session, hook, child)
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
    enqueue_hook_work(session, "register_hook", child.id, partition=child.id)


def _move_hook(session: Session, hook: Hook, child: ChildWorkflow) -> None:
    """Let a child have the address of another one: what the app sends there meanwhile isn't lost."""
    keys, own = keys_of(session), session.get(Hook, child.id)
    if own is not None:
        session.delete(own)
    kept = ("address_hash", "hook_id", "asked_at", "registered_at", "received_at", "error")
    facts = {name: getattr(hook, name) for name in kept}
    sealed = keys.seal(keys.open(hook.sealed, hook.child_id), child.id)
    session.delete(hook)
    session.flush()
    session.add(Hook(child_id=child.id, sealed=sealed, **facts))
    session.flush()


def _close_hook(session: Session, hook: Hook) -> None:
    """Take the registration away; what that needs is taken along, because the credential may be gone by then."""
    from portal.triggers.hooks import listening, take_away

    found = listening(session, hook, session.info["catalogue"]) if hook.hook_id else None
    session.delete(hook)
    session.flush()
    if found is not None:
        take_away(session, found)


def enqueue_hook_work(session: Session, workflow: str, *args: object, partition: str) -> None:
    """Enqueue registering or taking away; once for each call."""
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
