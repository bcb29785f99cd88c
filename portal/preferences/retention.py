"""How long what is told about the past is kept. The chores that forget the rest live with what they forget."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from portal.db import settings_of


def run_log_days(session: Session) -> int:
    """For how many days the logs of runs are kept."""
    return settings_of(session).run_log_days


def run_logs_kept_since(session: Session, now: datetime) -> datetime:
    """The moment before which the logs of runs are to be forgotten."""
    return now - timedelta(days=run_log_days(session))
