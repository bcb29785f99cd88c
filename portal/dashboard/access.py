"""Who is on the page, what their role allows, and that a form came from a page of ours.

Every route needs the role admin unless it says otherwise, so that a new one can't be open by mistake. Forms carry a
token that is kept with the session on the server, and the name of the environment that their page shows: a tab that was
left open changes nothing in the other one. The cookie is SameSite, and the pages can't be framed. Where there is no
session yet (signing in), what the browser says about where a form comes from decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from apiflask import APIBlueprint
from flask import Response, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from sqlalchemy.orm import Session

from portal.audit.rules import write_down
from portal.clock import now
from portal.dashboard.back import page_before
from portal.dashboard.csrf import is_masked, mask
from portal.db import transaction
from portal.environments import Environment
from portal.http.addresses import without_secrets
from portal.operators.models import Operator, OperatorSession, Role
from portal.operators.rules import end_session, find_session, has_proved
from portal.refusals import Refusal
from portal.web.limits import TooManyCalls

# Of APIFlask's kind only because it asks every blueprint with a guard whether it is a part of the API.
dashboard = APIBlueprint("dashboard", __name__, url_prefix="/dashboard", enable_openapi=False)

View = TypeVar("View", bound=Callable[..., Any])
SESSION, PATH = "portal-session", "/dashboard"  # the cookie of a session, and where it goes
COOKIE_LIFE = 14 * 24 * 3600


class NotAllowed(Refusal):
    """The operator's role doesn't reach this far."""

    status = 403
    title = "Your role doesn’t allow this"

    def message(self) -> str:
        return "Ask an administrator to do it, or to give you the role that it needs."


class FormTooOld(Refusal):
    """The form's token isn't the session's."""

    status = 400
    title = "This form is too old"

    def message(self) -> str:
        return "Nothing was changed. Go back, reload the page, and send it again."


class OtherEnvironment(Refusal):
    """The form stood on a page of the environment that was shown before another tab switched."""

    status = 409

    def __init__(self, shown: Environment) -> None:
        super().__init__()
        self.shown, self.chosen = shown, g.session.environment
        self.title = f"You look at {self.chosen} now"

    def message(self) -> str:
        return (
            f"The page that you sent showed {self.shown}; since then you switched to {self.chosen}, perhaps in another "
            f"tab. Nothing was changed. To do it in {self.shown}, press Show {self.shown} and begin again there."
        )


class FormFromElsewhere(Refusal):
    """A page of another site sent a form that needs no session: it would sign its visitor in as somebody else."""

    status = 403
    title = "This came from another site"

    def message(self) -> str:
        return (
            "Nobody was signed in. Open the dashboard yourself, by its address or by the link that you were sent, "
            "and sign in there."
        )


class ProofNeeded(Refusal):
    """Something dangerous wants the operator to have signed in lately."""

    status = 403
    title = "Please prove first that it is you"

    def message(self) -> str:
        return (
            "What you were about to do can’t be taken back, so it needs a proof within the last 15 minutes. "
            "Nothing was changed. Prove it below; you come back to the page on which you were."
        )


def needs(role: Role | None) -> Callable[[View], View]:
    """Let everybody of this role (or above it) use the route; None: also who isn't signed in."""

    def mark(view: View) -> View:
        view.needs = role  # type: ignore[attr-defined]
        return view

    return mark


def in_both(view: View) -> View:
    """Mark what is the same in both environments: its forms may come from a page that showed either."""
    view.is_in_both = True  # type: ignore[attr-defined]
    return view


def is_https() -> bool:
    """Whether people reach the portal by https."""
    base_url: str = current_app.config["PORTAL_SETTINGS"].base_url
    return base_url.startswith("https://")


def cookie_name(name: str = SESSION) -> str:
    """What one of our cookies is called. With https, so that no neighbour under the same domain can have set it."""
    return f"__Host-{name}" if is_https() else name


def set_cookie(
    response: Response, token: str, *, name: str = SESSION, life: int = COOKIE_LIFE, path: str = PATH
) -> None:
    """Hand the browser a cookie, by default with the session's token; empty: take it away."""
    response.set_cookie(
        cookie_name(name),
        token,
        max_age=life if token else 0,
        path="/" if is_https() else path,  # `__Host-` wants it so
        secure=is_https(),
        httponly=True,
        samesite="Lax",  # also for single sign-on: the provider sends the browser back from another site
    )


