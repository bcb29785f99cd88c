"""A new link in the place of another: for the same user and the same things, as far as they are still there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.links.errors import WorkflowsGone
from portal.links.manner import Manner
from portal.links.models import Link, LinkOrigin, LinkState
from portal.links.prefilled import Prefilled
from portal.links.rules import DEFAULT_LIFE, create_link, revoke_link
from portal.workflows.models import Workflow

_ENDED = (LinkState.finished, LinkState.revoked, LinkState.expired)


@dataclass(frozen=True)
class Replacement:
    """The new link with its token, which link was revoked for it, and the names of workflows that are gone since."""

    link: Link
    token: str
    revoked: Link | None
    gone: Sequence[str]


def replace_link(session: Session, keys: Sequence[str], old: Link, now: datetime) -> Replacement:
    """Make a link for the same user and the same things, and revoke `old`, or the link that has replaced it since.

    So one of them can be used, however often this is called. What has ended stays as it is. A window of the vendor's
    page (a modal, a connection) lives for minutes: what takes its place lives as long as any link. Raises
    `WorkflowsGone` when none of the workflows that the link was for is there any more.
    """
    kept, gone = _workflows_left(session, old)
    is_window = old.origin is not LinkOrigin.link
    fresh, token = create_link(
        session,
        keys,
        user=old.user,
        integration=old.integration,
        now=now,
        life=DEFAULT_LIFE if is_window else old.expires_at - old.created_at,
        always_show_credentials=old.always_show_credentials,
        redirect_url=old.redirect_url,
        workflow_ids=kept,
        locale=old.locale,
        prefilled=prefilled_left(old),
        # An app alone is connected; everything else is handed out as a link now, also what was a modal.
        origin=LinkOrigin.link if old.integration else LinkOrigin.connection,
        app=old.app,
        manner=_manner(old),
    )
    return Replacement(fresh, token, take_place(session, old, fresh, now), gone)


def take_place(session: Session, old: Link, fresh: Link, now: datetime) -> Link | None:
    """Put `fresh` in the place of `old`, or of what has replaced it since: that one is revoked, unless it has ended.

    The link that was revoked.
    """
    current = _latest(session, old)
    has_ended = current.state(now) in _ENDED
    if not has_ended:
        revoke_link(session, current, now)
    current.replaced_by = old.replaced_by = fresh.id
    session.flush()
    return None if has_ended else current


def find_successor(session: Session, link: Link) -> Link | None:
    """The link that stands in the place of this one now, if it was replaced."""
    found = None
    while link.replaced_by and (after := session.get(Link, link.replaced_by)):
        found = link = after
    return found


def _latest(session: Session, link: Link) -> Link:
    """The last of the links that replaced one another, kept from others who replace it until the transaction ends."""
    while True:
        # An UPDATE that changes nothing: both databases let one transaction at a time through.
        session.execute(
            sa.update(Link)
            .where(Link.id == link.id)
            .values(replaced_by=Link.replaced_by)
            .execution_options(synchronize_session=False)
        )
        session.refresh(link)
        after = session.get(Link, link.replaced_by) if link.replaced_by else None
        if after is None:
            return link
        link = after


def _workflows_left(session: Session, link: Link) -> tuple[list[str] | None, list[str]]:
    """(those of the link's workflows that its integration still has, None for all; the names of the others)."""
    if not link.workflow_ids or link.integration is None:
        return None, []
    there = {workflow.id for workflow in link.integration.workflows}
    kept = [one for one in link.workflow_ids if one in there]
    if not kept:
        raise WorkflowsGone(link)
    names = sa.select(Workflow.name).where(Workflow.id.in_(set(link.workflow_ids) - there)).order_by(Workflow.name)
    return kept, list(session.scalars(names))


def prefilled_left(link: Link) -> Prefilled:
    """The values that were given with the link, for what is still there."""
    there = {*link.apps, *(workflow.id for workflow in (link.integration.workflows if link.integration else ()))}
    return {owner: values for owner, values in (link.prefilled or {}).items() if owner in there}


def _manner(link: Link) -> Manner | None:
    # Hiding is for the page that opened it; a link that is handed out shows itself.
    manner = link.how.model_copy(update={"is_hidden": False})
    return manner if manner != Manner() else None
