"""Chores: what is done once an hour and once a minute, on whichever node comes to it first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from portal import db
from portal.background.nodes import forget_dead_nodes
from portal.background.work import HOURLY, MINUTELY, Queue, client_for, continuous, durable, enqueue, step
from portal.clock import now
from portal.db import transaction
from portal.faults import note

KEPT = timedelta(days=7)  # how long the engine's own records of finished work stay
_BATCH = 500
ASKING = 20.0  # seconds between two askings

HOUSE = Queue("house", at_once=1, per_partition=1, polling=5.0)
WATCH = Queue("watch", at_once=1, per_partition=1, polling=5.0)


@continuous
def ask_for_chores(ended: threading.Event) -> None:
    """Enqueue the chores of each hour and each minute, for as long as the engine runs.

    None leads to the next one: chores that fail, or that a dead node took along, hold up only themselves.
    """
    while True:
        for ask in (_ask_for_house, _ask_for_watch):
            try:
                ask(now())
            except Exception as error:  # a busy database: they are asked for again soon
                note(error)
        if ended.wait(ASKING):
            return


def _ask_for_house(moment: datetime) -> None:
    # A minute after a start or the full hour, when there is most to do besides.
    _ask(keep_house, moment.replace(minute=0, second=0, microsecond=0), HOUSE, delay=60)


def _ask_for_watch(moment: datetime) -> None:
    _ask(keep_watch, moment.replace(second=0, microsecond=0), WATCH)


def _ask(chores: Callable[[str], None], moment: datetime, queue: Queue, delay: float = 0) -> None:
    # The moment names the work: whoever asks for it, and however often, it is done once.
    with transaction() as session:
        enqueue(
            session,
            chores,
            moment.isoformat(),
            queue=queue,
            partition=queue.name,
            delay=delay,
            workflow_id=f"{queue.name}-{moment.isoformat()}",
        )


@durable(HOUSE)
def keep_house(hour: str) -> None:
    """Do the hourly chores."""
    tidy_up()


@step
def tidy_up() -> None:
    """Every hourly chore."""
    _do_each([*HOURLY, _forget_finished_work, forget_dead_nodes])


@durable(WATCH)
def keep_watch(minute: str) -> None:
    """Look after what is due each minute."""
    look_after()


@step
def look_after() -> None:
    """Every chore of the minute."""
    _do_each(MINUTELY)


def _do_each(chores: Sequence[Callable[[], None]]) -> None:
    # One that fails doesn't keep the others from being done.
    for chore in chores:
        try:
            chore()
        except Exception:
            logging.getLogger(__name__).exception("the chore %s failed", chore.__name__)


def _forget_finished_work() -> None:
    client = client_for(db.engine())
    before = (now() - KEPT).isoformat()
    while True:
        old = client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=before,
            limit=_BATCH,
            load_input=False,
            load_output=False,
        )
        if not old:
            return
        client.delete_workflows([workflow.workflow_id for workflow in old])