@dashboard.before_request
def _guard() -> ResponseReturnValue | None:
    view = current_app.view_functions[request.endpoint or ""]
    needed: Role | None = getattr(view, "needs", Role.admin)
    token = request.cookies.get(cookie_name(), "")
    g.session = None
    if token:
        with transaction() as session:
            g.session = find_session(session, token, now())
    if needed is None:
        if request.method == "POST" and _is_from_elsewhere():
            raise FormFromElsewhere
        return None
    if g.session is None:
        return _to_sign_in()
    if not g.session.operator.role.includes(needed):
        raise NotAllowed
    if "\0" in request.path or any("\0" in text for text in request.values.values()):
        raise FormTooOld  # no browser's form sends a zero character, and PostgreSQL's text has none
    if request.method == "POST":
        _require_own_form(g.session, is_in_both=getattr(view, "is_in_both", False))
    return None


def _form_token(session: OperatorSession) -> str:
    """What each form carries: the session's secret, masked, and the environment that its page shows."""
    return f"{mask(session.csrf)}.{session.environment}"


def _require_own_form(session: OperatorSession, *, is_in_both: bool) -> None:
    secret, _, shown = request.form.get("csrf", "").rpartition(".")
    if not is_masked(secret, session.csrf) or shown not in list(Environment):
        raise FormTooOld
    if shown != session.environment and not is_in_both:
        raise OtherEnvironment(Environment(shown))


def _is_from_elsewhere() -> bool:
    """Whether the browser says that a page of another origin sent this. Old browsers, and programs, say nothing."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    # A proxy may pass another host name on than the one that people type.
    base = urlsplit(current_app.config["PORTAL_SETTINGS"].base_url)
    return origin not in (f"{base.scheme}://{base.netloc}", f"http://{request.host}", f"https://{request.host}")


def _to_sign_in() -> ResponseReturnValue:
    # What was sent is lost with the session: the page says so.
    before = page_before()
    back = None if before == url_for("dashboard.overview") else before
    target = url_for("dashboard.sign_in", ended="yes" if request.method == "POST" else None, back=back)
    if htmx.htmx:
        return "", 204, {"HX-Redirect": target}
    return redirect(target, 303)


@dashboard.context_processor
def _facts() -> dict[str, Any]:
    found: OperatorSession | None = g.get("session")
    return {
        "me": found.operator if found else None,
        # Not `environment`: a block that is rendered alone takes that for Jinja's.
        "chosen_environment": found.environment if found else None,
        "csrf": _form_token(found) if found else "",
        "may": may,
        "address": _address,
        "Role": Role,
    }


def _address(text: str) -> str:
    """An address as the operator may see it: whoever isn't an administrator, without what is secret in it."""
    return text if may(Role.admin) else without_secrets(text)


def may(role: str) -> bool:
    """Whether the operator has at least this role."""
    found: OperatorSession | None = g.get("session")
    return found is not None and found.operator.role.includes(Role(role))


def me() -> Operator:
    """Who is signed in."""
    found: OperatorSession = g.session
    return found.operator


@contextmanager
def own() -> Iterator[Session]:
    """A transaction over what the chosen environment holds."""
    environment: Environment = g.session.environment
    with transaction(environment) as session:
        yield session


def audit(session: Session, action: str, subject: str, **details: str | int | bool | None) -> None:
    """Write down what the operator does, in the transaction that does it."""
    write_down(
        session,
        action,
        subject,
        actor=g.session.operator.email,
        environment=g.session.environment,
        now=now(),
        **details,
    )


def leave_former(session: Session) -> None:
    """End the session that this browser had, because a new one begins in it."""
    if g.session is not None:
        end_session(session, g.session.operator_id, g.session.id, now())
        audit(session, "session.end", g.session.operator.email)


def require_proof() -> None:
    """Raises `ProofNeeded` unless the operator has signed in within the last 15 minutes."""
    if not has_proved(g.session, now()):
        raise ProofNeeded


@dashboard.errorhandler(Refusal)
def _refused(refusal: Refusal) -> ResponseReturnValue:
    headers = {"Retry-After": str(refusal.retry_after)} if isinstance(refusal, TooManyCalls) else {}
    return render_template("dashboard/refused.html", refusal=refusal), refusal.status, headers
