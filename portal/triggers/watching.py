"""The watcher: finds the children for which something is due, and lets each be asked for by one node."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
import structlog
from flask import Flask, current_app

from portal.background import continuous
from portal.clock import now
from portal.db import transaction
from portal.faults import note
from portal.settings import Settings
from portal.triggers.models import Watch
from portal.triggers.polling import LEASE, ask_for

log = structlog.get_logger(__name__)

TICK = 0.2  # seconds between two looks for what is due
AT_ONCE = 64


@continuous
def watch_children(ended: threading.Event) -> None:
    """Ask for whatever is due, until the engine ends."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    settings: Settings = app.config["PORTAL_SETTINGS"]
    release_own(settings.executor_id)
    free = threading.Semaphore(AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="watch") as pool:
        while not ended.wait(TICK):
            try:
                due = claim_due(settings.executor_id, now(), _take_all(free))
            except Exception as error:
                note(error)
                due = Claimed([], AT_ONCE)
            for _ in range(due.unused):
                free.release()
            for child_id in due.children:
                pool.submit(_in_turn, app, child_id, free)


@dataclass(frozen=True)
class Claimed:
    """Children to ask for now, and how many more could have been."""

    children: list[str]
    unused: int


def _take_all(free: threading.Semaphore) -> int:
    taken = 0
    while free.acquire(blocking=False):
        taken += 1
    return taken


def _in_turn(app: Flask, child_id: str, free: threading.Semaphore) -> None:
    try:
        with app.app_context():
            ask_for(child_id)
    except Exception as error:
        log.error("a watch failed", child=child_id, reference=note(error))  # noqa: TRY400 - note logs the place
    finally:
        free.release()


def release_own(executor_id: str) -> None:
    """Let go of what this node was asking when it ended."""
    with transaction() as session:
        session.execute(
            sa.update(Watch)
            .where(Watch.claimed_by == executor_id, Watch.next_at.is_not(None))
            .values(next_at=now(), claimed_by=None)
            .execution_options(synchronize_session=False)
        )


def claim_due(executor_id: str, at: datetime, most: int) -> Claimed:
    """Take up to `most` children that are due, for a while; others may have them if nothing comes of it."""
    if most == 0:
        return Claimed([], 0)
    due = (
        sa.select(Watch.child_id)
        .where(Watch.next_at <= at)
        .order_by(Watch.next_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    with transaction() as session:
        ids = list(session.scalars(due))
        if not ids:
            return Claimed([], most)
        # Asked for again while writing: of two nodes one gets each child.
        taken = session.scalars(
            sa.update(Watch)
            .where(Watch.child_id.in_(ids), Watch.next_at <= at)
            .values(next_at=at + LEASE, claimed_by=executor_id)
            .returning(Watch.child_id)
            .execution_options(synchronize_session=False)
        ).all()
    return Claimed(list(taken), most - len(taken))
