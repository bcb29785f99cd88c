"""Which links a list asks for. Each question is put in the words of an index that answers it (see `models`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, joinedload

from portal.links.models import STATE_ORDER, Link, LinkOrigin, LinkState
from portal.links.rules import in_state
from portal.users.models import User

# Links of a user that are looked at where a state or an integration is asked for as well: no index leads to those.
NEWEST = 200
_made = aliased(Link, name="made")


def select_links(
    at: datetime,
    *,
    state: LinkState | None = None,
    integration_id: str | None = None,
) -> sa.Select[Link]:
    """The links that were handed out, in this state at the moment `at`, of this integration."""
    statement = (
        sa.select(Link)
        .where(Link.origin == LinkOrigin.link)
        .options(joinedload(Link.user), joinedload(Link.integration))
    )
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


def moments_to_sort_by(state: LinkState | None, *, are_one_s: bool = False) -> list[InstrumentedAttribute[datetime]]:
    """The moments in whose order such a list can be read; the usual one first. Those of one user: as they were made."""
    if are_one_s:
        return [Link.created_at]
    if state is None:
        return [Link.created_at, Link.expires_at]
    return [getattr(Link, STATE_ORDER[state])]
