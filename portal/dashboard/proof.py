"""Proving again who one is, right where something dangerous asks for it, and coming back to the page of before."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx

from portal.clock import now
from portal.dashboard.access import ProofNeeded, audit, dashboard, in_both, needs
from portal.dashboard.back import own_page, page_before
from portal.dashboard.passkeys import party
from portal.db import transaction
from portal.operators.errors import InvitationUnusable, OtherPerson, PasskeyRefused
from portal.operators.models import Role
from portal.operators.passkeys import passkeys_of, prove
from portal.operators.rules import prove_again, prove_by_invitation
from portal.refusals import Refusal

HEADER = "X-Prove-At"  # for our own script, which asks without leaving the page


@dashboard.errorhandler(ProofNeeded)
def _ask(refusal: ProofNeeded) -> ResponseReturnValue:
    back = page_before()
    at = url_for("dashboard.proof", back=back)
    if htmx.htmx:
        return "", 204, {"HX-Redirect": at}
    return _page(back, refusal), refusal.status, {HEADER: at}


def _page(back: str, refusal: Refusal) -> str:
    with transaction() as session:
        has_passkey = bool(passkeys_of(session, g.session.operator_id))
    return render_template("dashboard/proof.html", refusal=refusal, back=back, has_passkey=has_passkey)


@dashboard.get("/proof")
@needs(Role.viewer)
def proof() -> ResponseReturnValue:
    """The ways to prove it."""
    return _page(own_page(request.args.get("back", "")), ProofNeeded())


@dashboard.post("/proof/passkey")
@needs(Role.viewer)
@in_both
def prove_by_passkey() -> ResponseReturnValue:
    """With a passkey."""
    back = own_page(request.form.get("back", ""))
    try:
        with transaction() as session:
            operator = prove(session, party(), request.form.get("credential", ""), now())
            prove_again(session, g.session.id, operator, now())
            audit(session, "session.prove", operator.email, way="passkey")
    except (PasskeyRefused, OtherPerson) as refusal:
        return _page(back, refusal), refusal.status
    return redirect(back, 303)


@dashboard.post("/proof/link")
@needs(Role.viewer)
@in_both
def prove_by_link() -> ResponseReturnValue:
    """With a sign-in link that is pasted here instead of opened."""
    back = own_page(request.form.get("back", ""))
    try:
        with transaction() as session:
            prove_by_invitation(session, g.session.id, _token(request.form.get("link", "")), now())
            audit(session, "session.prove", g.session.operator.email, way="link")
    except (InvitationUnusable, OtherPerson) as refusal:
        return _page(back, refusal), refusal.status
    return redirect(back, 303)


def _token(pasted: str) -> str:
    """What stands behind `token=`; also the token alone."""
    pasted = pasted.strip()
    try:
        return parse_qs(urlsplit(pasted).query).get("token", [pasted])[0]
    except ValueError:
        return pasted
