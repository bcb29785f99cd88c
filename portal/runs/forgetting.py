"""How logs of runs go: the old ones by themselves, a user's when somebody asks for it; batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from portal.background import forget_work, hourly
from portal.clock import now
from portal.db import transaction, wipe_deleted
from portal.runs.logs import ended_runs, erase_runs, erase_steps_under_way, forget_old_runs, log_days

log = structlog.get_logger(__name__)


@hourly
def forget_old_logs() -> None:
    """Delete the logs of runs that ended long ago, in small batches."""
    with transaction() as session:
        days = log_days(session)
    while forget_old_runs_once(days):
        pass
    wipe_deleted()


def forget_old_runs_once(days: int) -> int:
    """One small batch; how many went."""
    with transaction() as session:
        return forget_old_runs(session, now() - timedelta(days=days))


@dataclass(frozen=True)
class Erasure:
    """The receipt for a user's logs that are gone: how many runs, steps and records of the engine."""

    user_id: str
    runs: int
    steps: int
    engine_records: int
    erased_at: datetime


def erase_logs(user_id: str) -> Erasure:
    """Delete the logs of all runs of a user that have ended, from our tables and from the engine's, batch by batch.

    Runs that are under way go on; what their steps said so far goes too. The engine's records go first: where a crash
    interrupts it, the runs are still there to find the rest by, and erasing again does so.
    """
    runs = steps = records = 0
    while True:
        with transaction() as session:
            ended = ended_runs(session, user_id)
        if not ended.ids:
            break
        records += forget_work(ended.legs)
        with transaction() as session:
            gone = erase_runs(session, ended.ids)
        runs, steps = runs + gone.runs, steps + gone.steps
    with transaction() as session:
        steps += erase_steps_under_way(session, user_id)
    if not wipe_deleted(is_thorough=True):
        log.warning("runs.erased_later", user=user_id)
    return Erasure(user_id, runs, steps, records, now())
