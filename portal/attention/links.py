"""Links that want somebody: asked for anew, about to end unopened, opened and left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from portal.attention.bounds import LOOK_BACK, LOOKED_AT, MOST, SOON
from portal.db import settings_of
from portal.installations.finding import has_installed_since
from portal.links.finding import in_state, is_answered, last_failures
from portal.links.models import FailedTry, Link, LinkOrigin, LinkState


@dataclass(frozen=True)
class Stalled:
    """A link that somebody opened and left, with what went wrong last."""

    link: Link
    failure: FailedTry | None


def stalled_links(session: Session, now: datetime) -> list[Stalled]:
    """The opened links that nobody has touched for a while, those that end first before the others."""
    left = Link.opened_at < now - timedelta(minutes=settings_of(session).abandoned_after)
    found = [
        link for state in (LinkState.opened, LinkState.verified) for link in _unfinished(session, now, state, left)
    ]
    found = sorted(found, key=lambda link: link.expires_at)[:MOST]
    failures = last_failures(session, [link.id for link in found])
    return [Stalled(link, failures.get(link.id)) for link in found]


def expiring_links(session: Session, now: datetime) -> list[Link]:
    """The links that nobody has opened and that end soon."""
    return _unfinished(session, now, LinkState.created, Link.expires_at < now + SOON)


def _unfinished(session: Session, now: datetime, state: LinkState, which: sa.ColumnElement[bool]) -> list[Link]:
    """The links of a state that end first; not those whose user has installed the same since, in another way."""
    handed_out = sa.and_(Link.origin == LinkOrigin.link, in_state(state, now), which)
    return _first(session, handed_out, Link.expires_at, ~has_installed_since(Link.created_at))


def asking_links(session: Session, now: datetime) -> list[Link]:
    """The links whose user asked for a new one lately and waits for it, the newest wish first."""
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
