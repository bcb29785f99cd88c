"""What is due for one child: its app is asked for new items, or a schedule's run is started.

Polls are no durable workflows: a child's place is in its row, so that a crash loses nothing; it is asked again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from flask import current_app
from sqlalchemy.orm import Session, joinedload

from portal.catalogue import App
from portal.catalogue.triggers import Cursor, Poll
from portal.clock import now
from portal.credentials.models import InstallationCredential
from portal.credentials.rules import open_values
from portal.db import changes_one, transaction
from portal.http import Outbound
from portal.integrations.models import Integration
from portal.keys.ring import KeyRing
from portal.runs.errors import NoRoom
from portal.runs.rules import TOGETHER, Item, has_room, record_items, require_room, unseen
from portal.runs.stopping import break_credential
from portal.runs.turns import hold_child
from portal.triggers.asking import CursorLost, NotAsked, Page, Walk, ask, is_before, write
from portal.triggers.models import Watch
from portal.triggers.rules import set_schedule, stop_asking, trigger_of
from portal.workflows.definition import Trigger
from portal.workflows.models import ChildWorkflow, Workflow

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)  # for which a child is a node's alone
MOST_PAGES = 10  # of one child before others have their turn
WAIT_FOR_ROOM = timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(minutes=5)


@dataclass(frozen=True)
class _Asked:
    """What is asked for one child."""

    child: ChildWorkflow
    trigger: Trigger
    walk: Walk
    begun_at: datetime
    failures: int
    app: App | None
    poll: Poll | None
    credential: dict[str, str] | None
    credential_id: str | None
    has_room: bool


def ask_for(child_id: str) -> None:
    """Do what is due for one child: read its pages and start a run for each new item, or start a schedule's run."""
    with transaction() as session:
        asked = _look_up(session, child_id)
        if asked is None:
            stop_asking(session, child_id)
            return
        if asked.trigger.kind == "schedule":
            _tick(session, asked)
            return
    _poll(asked)


def _look_up(session: Session, child_id: str) -> _Asked | None:
    watch = session.get(
        Watch, child_id, options=[joinedload(Watch.child).joinedload(ChildWorkflow.version)], populate_existing=True
    )
    if watch is None or not watch.child.is_active or watch.child.removed_at or watch.child.paused_at:
        return None
    trigger = trigger_of(watch.child)
    walk = Walk(watch.start, watch.since, watch.walk_from, watch.page)
    app: App | None = None
    poll: Poll | None = None
    credential: dict[str, str] | None = None
    row: InstallationCredential | None = None
    if trigger.kind == "poll":
        name = trigger.app or _only_app(session, watch.child)
        app = current_app.extensions["catalogue"].get(name)
        declared = app.triggers.get(trigger.name) if app else None
        poll = declared.poll if declared else None
        row = session.get(InstallationCredential, (watch.child.installation_id, name))
        keys: KeyRing = current_app.extensions["keys"]
        credential = open_values(keys, row.credential) if row is not None else None
    return _Asked(
        child=watch.child,
        trigger=trigger,
        walk=walk,
        begun_at=watch.begun_at,
        failures=watch.failures,
        app=app,
        poll=poll,
        credential=credential,
        credential_id=row.credential_id if row is not None else None,
        has_room=has_room(session, watch.child),
    )


def _only_app(session: Session, child: ChildWorkflow) -> str:
    workflow = session.get_one(Workflow, child.workflow_id)
    return session.get_one(Integration, workflow.integration_id).apps[0]


def _tick(session: Session, asked: _Asked) -> None:
    watch = session.get_one(Watch, asked.child.id)
    due = watch.since or now().isoformat()
    record_items(session, asked.child, [Item({"scheduledFor": due}, key=due)], trigger="schedule", now=now())
    watch.asked_at, watch.claimed_by = now(), None
    set_schedule(watch, asked.trigger, now())


def _poll(asked: _Asked) -> None:
    if asked.app is None or asked.poll is None:
        _note_failure(asked, NotAsked("The catalogue no longer declares this trigger: put the app’s file back."))
        return
    if asked.credential is None:
        _note_failure(asked, NotAsked("There is no credential: send the user a link to connect it."))
        return
    if not asked.has_room:
        _wait_for_room(asked)
        return
    outbound: Outbound = current_app.extensions["background_outbound"]
    walk, cursor = asked.walk, asked.poll.cursor
    try:
        for left in reversed(range(MOST_PAGES)):
            bound = walk.bound(cursor) or _first_bound(asked, cursor)
            page = ask(outbound, asked.app, asked.poll, asked.credential, bound, walk.page, now())
            if walk.start is None and cursor.kind == "time":
                walk.start = _start_of(asked, page)
            fresh = _from_start(page, walk.start, cursor)
            goes_on = walk.take(page, cursor)
            if walk.start is None and not goes_on:
                walk.start = walk.since or bound
            if not _keep(asked, walk, fresh, is_last=not (goes_on and left), is_due=goes_on) or not goes_on:
                return
    except CursorLost:
        if walk.since is None and walk.walk_from is None:  # asking again from the beginning gave the same
            _note_failure(asked, NotAsked(f"{asked.app.title} doesn’t know the moment that it was asked for."))
            return
        walk.since = walk.walk_from = None
        walk.page = 1
        _keep(asked, walk, [], is_last=True, is_due=True)
    except NotAsked as problem:
        _note_failure(asked, problem)
    except NoRoom:
        _wait_for_room(asked)


