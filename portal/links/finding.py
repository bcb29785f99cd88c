"""Which links a list asks for, and what it tells of them.

Each question is put in the words of an index that answers it (see `models`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, joinedload

from portal.links.models import STATE_ORDER, FailedTry, Link, LinkOrigin, LinkState
from portal.users.models import User

# Links of a user that are looked at where a state or an integration is asked for as well: no index leads to those.
NEWEST = 200
_made = aliased(Link, name="made")


def in_state(state: LinkState, at: datetime) -> sa.ColumnElement[bool]:
    """The condition that a link is in this state at the moment `at`; the same as `Link.state` says of a row.

    Each is in the words of the index of its state (see `models`).
    """
    goes_on = sa.and_(Link.finished_at.is_(None), Link.revoked_at.is_(None), Link.expires_at > at)
    has_not_ended = sa.func.coalesce(Link.finished_at, Link.revoked_at).is_(None)
    conditions: dict[LinkState, sa.ColumnElement[bool]] = {
        LinkState.finished: Link.finished_at.is_not(None),
        LinkState.revoked: sa.and_(Link.finished_at.is_(None), Link.revoked_at.is_not(None)),
        LinkState.expired: sa.and_(has_not_ended, Link.expires_at <= at),
        LinkState.verified: sa.and_(goes_on, Link.verified_at.is_not(None)),
        LinkState.opened: sa.and_(goes_on, Link.verified_at.is_(None), Link.opened_at.is_not(None)),
        LinkState.created: sa.and_(goes_on, Link.verified_at.is_(None), Link.opened_at.is_(None)),
    }
    return conditions[state]


def select_links(
    at: datetime,
    *,
    state: LinkState | None = None,
    integration_id: str | None = None,
    has_asked: bool = False,
) -> sa.Select[Link]:
    """The links that were handed out, in this state at the moment `at`, of this integration.

    With `has_asked`, those whose user asked for a new one; also of modals and connections, where people ask as well.
    """
    statement = sa.select(Link).options(joinedload(Link.user), joinedload(Link.integration))
    statement = statement.where(Link.requested_at.is_not(None) if has_asked else Link.origin == LinkOrigin.link)
    if state is not None:
        statement = statement.where(in_state(state, at))
    if integration_id is not None:
        statement = statement.where(Link.integration_id == integration_id)
    return statement


Place = tuple[datetime, str]  # of a link in the order in which they were made


def ends_of_newest(session: Session, user_ids: Sequence[str]) -> dict[str, Place]:
    """For each of these users who has more than `NEWEST` links, the place of the first one that isn't looked at."""
    ordered = sa.select(_made.id).where(_made.user_id == User.id, _made.origin == LinkOrigin.link)
    end = ordered.order_by(_made.created_at.desc(), _made.id.desc()).offset(NEWEST).limit(1).scalar_subquery()
    found = sa.select(User.id, Link.created_at, Link.id).select_from(User).join(Link, Link.id == end)
    rows = session.execute(found.where(User.id.in_(user_ids)))
    return {one: (at, row_id) for one, at, row_id in rows}


def is_for(user_id: str, end: Place | None = None) -> sa.ColumnElement[bool]:
    """The condition that a link is for this user, and newer than the one at `end`."""
    if end is None:
        return Link.user_id == user_id
    at, row_id = sa.literal(end[0], Link.created_at.type), sa.literal(end[1])
    return sa.and_(Link.user_id == user_id, sa.tuple_(Link.created_at, Link.id) > sa.tuple_(at, row_id))


def moments_to_sort_by(
    state: LinkState | None, has_asked: bool = False, *, are_one_s: bool = False
) -> list[InstrumentedAttribute[Any]]:
    """The moments in whose order such a list can be read; the usual one first. Those of one user: as they were made."""
    if are_one_s:
        return [Link.created_at]
    if has_asked:
        return [Link.requested_at]
    if state is None:
        return [Link.created_at, Link.expires_at]
    return [getattr(Link, STATE_ORDER[state])]


def is_answered() -> sa.ColumnElement[bool]:
    """The condition that whoever asked for a new link has got one since for the same thing."""
    newer = aliased(Link)
    return sa.exists().where(
        newer.user_id == Link.user_id,
        newer.integration_id.is_not_distinct_from(Link.integration_id),
        newer.app.is_not_distinct_from(Link.app),
        newer.created_at > Link.requested_at,
        sa.or_(newer.origin == LinkOrigin.link, newer.origin == Link.origin),
    )


def last_failures(session: Session, link_ids: Sequence[str]) -> dict[str, FailedTry]:
    """What went wrong last on each of these links, by the link's id; one question for all of them."""
    if not link_ids:
        return {}
    last = aliased(FailedTry)
    newest = (
        sa.select(last.id)
        .where(last.link_id == Link.id)
        .order_by(last.at.desc())
        .limit(1)
        .correlate(Link)
        .scalar_subquery()
    )
    found = session.scalars(
        sa.select(FailedTry).where(FailedTry.id.in_(sa.select(newest).where(Link.id.in_(link_ids))))
    )
    return {failed.link_id: failed for failed in found}
