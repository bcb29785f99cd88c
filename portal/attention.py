"""What needs an operator's attention, and how it goes: questions over links, installations, deliveries and runs.

The session decides whose environment is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased, joinedload

from portal.credentials.models import Credential, InstallationCredential
from portal.db import settings_of
from portal.events.kinds import TEST
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState
from portal.installations.finding import has_installed_since
from portal.installations.models import Installation, InstallationDay
from portal.integrations.models import Integration
from portal.links.finding import is_answered, last_failures
from portal.links.models import FailedTry, Link, LinkOrigin, LinkState
from portal.links.rules import in_state
from portal.runs.models import Run, RunState, WorkflowDay
from portal.runs.reading import select_runs
from portal.users.models import User

SOON = timedelta(days=1)
LOOK_BACK = timedelta(days=7)
MOST = 10  # of each kind; the lists have all of them
LOOKED_AT = 100  # rows that a question may look at one by one
MOST_COUNTED = 1_000  # as far as is counted
MOST_FAILING = 100  # deliveries to an endpoint, in a state, that are looked at


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

    Also installations that lack a credential or whose account is refused, and runs that failed. `MOST` of each kind at
    the most, and no question reads a whole table.
    """
    return Attention(
        _asked(session, now),
        _unfinished(session, now, LinkState.created, Link.expires_at < now + SOON),
        _stalled(session, now),
        _failing(session, now),
        _broken(session),
        _refused(session),
        list(
            session.scalars(
                select_runs(state=RunState.failed, since=now - LOOK_BACK).order_by(Run.created_at.desc()).limit(MOST)
            )
        ),
    )


def _stalled(session: Session, now: datetime) -> list[Stalled]:
    """The opened links that nobody has touched for a while, those that end first before the others."""
    left = Link.opened_at < now - timedelta(minutes=settings_of(session).abandoned_after)
    found = [
        link for state in (LinkState.opened, LinkState.verified) for link in _unfinished(session, now, state, left)
    ]
    found = sorted(found, key=lambda link: link.expires_at)[:MOST]
    failures = last_failures(session, [link.id for link in found])
    return [Stalled(link, failures.get(link.id)) for link in found]


def _unfinished(session: Session, now: datetime, state: LinkState, which: sa.ColumnElement[bool]) -> list[Link]:
    """The links of a state that end first; not those whose user has installed the same since, in another way."""
    handed_out = sa.and_(Link.origin == LinkOrigin.link, in_state(state, now), which)
    return _first(session, handed_out, Link.expires_at, ~has_installed_since(Link.created_at))


def _asked(session: Session, now: datetime) -> list[Link]:
    lately = sa.and_(Link.requested_at.is_not(None), Link.requested_at > now - LOOK_BACK)
    return _first(session, lately, Link.requested_at.desc(), _is_waiting())


def _is_waiting() -> sa.ColumnElement[bool]:
    return sa.and_(~is_answered(), ~has_installed_since(Link.requested_at))


def _first(
    session: Session,
    which: sa.ColumnElement[bool],
    order: sa.SQLColumnExpression[Any],
    open_still: sa.ColumnElement[bool],
) -> list[Link]:
    """The first of these links that are open still.

    A portal where most are settled costs no more than another: the first `LOOKED_AT` are looked at, and of those
    that are told alone it is read whose they are.
    """
    looked_at = sa.select(Link.id).where(which).order_by(order).limit(LOOKED_AT).subquery()
    found = sa.select(Link.id).join(looked_at, looked_at.c.id == Link.id).where(open_still).order_by(order).limit(MOST)
    whole = (joinedload(Link.user), joinedload(Link.integration))
    return list(session.scalars(sa.select(Link).where(Link.id.in_(found)).options(*whole).order_by(order)))


def who_waits(session: Session, links: Sequence[Link]) -> set[str]:
    """The ids of those of these links whose user asked for a new one, and has neither got nor installed it since."""
    asked = [link.id for link in links if link.requested_at is not None]
    return set(session.scalars(sa.select(Link.id).where(Link.id.in_(asked), _is_waiting()))) if asked else set()


def _failing(session: Session, now: datetime) -> list[Delivery]:
    """Deliveries that were given up lately, newest first, then those that wait for another attempt, oldest first."""
    lately = Delivery.created_at > now - LOOK_BACK
    # Of many that were all sent again, the newest are looked at.
    newest = sa.select(Delivery.id).where(Delivery.state == DeliveryState.given_up, lately)
    some = newest.order_by(Delivery.created_at.desc()).limit(LOOKED_AT).subquery()
    fail = sa.select(Delivery.id).join(some, some.c.id == Delivery.id).where(Delivery.type != TEST, ~_is_followed())
    first = fail.order_by(Delivery.created_at.desc()).limit(MOST)
    whole = (joinedload(Delivery.event), joinedload(Delivery.endpoint))
    given_up = session.scalars(
        sa.select(Delivery).where(Delivery.id.in_(first)).options(*whole).order_by(Delivery.created_at.desc())
    ).all()
    waiting = session.scalars(
        sa.select(Delivery)
        .where(Delivery.state == DeliveryState.pending, lately, Delivery.type != TEST, ~_is_followed())
        .options(*whole)
        .order_by(Delivery.created_at)
        .limit(LOOKED_AT)
    ).all()
    ids = [delivery.id for delivery in waiting]
    tried = set(session.scalars(sa.select(DeliveryAttempt.delivery_id).where(DeliveryAttempt.delivery_id.in_(ids))))
    return [*given_up, *(delivery for delivery in waiting if delivery.id in tried)][:MOST]


