"""Sharing an integration with a user: the dialog that makes a link and shows it this once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import segno
import sqlalchemy as sa
from flask import current_app, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from portal.clock import now
from portal.dashboard.access import audit, dashboard, needs, own
from portal.installations.models import Installation
from portal.integrations.models import Integration
from portal.integrations.rules import find_integration
from portal.languages import choose, sentence
from portal.links.errors import BadLinkOption
from portal.links.models import Link
from portal.links.prefilled import read_prefilled
from portal.links.rules import create_link, link_url, parse_life
from portal.operators.models import Role
from portal.preferences.current import current_settings
from portal.preferences.languages import offered_languages
from portal.refusals import Refusal
from portal.users.models import User
from portal.users.rules import create_user, find_user, search_users

LIVES = {"1h": "1 hour", "1d": "1 day", "7d": "7 days", "30d": "30 days", "until": "Until a date and time"}
FOUND = 8
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


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


def _dialog(one: Integration, typed: MultiDict[str, str], problem: Refusal | None = None) -> ResponseReturnValue:
    catalogue = current_app.extensions["catalogue"]
    fields = [
        (app, field) for app in (catalogue[name] for name in one.apps) for field in app.fields if not field.is_secret
    ]
    body = render_template(
        "dashboard/share.html",
        one=one,
        typed=typed,
        problem=problem,
        lives=LIVES,
        fields=fields,
        languages=offered_languages(current_settings()),
        chosen=typed.getlist("workflow") or [workflow.id for workflow in one.workflows],
    )
    return (body, 422) if problem else body


@dashboard.post("/integrations/<integration>/share")
@needs(Role.member)
def generate(integration: str) -> ResponseReturnValue:
    """*Generate Link*."""
    try:
        with own() as session:
            one = find_integration(session, integration)
            user = _user(session, request.form)
            link, token = create_link(
                session,
                current_app.extensions["keys"].link_keys,
                user=user,
                integration=one,
                now=now(),
                **_options(one, request.form),
            )
            audit(session, "link.create", f"{one.name} for {user.username}", link=link.id)
            return show_made(session, link, token)
    except Refusal as problem:
        with own() as session:
            return _dialog(find_integration(session, integration), request.form, problem)


def _user(session: Session, form: MultiDict[str, str]) -> User:
    if form.get("who") == "new":
        email = form.get("email", "").strip()
        if not _EMAIL.fullmatch(email):
            raise BadLinkOption("Type the new user’s e-mail address. It should look like name@shop.example.")
        user = create_user(session, email, now=now(), full_name=form.get("full_name") or None)
        audit(session, "user.create", user.username)
        return user
    known = form.get("user", "").strip()
    if not known:
        raise BadLinkOption("Say who it is for: begin to type the username, then choose from what is found.")
    return find_user(session, known)


def _options(one: Integration, form: MultiDict[str, str]) -> dict[str, Any]:
    workflows = form.getlist("workflow")
    if not workflows:
        raise BadLinkOption("Choose at least one workflow.")
    given: dict[str, dict[str, str]] = {}
    for name, value in form.items():
        if name.startswith("fill-") and value.strip():
            app, _, field = name.removeprefix("fill-").partition("-")
            given.setdefault(app, {})[field] = value.strip()
    return {
        "life": _life(form),
        "always_show_credentials": form.get("always") == "yes",
        "redirect_url": form.get("redirect_url", "").strip() or None,
        "workflow_ids": workflows if len(workflows) < len(one.workflows) else None,
        "locale": form.get("locale", "").strip() or None,
        "prefilled": read_prefilled(current_app.extensions["catalogue"], one, one.apps, given),
    }


def _life(form: MultiDict[str, str]) -> timedelta:
    if form.get("life") != "until":
        return parse_life(form.get("life", "7d"))
    try:
        until = datetime.fromisoformat(form.get("until", "")).replace(tzinfo=UTC)
    except ValueError:
        raise BadLinkOption("Say until when: a date and a time, in UTC.") from None
    if until <= now():
        raise BadLinkOption("That moment is over. Choose one to come.")
    return parse_life(str(int((until - now()).total_seconds()) + 1))


def show_made(session: Session, link: Link, token: str) -> ResponseReturnValue:
    """The page with the link: to copy, as a QR code, for a mail."""
    settings = current_settings()
    url = link_url(settings.base_url, link, token)
    # The mail goes to whom the page is for.
    spoken = choose(link.locale, "", settings.languages, settings.language)
    subject = sentence("Please connect {apps} for {vendor}", apps=link.name, vendor=settings.vendor_name)
    body = sentence(
        "Hello,\n\nplease open this page and follow it:\n\n{url}\n\nThe link works until {until}, and once.\n",
        url=url,
        until=spoken.moment(link.expires_at),
    )
    return render_template(
        "dashboard/made.html",
        link=link,
        url=url,
        mail_url=f"mailto:{quote(link.user.username)}?subject={quote(subject.said(spoken))}&body={quote(body.said(spoken))}",
        qr=segno.make(url, error="m").svg_inline(scale=3, svgclass="qr", lineclass=None, omitsize=True),
        is_known=_known(session, link),
    )


def _known(session: Session, link: Link) -> Installation | None:
    return session.scalar(
        sa.select(Installation).where(
            Installation.user_id == link.user_id,
            Installation.integration_id == link.integration_id,
            Installation.removed_at.is_(None),
        )
    )
