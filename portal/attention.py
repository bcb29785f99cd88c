"""What needs an operator's attention, and how installing goes: questions over links, installations and deliveries.

The session decides whose environment is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from portal.db import settings_of
from portal.events.kinds import TEST
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Event
from portal.installations.models import Installation, InstallationCredential
from portal.links.models import FailedTry, Link, LinkOrigin
from portal.users.models import User

SOON = timedelta(days=1)
LOOK_BACK = timedelta(days=7)
MOST = 10  # of each kind; the lists have all of them


@dataclass(frozen=True)
class Stalled:
    """A link that somebody opened and left, with what went wrong last."""

    link: Link
    failure: FailedTry | None


@dataclass(frozen=True)
class Attention:
    """What needs attention first."""

    asked: list[Link]
    expiring: list[Link]
    stalled: list[Stalled]
    failing: list[Delivery]
    broken: list[Installation]

    @property
    def is_empty(self) -> bool:
        """Whether everything is fine."""
        return not (self.asked or self.expiring or self.stalled or self.failing or self.broken)


def what_needs_attention(session: Session, now: datetime) -> Attention:
    """Who asks for a new link, which links end soon unopened, which installs stalled, which webhooks fail.

    Also installations whose credential is gone. The newest of each kind, `MOST` at the most.
    """
    stalled_after = timedelta(minutes=settings_of(session).abandoned_after)
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
        .where(usable, Link.opened_at < now - stalled_after)
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


def _is_failing(now: datetime) -> sa.ColumnElement[bool]:
    # Of real events, and not when the same was delivered anew afterwards. An index on state and time answers it.
    newer = aliased(Delivery)
    followed = sa.exists().where(
        newer.event_id == Delivery.event_id,
        newer.endpoint_id == Delivery.endpoint_id,
        newer.created_at > Delivery.created_at,
    )
    has_failed = sa.exists().where(DeliveryAttempt.delivery_id == Delivery.id)
    return sa.and_(
        Delivery.state.in_([DeliveryState.given_up, DeliveryState.pending]),
        Delivery.created_at > now - LOOK_BACK,
        Event.type != TEST,
        sa.or_(Delivery.state == DeliveryState.given_up, has_failed),
        ~followed,
    )


def _failing(session: Session, now: datetime) -> list[Delivery]:
    return list(
        session.scalars(
            sa.select(Delivery)
            .join(Event)
            .where(_is_failing(now))
            .options(joinedload(Delivery.event), joinedload(Delivery.endpoint))
            .order_by(Delivery.created_at.desc())
            .limit(MOST)
        )
    )


def count_failing(session: Session, now: datetime) -> dict[str, int]:
    """How many deliveries fail, by the id of their endpoint."""
    counted = session.execute(
        sa.select(Delivery.endpoint_id, sa.func.count())
        .join(Event)
        .where(_is_failing(now), Delivery.endpoint_id.is_not(None))
        .group_by(Delivery.endpoint_id)
    ).all()
    return {str(endpoint): number for endpoint, number in counted}


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
