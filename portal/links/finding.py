"""Which links a list asks for. Each question is put in the words of an index that answers it (see `models`)."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, joinedload

from portal.links.models import STATE_ORDER, Link, LinkOrigin, LinkState
from portal.links.rules import in_state


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


def moments_to_sort_by(state: LinkState | None, *, are_one_s: bool = False) -> list[InstrumentedAttribute[datetime]]:
    """The moments in whose order such a list can be read; the usual one first. Those of one user: as they were made."""
    if are_one_s:
        return [Link.created_at]
    if state is None:
        return [Link.created_at, Link.expires_at]
    return [getattr(Link, STATE_ORDER[state])]
