"""Links: the list, what became of each, and what can be done about it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import InstrumentedAttribute

from portal.attention.links import who_waits
from portal.clock import now
from portal.credentials.rules import drop_drafts
from portal.dashboard.access import audit, dashboard, needs, own
from portal.dashboard.lists import Column, by_time, chosen, listing, named_integrations, people_named
from portal.dashboard.share import share_anew, show_made
from portal.dashboard.titles import link_title
from portal.links.errors import WorkflowsGone
from portal.links.finding import (
    NEWEST,
    ends_of_newest,
    is_for,
    last_failures,
    moments_to_sort_by,
    select_links,
)
from portal.links.models import FailedTry, Link, LinkState
from portal.links.replacing import find_successor, replace_link
from portal.links.rules import find_by_id, revoke_link
from portal.operators.models import Role

ASKED = "asked"  # stands among the states of the filter: whose user asked for a new link


@dashboard.get("/links")
@needs(Role.viewer)
def links() -> ResponseReturnValue:
    """Every link, by state, integration and user, with how far it came and what failed last."""
    at = now()
    state, has_asked = chosen(LinkState, "state"), request.args.get("state") == ASKED
    with own() as session:
        people = people_named(session)
        integration_id = request.args.get("integration") or None
        statement = select_links(at, state=state, integration_id=integration_id, has_asked=has_asked)
        is_narrowed = state is not None or has_asked or integration_id is not None
        ends = ends_of_newest(session, people.ids) if is_narrowed and people.ids else {}
        found = listing(
            session,
            statement,
            then=Link.id,
            columns=[
                _column(moment, state)
                for moment in moments_to_sort_by(state, has_asked, are_one_s=people.ids is not None)
            ],
            filters=("user", "state", "integration"),
            among=people.among(lambda one: is_for(one, ends.get(one))),
        )
        return render_template(
            "dashboard/links.html",
            found=found,
            people=people,
            failures=last_failures(session, [one.id for one in found.rows]),
            waiting=who_waits(session, found.rows),
            states=[*LinkState, (ASKED, "asked for a new one")],
            integrations=named_integrations(session),
            newest=NEWEST if ends else None,
            at=at,
        )


def _column(moment: InstrumentedAttribute[Any], state: LinkState | None) -> Column:
    if moment is Link.created_at or moment is Link.requested_at:
        return by_time(moment)
    goes_on = state in (LinkState.created, LinkState.opened, LinkState.verified)
    return Column(moment, up="soonest", down="latest", is_first_down=not goes_on)


@dashboard.get("/links/<link>")
@needs(Role.viewer)
def link(link: str) -> ResponseReturnValue:
    """One link: its steps, what failed, what can be done."""
    with own() as session:
        found = find_by_id(session, link)
        tries = session.scalars(
            sa.select(FailedTry).where(FailedTry.link_id == found.id).order_by(FailedTry.at.desc()).limit(20)
        ).all()
        after = find_successor(session, found)
        return render_template("dashboard/link.html", one=found, tries=tries, after=after, at=now())


@dashboard.post("/links/<link>/revoke")
@needs(Role.member)
def revoke(link: str) -> ResponseReturnValue:
    """Take a link back."""
    with own() as session:
        found = find_by_id(session, link)
        revoke_link(session, found, now())
        drop_drafts(session, found.id)
        audit(session, "link.revoke", f"{link_title(found)} for {found.user.username}", link=found.id)
    return redirect(url_for("dashboard.link", link=link), 303)


@dashboard.post("/links/<link>/replace")
@needs(Role.member)
def replace(link: str) -> ResponseReturnValue:
    """A new link for the same user and the same things; the old one, or what replaced it since, is revoked.

    Where nothing of what it was for is left, on to the Share dialog, filled in.
    """
    keys = current_app.extensions["keys"].link_keys
    with own() as session:
        old = find_by_id(session, link)
        try:
            made = replace_link(session, keys, old, now())
        except WorkflowsGone:
            return redirect(share_anew(old), 303)
        if made.revoked:
            drop_drafts(session, made.revoked.id)
        audit(session, "link.replace", f"{link_title(old)} for {old.user.username}", link=made.link.id, replaced=old.id)
        return show_made(session, made.link, made.token, gone=made.gone)