def _is_followed() -> sa.ColumnElement[bool]:
    """The condition that the same event was delivered to the same endpoint anew."""
    newer = aliased(Delivery)
    return sa.exists().where(
        newer.event_id == Delivery.event_id,
        newer.endpoint_id.is_not_distinct_from(Delivery.endpoint_id),
        newer.created_at > Delivery.created_at,
    )


@dataclass(frozen=True)
class Failing:
    """How many deliveries to an endpoint fail, and whether there may be more than were looked at."""

    number: int
    are_more: bool


def count_failing(session: Session, endpoint_ids: Sequence[str], now: datetime) -> dict[str, Failing]:
    """How many deliveries to each of these endpoints fail: of real events, and not when they arrived later.

    Of each it looks at the newest `MOST_FAILING` that were given up and at as many of those that wait the longest, so
    that a long outage costs no more than a short one.
    """
    return {one: _failing_to(session, one, now) for one in endpoint_ids}


def _failing_to(session: Session, endpoint_id: str, now: datetime) -> Failing:
    has_failed = sa.exists().where(DeliveryAttempt.delivery_id == Delivery.id)
    number, are_more = 0, False
    for state, order, failed in (
        (DeliveryState.given_up, Delivery.created_at.desc(), sa.true()),
        (DeliveryState.pending, Delivery.created_at.asc(), has_failed),
    ):
        some = (
            sa.select(Delivery.id)
            .where(Delivery.endpoint_id == endpoint_id, Delivery.state == state, Delivery.created_at > now - LOOK_BACK)
            .order_by(order)
            .limit(MOST_FAILING)
            .subquery()
        )
        fails = sa.case((sa.and_(Delivery.type != TEST, ~_is_followed(), failed), 1))
        counted = sa.select(sa.func.count(), sa.func.count(fails)).select_from(Delivery)
        looked_at, failing = session.execute(counted.join(some, some.c.id == Delivery.id)).one()
        number, are_more = number + failing, are_more or looked_at == MOST_FAILING
    return Failing(number, are_more)


def _broken(session: Session) -> list[Installation]:
    """Installations that lack the credential of an app. Whoever deletes one stops what runs with it.

    So they are looked for among what is stopped, the newest of it.
    """
    stopped = (
        sa.select(Installation.id)
        .where(Installation.removed_at.is_(None), Installation.is_enabled == sa.false())
        .order_by(Installation.installed_at.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    # Both databases keep the list of apps as the text of a JSON array.
    has = sa.select(sa.func.count()).where(
        InstallationCredential.installation_id == Installation.id,
        sa.cast(Integration.apps, sa.Text).contains('"' + InstallationCredential.app + '"'),
    )
    newest = Installation.installed_at.desc()
    found = (
        sa.select(Installation.id)
        .join(stopped, stopped.c.id == Installation.id)
        .join(Integration)
        .where(has.scalar_subquery() < sa.func.json_array_length(Integration.apps))
        .order_by(newest)
        .limit(MOST)
    )
    whole = (joinedload(Installation.user), joinedload(Installation.integration))
    return list(
        session.scalars(sa.select(Installation).where(Installation.id.in_(found)).options(*whole).order_by(newest))
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
    """How much there is, `MOST_COUNTED` at the most of each."""

    users: int
    installations: int
    open_links: int
    pending_deliveries: int


def count_everything(session: Session, now: datetime) -> Counts:
    """Users, installations that stand, links that can be used, deliveries that wait."""
    open_links = sa.select(Link.id).where(
        Link.origin == LinkOrigin.link,
        sa.func.coalesce(Link.finished_at, Link.revoked_at).is_(None),
        Link.expires_at > now,
    )
    return Counts(
        users=_count(session, sa.select(User.id)),
        installations=_count(session, sa.select(Installation.id).where(Installation.removed_at.is_(None))),
        open_links=_count(session, open_links),
        pending_deliveries=_count(session, sa.select(Delivery.id).where(Delivery.state == DeliveryState.pending)),
    )


def _count(session: Session, statement: sa.Select[str]) -> int:
    some = statement.limit(MOST_COUNTED).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def installations_by_day(session: Session, now: datetime, days: int = 30) -> list[tuple[date, int]]:
    """How many installations were finished on each of the last days (UTC), the oldest first.

    They were counted as they were finished, so that a busy month costs no more than another, and none is left out.
    """
    first = (now - timedelta(days=days - 1)).date()
    known = sa.select(InstallationDay.day, InstallationDay.finished).where(InstallationDay.day >= first)
    counted = {row.day: row.finished for row in session.execute(known)}
    wanted = [first + timedelta(days=n) for n in range(days)]
    return [(day, counted.get(day, 0)) for day in wanted]
