"""How a deed is written down, and how the log is looked through."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.audit.models import AuditEntry
from portal.environments import Environment
from portal.refusals import Refusal


class BadMoment(Refusal):
    """Neither a day nor a moment that there is."""

    title = "This is no day"

    def __init__(self, given: str) -> None:
        super().__init__(f"“{given[:40]}” is no day: write one such as 2026-11-25, or 2026-11-25T14:30 with a time.")


def write_down(
    session: Session,
    action: str,
    subject: str,
    *,
    actor: str,
    environment: Environment | None,
    now: datetime,
    **details: str | int | bool | None,
) -> None:
    """Add an entry, in the transaction of the deed itself: either both happen or neither."""
    session.add(
        AuditEntry(
            at=now,
            actor=actor[:255],
            environment=environment,
            action=action,
            subject=subject[:300],
            details=dict(details),
        )
    )


@dataclass(frozen=True)
class Filter:
    """What of the log is wanted; empty is everything. Days are whole ones, moments whole minutes; both in UTC."""

    actor: str = ""
    action: str = ""
    since: str = ""
    until: str = ""

    def select(self) -> sa.Select[AuditEntry]:
        """The entries, in no order yet. Raises `BadMoment`."""
        statement = sa.select(AuditEntry)
        if self.actor:
            statement = statement.where(AuditEntry.actor == self.actor)
        if self.action:
            statement = statement.where(AuditEntry.action == self.action)
        if self.since:
            statement = statement.where(AuditEntry.at >= _span(self.since)[0])
        if self.until:
            statement = statement.where(AuditEntry.at < _span(self.until)[1])
        return statement


def _span(text: str) -> tuple[datetime, datetime]:
    """Where the day or the minute begins, and where it is over."""
    for form, length in (("%Y-%m-%d", timedelta(days=1)), ("%Y-%m-%dT%H:%M", timedelta(minutes=1))):
        with suppress(ValueError, OverflowError):
            begun = datetime.strptime(text, form).replace(tzinfo=UTC)
            return begun, begun + length if begun.year < 9999 else datetime.max.replace(tzinfo=UTC)
    raise BadMoment(text)


def known_actions(session: Session) -> list[str]:
    """Every action that was ever written down, by its name: the index is stepped through, not read."""
    first = sa.select(sa.func.min(AuditEntry.action).label("action")).cte("actions", recursive=True)
    step = sa.select(sa.func.min(AuditEntry.action)).where(AuditEntry.action > first.c.action).scalar_subquery()
    every = first.union_all(sa.select(step).where(first.c.action.is_not(None)))
    return [action for action in session.scalars(sa.select(every.c.action)) if action is not None]


def entries_after(
    session: Session, wanted: sa.Select[AuditEntry], place: tuple[datetime, str] | None, limit: int
) -> Sequence[AuditEntry]:
    """The next of the entries that are wanted, oldest first, from `place` (a moment and an id) on."""
    if place is not None:
        at, row_id = place
        after = sa.tuple_(sa.literal(at, AuditEntry.at.type), sa.literal(row_id))
        wanted = wanted.where(sa.tuple_(AuditEntry.at, AuditEntry.id) > after)
    return session.scalars(wanted.order_by(AuditEntry.at, AuditEntry.id).limit(limit)).all()
