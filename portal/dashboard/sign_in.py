"""Signing in by a link that works once, signing out, and the browsers in which one is signed in."""

from __future__ import annotations

from flask import g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.audit.rules import write_down
from portal.clock import now
from portal.dashboard.access import audit, dashboard, in_both, leave_former, needs, set_cookie
from portal.dashboard.back import own_page
from portal.dashboard.lists import listing
from portal.db import transaction
from portal.environments import Environment
from portal.operators.errors import InvitationUnusable
from portal.operators.models import OperatorSession, Role
from portal.operators.passkeys import passkeys_of
from portal.operators.rules import end_session, find_invitation, select_open_sessions
from portal.operators.rules import sign_in as use_invitation


@dashboard.get("/sign-in")
@needs(None)
def sign_in() -> ResponseReturnValue:
    """The *Continue* button of a sign-in link: opening it signs nobody in, because mail scanners open links too."""
    token = request.args.get("token", "")
    if not token:
        return _page()
    try:
        with transaction() as session:
            return _page(email=find_invitation(session, token, now()).operator.email, token=token)
    except InvitationUnusable as refusal:
        return _page(refusal), refusal.status


def _page(refusal: InvitationUnusable | None = None, *, email: str = "", token: str = "") -> str:
    back = own_page(request.args.get("back", ""))
    return render_template("dashboard/sign_in.html", refusal=refusal, email=email, token=token, back=back)


@dashboard.post("/sign-in")
@needs(None)
def continue_sign_in() -> ResponseReturnValue:
    """Use the link up and start a session."""
    browser = request.headers.get("User-Agent", "")
    try:
        with transaction() as session:
            row, token = use_invitation(session, request.form.get("token", ""), browser=browser, now=now())
            leave_former(session)
            email = row.operator.email
            write_down(session, "session.start", email, actor=email, environment=None, now=now())
    except InvitationUnusable as refusal:
        return _page(refusal), refusal.status
    response = make_response(redirect(url_for("dashboard.overview"), 303))
    set_cookie(response, token)
    return response


@dashboard.post("/sign-out")
@needs(Role.viewer)
@in_both
def sign_out() -> ResponseReturnValue:
    """End this session."""
    with transaction() as session:
        end_session(session, g.session.operator_id, g.session.id, now())
        audit(session, "session.end", g.session.operator.email)
    response = make_response(redirect(url_for("dashboard.sign_in"), 303))
    set_cookie(response, "")
    return response


@dashboard.get("/sessions")
@needs(Role.viewer)
def sessions() -> ResponseReturnValue:
    """Where the operator is signed in."""
    with transaction() as session:
        open_ones = select_open_sessions(g.session.operator_id, now())
        found = listing(session, open_ones, by=OperatorSession.seen_at, then=OperatorSession.id)
        passkeys = passkeys_of(session, g.session.operator_id)
    return render_template("dashboard/sessions.html", found=found, passkeys=passkeys, current=g.session.id)


@dashboard.post("/sessions/<session_id>/end")
@needs(Role.viewer)
@in_both
def end_one(session_id: str) -> ResponseReturnValue:
    """Sign another browser of the operator's out."""
    with transaction() as session:
        end_session(session, g.session.operator_id, session_id, now())
        audit(session, "session.end", session_id)
    return redirect(url_for("dashboard.sessions"), 303)


@dashboard.post("/environment")
@needs(Role.viewer)
@in_both
def switch_environment() -> ResponseReturnValue:
    """Show the other environment from here on; one that there isn't changes nothing."""
    wanted = request.form.get("environment", "")
    if wanted in list(Environment):
        with transaction() as session:
            session.get_one(OperatorSession, g.session.id).environment = Environment(wanted)
    return redirect(url_for("dashboard.overview"), 303)
