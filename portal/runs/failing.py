"""What becomes of a run whose step did not succeed: it is tried again later, or fails and the vendor is told."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from portal.events.kinds import RUN_FAILED
from portal.events.rules import announce
from portal.runs.models import Run, RunState
from portal.runs.turns import end_run, enqueue_leg, hold_step

# The wait before each further attempt at a step; after these it is the last one each time.
WAITS = tuple(timedelta(seconds=s) for s in (1, 5, 30, 120, 300))
LONGEST_FOR_A_PLACE = timedelta(seconds=30)
GIVEN_UP_AFTER = timedelta(days=1)


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
    current = hold_step(session, run, progress)
    if current is None:
        return False
    current.error, current.error_block, current.attempts = because[:1000], block[1], current.attempts + 1
    end_run(session, current, RunState.failed, now)
    tell_failure(session, run, because, block_name=block[1], integration_id=integration_id, now=now)
    return True


def tell_failure(
    session: Session, run: Run, because: str, *, block_name: str, integration_id: str, now: datetime
) -> None:
    """Tell the vendor that a run has failed."""
    announce(
        session,
        RUN_FAILED,
        {
            "userId": run.user_id,
            "workflowId": run.workflow_id,
            "integrationId": integration_id,
            "executionId": run.id,
            "block": block_name,
            "message": because,
        },
        environment=run.environment,
        now=now,
    )


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
    """Try the step again later; None when the run was stopped, or its day is over (then it is the caller's to fail).

    What was no try, because there was no place for it, waits as long as it has been waiting: it comes half as often
    each time, so that many that find no place don't keep the engine busy.
    """
    current = hold_step(session, run, progress)
    if current is None:
        return None
    # Before the first try it says since when there was no place.
    since = current.failing_since or now
    if is_try:
        since = since if current.attempts else now
        if now - since >= GIVEN_UP_AFTER:
            return None
        current.attempts += 1
        current.error, current.error_block = because[:1000], block_name
    current.failing_since = since
    pause = wait or WAITS[min(current.attempts, len(WAITS)) - 1]
    if not is_try:
        pause = min(max(pause, now - since), LONGEST_FOR_A_PLACE)
    # Not all at once: what failed together would come back together.
    seconds = pause.total_seconds() * random.uniform(1.0, 1.25)  # noqa: S311 - no secret
    current.state, current.next_at = RunState.retrying, now + timedelta(seconds=seconds)
    current.leg += 1
    session.flush()
    enqueue_leg(session, current, delay=seconds)
    return current.next_at
