"""Signing in by the provider of the settings, and proving again who one is by signing in there anew."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from flask import Response, after_this_request, current_app, g, redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from portal.audit.rules import write_down
from portal.clock import now
from portal.dashboard.access import audit, cookie_name, dashboard, leave_former, needs, set_cookie
from portal.dashboard.back import own_page
from portal.db import transaction
from portal.keys.ring import KeyRing, SealBroken
from portal.operators.errors import AttemptUnknown, NoProvider
from portal.operators.models import Operator, OperatorSession
from portal.operators.oidc import ATTEMPT_LIFE, Attempt, Identity, Provider
from portal.operators.rules import PROOF_LIFE, admit, prove_again, start_session
from portal.web.turns import while_waiting

_COOKIE, _PATH = "portal-oidc", "/dashboard/sign-in/oidc"
_SEALED_FOR = "a sign-in by OpenID Connect"


def _provider() -> Provider:
    found: Provider | None = current_app.extensions["oidc"]
    if found is None:
        raise NoProvider
    return found


@dashboard.get("/sign-in/oidc")
@needs(None)
def begin_oidc() -> ResponseReturnValue:
    """Send the browser to the provider. The attempt stays behind in a cookie that only this browser has."""
    keys: KeyRing = current_app.extensions["keys"]
    is_proof = g.session is not None and request.args.get("proof") == "yes"
    attempt = Attempt.begin(now(), is_proof=is_proof, back=own_page(request.args.get("back", "")))
    with while_waiting():
        target = _provider().sign_in_url(attempt)
    response = redirect(target, 303)
    sealed = urlsafe_b64encode(keys.seal(attempt.write(), _SEALED_FOR)).decode()
    assert isinstance(response, Response)
    _set_attempt(response, sealed)
    return response


def _set_attempt(response: Response, sealed: str) -> None:
    set_cookie(response, sealed, name=_COOKIE, life=int(ATTEMPT_LIFE.total_seconds()), path=_PATH)


@dashboard.get("/sign-in/oidc/callback")
@needs(None)
def finish_oidc() -> ResponseReturnValue:
    """Where the provider sends the browser back to: start a session, or note the proof."""

    @after_this_request
    def _once(response: Response) -> Response:
        _set_attempt(response, "")  # whatever came of it, it can't be tried again
        return response

    provider, attempt = _provider(), _attempt()
    with while_waiting():
        identity = provider.identify(attempt, request.args, now())
    response = redirect(attempt.back, 303)
    assert isinstance(response, Response)
    with transaction() as session:
        if attempt.is_proof:
            _prove(session, identity)
        else:
            set_cookie(response, _start(session, identity))
    return response


def _attempt() -> Attempt:
    keys: KeyRing = current_app.extensions["keys"]
    try:
        sealed = urlsafe_b64decode(request.cookies.get(cookie_name(_COOKIE), "").encode())
        return Attempt.read(keys.open(sealed, _SEALED_FOR), request.args.get("state", ""), now())
    except (SealBroken, ValueError):
        raise AttemptUnknown from None


def _start(session: Session, identity: Identity) -> str:
    operator, is_new = admit(session, identity.email, current_app.config["PORTAL_SETTINGS"], now())
    # Who was signed in at the provider for long has proved nothing lately.
    proved_at = identity.proved_at or now() - PROOF_LIFE
    browser = request.headers.get("User-Agent", "")
    leave_former(session)
    _, token = start_session(session, operator, browser=browser, now=now(), proved_at=proved_at)
    if is_new:
        _write_down(session, "operator.create", operator, role=str(operator.role))
    _write_down(session, "session.start", operator)
    return token


def _write_down(session: Session, action: str, operator: Operator, **details: str) -> None:
    email = operator.email
    write_down(session, action, email, actor=email, environment=None, now=now(), way="oidc", **details)


def _prove(session: Session, identity: Identity) -> None:
    found: OperatorSession | None = g.session
    if found is None or identity.proved_at is None:
        raise AttemptUnknown
    operator, _ = admit(session, identity.email, current_app.config["PORTAL_SETTINGS"], now())
    prove_again(session, found.id, operator, min(identity.proved_at, now()))
    audit(session, "session.prove", operator.email, way="oidc")


@dashboard.context_processor
def _single_sign_on() -> dict[str, str]:
    found: Provider | None = current_app.extensions["oidc"]
    return {"oidc_name": found.name if found else ""}
