"""How runs whose leg ended in a fault of ours are found and taken up again, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.background import ended_work, hourly
from portal.clock import now
from portal.db import changes_one, transaction
from portal.runs.models import Run, RunState
from portal.runs.turns import enqueue_leg, has_earlier, leg_name

OVERDUE = timedelta(minutes=15)
BATCH = 500

Ended = Callable[[Sequence[str]], set[str]]


@hourly
def take_up_what_was_dropped() -> None:
    """Enqueue again each run that should be under way, but whose leg is over."""
    take_up_dropped(now() - OVERDUE, ended_work)


def take_up_dropped(before: datetime, ended: Ended) -> int:
    """Enqueue again what began before this moment and has no leg any more; `ended` tells which legs are over."""
    count, behind = 0, ("", 0)
    while True:
        with transaction() as session:
            found = _find(session, before, behind)
            over = ended([one.name for one in found]) if found else set()
            count += sum(_go_on(session, one) for one in found if one.name in over)
        if len(found) < BATCH:
            return count
        behind = found[-1].child_id, found[-1].number


@dataclass(frozen=True)
class _Found:
    """A run as it was read."""

    id: str
    child_id: str
    number: int
    leg: int
    state: RunState

    @property
    def name(self) -> str:
        """What the engine calls its leg."""
        return leg_name(self.number, self.id, self.leg)


def _find(session: Session, before: datetime, behind: tuple[str, int]) -> list[_Found]:
    """A batch of runs that may have been dropped, in the order of the index of what is under way."""
    is_due = sa.or_(
        sa.and_(Run.state.in_((RunState.queued, RunState.running)), Run.created_at < before),
        sa.and_(Run.state.in_((RunState.retrying, RunState.waiting)), Run.next_at < before),
    )
    place = sa.tuple_(Run.child_id, Run.number)
    rows = session.execute(
        sa.select(Run.id, Run.child_id, Run.number, Run.leg, Run.state)
        .where(Run.ended_at.is_(None), place > behind, is_due, sa.or_(~Run.is_parked, ~has_earlier()))
        .order_by(Run.child_id, Run.number)
        .limit(BATCH)
    )
    return [_Found(*row) for row in rows]


def _go_on(session: Session, found: _Found) -> bool:
    """Enqueue the next leg of a run, unless something has happened to it since it was read."""
    # Whoever has hold of the row is doing something with it, and is not waited for.
    same = (
        sa.select(Run.id)
        .where(Run.id == found.id, Run.leg == found.leg, Run.state == found.state, Run.ended_at.is_(None))
        .with_for_update(skip_locked=True, key_share=True)
    )
    taken = (
        sa.update(Run)
        .where(Run.id.in_(same.scalar_subquery()))
        .values(state=RunState.queued, leg=Run.leg + 1, is_parked=False)
    )
    if not changes_one(session, taken):
        return False
    enqueue_leg(session, session.get_one(Run, found.id, populate_existing=True))
    return True
