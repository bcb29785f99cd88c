"""What needs an operator's attention, and how it goes: questions over links, installations, deliveries and runs.

The session decides whose environment is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from portal.credentials.models import Credential, InstallationCredential
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Event
from portal.installations.models import Installation
from portal.links.models import FailedTry, Link, LinkOrigin
from portal.runs.models import Run, RunState, WorkflowDay
from portal.runs.reading import select_runs
from portal.users.models import User

SOON = timedelta(days=1)
STALLED_AFTER = timedelta(minutes=30)
LOOK_BACK = timedelta(days=7)
MOST = 10  # of each kind; the lists have all of them


@dataclass(frozen=True)
class Stalled:
    """A link that somebody opened and left, with what went wrong last."""

    link: Link
    failure: FailedTry | None


@dataclass(frozen=True)
class RefusedAccount:
    """An account that its app no longer accepts, and an installation whose workflows are paused by that."""

    credential: Credential
    installation: Installation


@dataclass(frozen=True)
class Attention:
    """What needs attention first."""

    asked: list[Link]
    expiring: list[Link]
    stalled: list[Stalled]
    failing: list[Delivery]
    broken: list[Installation]
    refused: list[RefusedAccount]
    failed_runs: list[Run]

    @property
    def is_empty(self) -> bool:
        """Whether everything is fine."""
        return not any(
            (self.asked, self.expiring, self.stalled, self.failing, self.broken, self.refused, self.failed_runs)
        )


def what_needs_attention(session: Session, now: datetime) -> Attention:
    """Who asks for a new link, which links end soon unopened, which installs stalled, which webhooks fail.

    Also installations whose credential is gone or refused, and runs that failed. The newest of each kind, `MOST` at
    the most.
    """
    usable = sa.and_(
        Link.origin == LinkOrigin.link,
        Link.finished_at.is_(None),
        Link.revoked_at.is_(None),
        Link.expires_at > now,
    )
    whole = (joinedload(Link.user), joinedload(Link.integration))
    expiring = session.scalars(
        sa.select(Link)
        .where(usable, Link.opened_at.is_(None), Link.expires_at < now + SOON)
        .options(*whole)
        .order_by(Link.expires_at)
        .limit(MOST)
    ).all()
    opened = session.scalars(
        sa.select(Link)
        .where(usable, Link.opened_at < now - STALLED_AFTER)
        .options(*whole)
        .order_by(Link.opened_at.desc())
        .limit(MOST)
    ).all()
    return Attention(
        _asked(session, now),
        list(expiring),
        [Stalled(link, last_failure(session, link.id)) for link in opened],
        _failing(session, now),
        _broken(session),
        _refused(session),
        list(
            session.scalars(
                select_runs(state=RunState.failed, since=now - LOOK_BACK).order_by(Run.created_at.desc()).limit(MOST)
            )
        ),
    )


def _asked(session: Session, now: datetime) -> list[Link]:
    # Answered is who got a newer link for the same thing.
    newer = aliased(Link)
    answered = sa.exists().where(
        newer.user_id == Link.user_id,
        newer.integration_id == Link.integration_id,
        newer.created_at > Link.requested_at,
        newer.origin == LinkOrigin.link,
    )
    return list(
        session.scalars(
            sa.select(Link)
            .where(Link.requested_at > now - LOOK_BACK, ~answered)
            .options(joinedload(Link.user), joinedload(Link.integration))
            .order_by(Link.requested_at.desc())
            .limit(MOST)
        )
    )


def last_failure(session: Session, link_id: str) -> FailedTry | None:
    """What went wrong last on a link."""
    return session.scalar(
        sa.select(FailedTry).where(FailedTry.link_id == link_id).order_by(FailedTry.at.desc()).limit(1)
    )


def _failing(session: Session, now: datetime) -> list[Delivery]:
    has_failed = sa.exists().where(DeliveryAttempt.delivery_id == Delivery.id)
    return list(
        session.scalars(
            sa.select(Delivery)
            .join(Event)
            .where(
                Event.created_at > now - LOOK_BACK,
                sa.or_(
                    Delivery.state == DeliveryState.given_up,
                    sa.and_(Delivery.state == DeliveryState.pending, has_failed),
                ),
            )
            .options(joinedload(Delivery.event))
            .order_by(Event.created_at.desc())
            .limit(MOST)
        )
    )


def _broken(session: Session) -> list[Installation]:
    has_credential = sa.exists().where(InstallationCredential.installation_id == Installation.id)
    return list(
        session.scalars(
            sa.select(Installation)
            .where(Installation.removed_at.is_(None), ~has_credential)
            .order_by(Installation.installed_at.desc())
            .limit(MOST)
        )
    )


def _refused(session: Session) -> list[RefusedAccount]:
    rows = session.execute(
        sa.select(Credential, Installation)
        .join(InstallationCredential, InstallationCredential.credential_id == Credential.id)
        .join(Installation, Installation.id == InstallationCredential.installation_id)
        .where(Credential.broken_at.is_not(None), Installation.removed_at.is_(None))
        .options(joinedload(Installation.user), joinedload(Installation.integration))
        .order_by(Credential.broken_at.desc())
        .limit(MOST)
    )
    return [RefusedAccount(credential, installation) for credential, installation in rows]


@dataclass(frozen=True)
class RunCounts:
    """What the runs of all workflows that ended lately came to."""

    runs: int
    errors: int
    actions: int


def count_runs(session: Session, now: datetime, days: int = 30) -> RunCounts:
    """What the runs of all workflows came to in the last days (UTC)."""
    sums = [
        sa.func.coalesce(sa.func.sum(one), 0) for one in (WorkflowDay.runs, WorkflowDay.errors, WorkflowDay.actions)
    ]
    first = (now - timedelta(days=days - 1)).date()
    row = session.execute(sa.select(*sums).select_from(WorkflowDay).where(WorkflowDay.day >= first)).one()
    return RunCounts(*(int(number) for number in row))


@dataclass(frozen=True)
class Counts:
    """How much there is."""

    users: int
    installations: int
    open_links: int
    pending_deliveries: int


def count_everything(session: Session, now: datetime) -> Counts:
    """Users, installations that stand, links that can be used, deliveries that wait."""

    def count(statement: sa.Select[int]) -> int:
        return session.scalar(statement) or 0

    number = sa.func.count()
    return Counts(
        users=count(sa.select(number).select_from(User)),
        installations=count(sa.select(number).select_from(Installation).where(Installation.removed_at.is_(None))),
        open_links=count(
            sa.select(number)
            .select_from(Link)
            .where(
                Link.origin == LinkOrigin.link,
                Link.finished_at.is_(None),
                Link.revoked_at.is_(None),
                Link.expires_at > now,
            )
        ),
        pending_deliveries=count(
            sa.select(number).select_from(Delivery).join(Event).where(Delivery.state == DeliveryState.pending)
        ),
    )


def installations_by_day(session: Session, now: datetime, days: int = 30) -> list[tuple[date, int]]:
    """How many installations were finished on each of the last days (UTC), the oldest first."""
    first = (now - timedelta(days=days - 1)).date()
    day = sa.func.date(Installation.installed_at)
    start = datetime(first.year, first.month, first.day, tzinfo=now.tzinfo)
    counted = session.execute(
        sa.select(day, sa.func.count()).where(Installation.installed_at >= start).group_by(day)
    ).all()
    known = {str(found): number for found, number in counted}
    wanted = [first + timedelta(days=n) for n in range(days)]
    return [(one, known.get(one.isoformat(), 0)) for one in wanted]
