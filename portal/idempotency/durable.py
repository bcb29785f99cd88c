"""The chore that forgets old calls."""

from __future__ import annotations

from portal.background import hourly
from portal.clock import now
from portal.db import transaction
from portal.idempotency.rules import forget_old


@hourly
def forget_old_calls() -> None:
    """Delete calls that are older than a day."""
    with transaction() as session:
        forget_old(session, now())