def _start_of(asked: _Asked, page: Page) -> str:
    """The moment at which the child began, by the app's clock, which may be wrong: to the second."""
    skew = page.app_clock - now() if page.app_clock else timedelta(0)
    assert asked.poll is not None
    skew = skew if abs(skew) > timedelta(seconds=2) else timedelta(0)
    return write(asked.begun_at.replace(microsecond=0) + skew, asked.poll.cursor)


def _first_bound(asked: _Asked, cursor: Cursor) -> str:
    return "0" if cursor.kind == "number" else write(asked.begun_at - timedelta(hours=1), cursor)


def _from_start(page: Page, start: str | None, cursor: Cursor) -> list[Item]:
    """The items that count: by time from the start on, by number behind what was there at the first walk."""
    if start is None:
        return []
    return [
        Item(item, key)
        for key, value, item in page.items
        if value is None
        or (is_before(start, value, cursor) if cursor.kind == "number" else not is_before(value, start, cursor))
    ]


def _keep(asked: _Asked, walk: Walk, fresh: list[Item], *, is_last: bool, is_due: bool) -> bool:
    """A run for each new item, so many in one transaction, and with the last of them how far it was read.

    False: the child was stopped meanwhile. Raises `NoRoom` when it takes no more; what it has taken by then it has
    seen, so that the page can be read again.
    """
    *earlier, last = _portions(asked, fresh)
    for portion in earlier:
        if not _record(asked, portion, {"start": walk.start, "next_at": now() + LEASE}):
            return False
    at = now()
    values = {
        "start": walk.start,
        "since": walk.since,
        "walk_from": walk.walk_from,
        "page": walk.page,
        "asked_at": at,
        "failures": 0,
        "error": None,
        "next_at": at + LEASE if not is_last else at if is_due else at + _pace(asked.trigger.every),
    }
    return _record(asked, last, {**values, "claimed_by": None} if is_last else values)


def _portions(asked: _Asked, fresh: list[Item]) -> list[list[Item]]:
    if len(fresh) > TOGETHER:  # usually all but a few of them were seen before
        with transaction() as session:
            fresh = unseen(session, asked.child.id, fresh)
    return [fresh[first : first + TOGETHER] for first in range(0, len(fresh), TOGETHER)] or [[]]


def _record(asked: _Asked, items: list[Item], values: dict[str, Any]) -> bool:
    """One transaction: a run for each of these items that is new, and this in the row. False: it was stopped."""
    with transaction() as session:
        if items and not hold_child(session, asked.child.id):
            return False
        if not _update(session, asked, **values):
            return False
        if items:
            child = session.get_one(
                ChildWorkflow, asked.child.id, options=[joinedload(ChildWorkflow.version)], populate_existing=True
            )
            require_room(session, child)
            at = now()
            if record_items(session, child, items, trigger="poll", now=at):
                session.execute(sa.update(Watch).where(Watch.child_id == child.id).values(found_at=at))
    return True


def _wait_for_room(asked: _Asked) -> None:
    """Ask again when the child has got through some of what it has; its place stays where it is."""
    with transaction() as session:
        _update(session, asked, next_at=now() + _pace(WAIT_FOR_ROOM), claimed_by=None)


def _pace(every: timedelta) -> timedelta:
    """A little off, so that children that began together don't ask together for ever."""
    return every * random.uniform(0.95, 1.05)  # noqa: S311 - no secret


def _note_failure(asked: _Asked, problem: NotAsked) -> None:
    because = str(problem)[:500]
    if problem.is_try and not problem.is_refused:
        log.info("a poll failed", child=asked.child.id, failures=asked.failures + 1)
    with transaction() as session:
        wait = problem.wait or min(asked.trigger.every * 2 ** min(asked.failures, 8), LONGEST_BACKOFF)
        told = {"asked_at": now(), "error": because, "failures": Watch.failures + 1} if problem.is_try else {}
        next_at = now() + _pace(max(wait, timedelta(seconds=1)))
        is_ours = _update(session, asked, **told, next_at=next_at, claimed_by=None)
        if is_ours and problem.is_refused and asked.credential_id is not None:
            # Where another one has taken its place, the next poll asks with that.
            break_credential(session, asked.credential_id, because, now())


def _update(session: Session, asked: _Asked, **values: Any) -> bool:
    """Write into the child's row; False when it was stopped since it was asked for, or began anew."""
    same = Watch.child_id == asked.child.id, Watch.next_at.is_not(None), Watch.begun_at == asked.begun_at
    return changes_one(session, sa.update(Watch).where(*same).values(**values))
