"""Which links a list asks for. Each question is put in the words of an index that answers it (see `models`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, joinedload

from portal.links.models import STATE_ORDER, Link, LinkOrigin, LinkState
from portal.links.rules import in_state

NEWEST = 200  # links of a user that are looked at, where a state or an integration is asked for as well
_EVER = datetime(1, 1, 1, tzinfo=UTC)


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


def is_for(user_id: str) -> sa.ColumnElement[bool]:
    """The condition that a link is for this user."""
    return Link.user_id == user_id


def is_newest_of(user_id: str) -> sa.ColumnElement[bool]:
    """The same, and that it is among the user's `NEWEST` ones: no index leads to those of a state or an integration."""
    oldest = _made_for(user_id).offset(NEWEST - 1).limit(1).scalar_subquery()
    return sa.and_(
        is_for(user_id), Link.created_at >= sa.func.coalesce(oldest, sa.literal(_EVER, Link.created_at.type))
    )


def have_more(session: Session, user_ids: Sequence[str]) -> bool:
    """Whether any of these users has more links than `is_newest_of` looks at."""
    if not user_ids:
        return False
    each = [sa.select(_made_for(one).offset(NEWEST).limit(1).subquery()) for one in user_ids]
    return session.execute(sa.union_all(*each).limit(1)).first() is not None


def _made_for(user_id: str) -> sa.Select[datetime]:
    made = aliased(Link)
    handed_out = sa.select(made.created_at).where(made.user_id == user_id, made.origin == LinkOrigin.link)
    return handed_out.order_by(made.created_at.desc())


def moments_to_sort_by(state: LinkState | None, *, are_one_s: bool = False) -> list[InstrumentedAttribute[datetime]]:
    """The moments in whose order such a list can be read; the usual one first. Those of one user: as they were made."""
    if are_one_s:
        return [Link.created_at]
    if state is None:
        return [Link.created_at, Link.expires_at]
    return [getattr(Link, STATE_ORDER[state])]
