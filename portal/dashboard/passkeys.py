"""Passkeys on the dashboard: made where one is signed in, used at the sign-in."""

from __future__ import annotations

from flask import Response, current_app, g, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from portal.audit.rules import write_down
from portal.clock import now
from portal.dashboard.access import audit, dashboard, in_both, leave_former, needs, require_proof, set_cookie
from portal.dashboard.back import own_page
from portal.db import transaction
from portal.operators.models import Role
from portal.operators.passkeys import Party, prove, register, registration_options, remove_passkey, sign_in_options
from portal.operators.rules import start_session
from portal.preferences.current import current_settings
from portal.web.limits import Limiter


class ChallengeLimits:
    """How many challenges people who aren't signed in may ask for: each is a row, for five minutes."""

    def __init__(self) -> None:
        self._by_address, self._in_all = Limiter("30 per minute"), Limiter("300 per minute")

    def require(self, address: str) -> None:
        """Count one. Raises `TooManyCalls`."""
        self._by_address.require(address)  # first: one address alone must not use up what is for all
        self._in_all.require("all")


def party() -> Party:
    """Who asks for passkeys: this portal, by its host name."""
    return Party.of(current_app.config["PORTAL_SETTINGS"].base_url, current_settings().vendor_name)


def _json(text: str) -> Response:
    return Response(text, content_type="application/json")


@dashboard.post("/passkeys/options")
@needs(Role.viewer)
@in_both
def passkey_options() -> ResponseReturnValue:
    """What the browser needs to make a passkey; wants a sign-in that isn't long ago."""
    require_proof()
    with transaction() as session:
        return _json(registration_options(session, party(), g.session.operator, now()))


@dashboard.post("/passkeys")
@needs(Role.viewer)
@in_both
def add_passkey() -> ResponseReturnValue:
    """Keep the passkey that the browser made."""
    require_proof()
    given, name = request.form.get("credential", ""), request.form.get("name", "")
    with transaction() as session:
        row = register(session, party(), g.session.operator_id, given, name=name, now=now())
        audit(session, "passkey.create", row.name)
    return redirect(url_for("dashboard.sessions"), 303)


@dashboard.post("/passkeys/<passkey>/remove")
@needs(Role.viewer)
@in_both
def drop_passkey(passkey: str) -> ResponseReturnValue:
    """Forget a passkey."""
    with transaction() as session:
        remove_passkey(session, g.session.operator_id, passkey)
        audit(session, "passkey.remove", passkey)
    return redirect(url_for("dashboard.sessions"), 303)


@dashboard.post("/sign-in/options")
@needs(None)
def passkey_challenge() -> ResponseReturnValue:
    """What the browser needs to sign in with a passkey."""
    limits: ChallengeLimits = current_app.extensions["challenge_limits"]
    limits.require(request.remote_addr or "")
    with transaction() as session:
        return _json(sign_in_options(session, party(), now()))


@dashboard.post("/sign-in/passkey")
@needs(None)
def use_passkey() -> ResponseReturnValue:
    """Sign in with a passkey."""
    with transaction() as session:
        operator = prove(session, party(), request.form.get("credential", ""), now())
        leave_former(session)
        _, token = start_session(session, operator, browser=request.headers.get("User-Agent", ""), now=now())
        write_down(
            session,
            "session.start",
            operator.email,
            actor=operator.email,
            environment=None,
            now=now(),
            way="passkey",
        )
    response = make_response(redirect(own_page(request.form.get("back", "")), 303))
    set_cookie(response, token)
    return response
