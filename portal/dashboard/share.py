"""Sharing an integration with a user: the dialog that makes a link and shows it this once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import segno
import sqlalchemy as sa
from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from portal.clock import now
from portal.credentials.rules import drop_drafts
from portal.dashboard.access import audit, dashboard, needs, own
from portal.dashboard.share_form import LIVES, NotShared, ShareForm, filled_in_like, fills_of
from portal.dashboard.titles import link_title
from portal.installations.models import Installation
from portal.integrations.models import Integration
from portal.integrations.rules import find_integration
from portal.languages import choose, sentence
from portal.links.models import Link
from portal.links.replacing import take_place
from portal.links.rules import create_link, find_by_id, link_url
from portal.operators.models import Role
from portal.preferences.current import current_settings
from portal.preferences.languages import offered_languages
from portal.refusals import Refusal
from portal.users.rules import find_user, search_users

FOUND = 8
_ONE_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


@dashboard.get("/integrations/<integration>/share")
@needs(Role.member)
def share(integration: str) -> ResponseReturnValue:
    """The Share dialog."""
    with own() as session:
        return _dialog(find_integration(session, integration), MultiDict(request.args))


@dashboard.get("/users/search")
@needs(Role.member)
def search() -> ResponseReturnValue:
    """Users whose name begins with what was typed, for the dialog."""
    with own() as session:
        found = search_users(session, request.args.get("user", ""), FOUND)
    return render_template("dashboard/found_users.html", found=found, typed=request.args.get("user", ""))


@dashboard.get("/users/<user>/share")
@needs(Role.member)
def share_with(user: str) -> ResponseReturnValue:
    """From a user's page to the dialog of the integration that was chosen there."""
    with own() as session:
        one = find_integration(session, request.args.get("integration", ""))
        target = _filled_in(one.id, {"who": "existing", "user": find_user(session, user).username})
    return redirect(target, 303)


def _filled_in(integration: str, query: Mapping[str, str | Sequence[str]]) -> str:
    return f"{url_for('dashboard.share', integration=integration)}?{urlencode(query, doseq=True)}"


def share_anew(link: Link) -> str:
    """The address of the dialog, filled in for a link that takes the place of this one."""
    return _filled_in(link.integration_id or "", filled_in_like(link))


def _dialog(
    one: Integration, typed: MultiDict[str, str], problem: NotShared | None = None, *, is_sent: bool = False
) -> str:
    taken = problem.taken if problem else ""
    kept = {name: typed.getlist(name) for name in typed if name not in ("csrf", "email", "full_name")}
    instead = {**kept, "who": "existing", "user": taken, "always": typed.get("always", "no")}
    return render_template(
        "dashboard/share.html",
        one=one,
        typed=typed,
        problem=problem,
        problems=problem.problems if problem else {},
        taken=taken,
        instead_url=_filled_in(one.id, instead),
        lives=LIVES,
        fills=fills_of(current_app.extensions["catalogue"], one),
        languages=offered_languages(current_settings()),
        chosen=typed.getlist("workflow") if is_sent else typed.getlist("workflow") or [w.id for w in one.workflows],
        is_always=typed.get("always", "no" if is_sent else "yes") == "yes",
    )


@dashboard.post("/integrations/<integration>/share")
@needs(Role.member)
def generate(integration: str) -> ResponseReturnValue:
    """*Generate Link*."""
    try:
        with own() as session:
            return _generate(session, find_integration(session, integration))
    except Refusal as problem:
        wrong = problem if isinstance(problem, NotShared) else NotShared({"": problem.message()})
        with own() as session:
            return _dialog(find_integration(session, integration), request.form, wrong, is_sent=True), wrong.status


def _generate(session: Session, one: Integration) -> ResponseReturnValue:
    form = ShareForm(current_app.extensions["catalogue"], one, request.form)
    user, options = form.user(session), form.options()
    form.require_right()
    assert user is not None
    link, token = create_link(
        session, current_app.extensions["keys"].link_keys, user=user, integration=one, now=now(), **options
    )
    if form.is_for_new:
        audit(session, "user.create", user.username)
    audit(session, "link.create", f"{one.name} for {user.username}", link=link.id)
    if request.form.get("instead_of"):
        _retire(session, find_by_id(session, request.form["instead_of"]), link)
    return show_made(session, link, token)


def _retire(session: Session, old: Link, fresh: Link) -> None:
    """Revoke the link that led to the dialog, if the new one is for the same user and integration."""
    if (old.user_id, old.integration_id) != (fresh.user_id, fresh.integration_id):
        return
    if revoked := take_place(session, old, fresh, now()):
        drop_drafts(session, revoked.id)
    audit(session, "link.replace", f"{link_title(old)} for {old.user.username}", link=fresh.id, replaced=old.id)


def show_made(session: Session, link: Link, token: str, *, gone: Sequence[str] = ()) -> ResponseReturnValue:
    """The page with the link: to copy, as a QR code, for a mail. `gone` are workflows that the one before had."""
    settings = current_settings()
    url = link_url(settings.base_url, link, token)
    # The mail goes to whom the page is for.
    spoken = choose(link.locale, "", settings.languages, settings.language)
    subject = sentence("Please connect {apps} for {vendor}", apps=link_title(link), vendor=settings.vendor_name)
    body = sentence(
        "Hello,\n\nplease open this page and follow it:\n\n{url}\n\nThe link works until {until}, and once.\n",
        url=url,
        until=spoken.moment(link.expires_at),
    )
    return render_template(
        "dashboard/made.html",
        link=link,
        url=url,
        mail_url=f"mailto:{_recipient(link.user.username)}?subject={quote(subject.said(spoken))}&body={quote(body.said(spoken))}",
        qr=segno.make(url, error="m").svg_inline(scale=3, svgclass="qr", lineclass=None, omitsize=True),
        is_known=_known(session, link),
        gone=gone,
    )


def _recipient(username: str) -> str:
    """Whom the mail goes to: the user, if the username is one plain address; it may be anything, also several."""
    return quote(username) if _ONE_ADDRESS.fullmatch(username) else ""


def _known(session: Session, link: Link) -> Installation | None:
    return session.scalar(
        sa.select(Installation).where(
            Installation.user_id == link.user_id,
            Installation.integration_id == link.integration_id,
            Installation.removed_at.is_(None),
        )
    )
