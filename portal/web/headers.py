"""The headers that every answer of the application carries, added outside of Flask because they are on every way."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from portal.settings import Settings
from portal.web.bodies import Bodies
from portal.web.turns import TURN, Turn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NONCE = "portal.nonce"  # where a request's nonce stands in its WSGI environment

REQUEST_ID = "portal.request_id"  # and its own name, for answer and log
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # one that the caller gave is kept, if it can do no harm

_NEVER_FRAMED = "/dashboard"  # where an operator's click must be meant
_PREVIEW = "/settings/preview"  # except what only shows what others will see: our own pages embed that
_FRAMES = "; frame-src 'self'"
_INERT = "; sandbox allow-same-origin"  # no script, no form: it is only looked at

# What a view may set for itself; everything else of ours is the same for all.
_OWN = "cache-control"


class SecureHeaders:
    """WSGI middleware: security headers on every answer, and on pages a policy with a nonce of the request's own."""

    def __init__(self, app: WSGIApplication, base_url: str, settings: Callable[[], Settings]) -> None:
        self._app, self._settings = app, settings
        self._bodies = Bodies()
        self._fixed = [
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Robots-Tag", "noindex, nofollow, noarchive"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            (
                "Permissions-Policy",
                "camera=(), microphone=(), geolocation=(), payment=(), usb=(), clipboard-write=(self)",
            ),
            ("Vary", "HX-Request, Accept-Encoding"),
        ]
        if base_url.startswith("https://"):
            self._fixed.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))
        self._before_nonce = "default-src 'none'; script-src 'nonce-"
        self._between = "'; style-src 'nonce-"
        self._after_nonce = (
            "'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; "
            "frame-ancestors "
        )
        self._known: tuple[Settings | None, str] = (None, "")

    def _ancestors(self, path: str) -> str:
        """Who may embed the page at `path`."""
        if path.startswith(_NEVER_FRAMED):
            return "'self'" if path.endswith(_PREVIEW) else "'none'"
        settings, known = self._settings(), self._known
        if settings is not known[0]:
            known = self._known = (settings, " ".join(settings.frame_ancestors))
        return known[1]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        random = secrets.token_hex(24)
        nonce = environ[NONCE] = random[:32]
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = environ[REQUEST_ID] = given if given and _REQUEST_ID.fullmatch(given) else random[32:]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Callable[[bytes], object]:
            path = environ["PATH_INFO"]  # as `Paths` rewrote it: /DASHBOARD is the dashboard, too
            names = {name.lower(): value for name, value in headers}
            headers = headers + self._fixed
            headers.append(("X-Request-Id", request_id))
            if path.startswith(_NEVER_FRAMED):
                # No page of a neighbouring host, which the cookie would go along with, gets at what is answered here.
                headers.append(("Cross-Origin-Resource-Policy", "same-origin"))
            if _OWN not in names:
                headers.append(("Cache-Control", "no-store"))
            if names.get("content-type", "").startswith("text/html"):
                policy = f"{self._before_nonce}{nonce}{self._between}{nonce}{self._after_nonce}{self._ancestors(path)}"
                if path.startswith(_NEVER_FRAMED):
                    policy += _INERT if path.endswith(_PREVIEW) else _FRAMES
                headers.append(("Content-Security-Policy", policy))
                if not path.startswith(_NEVER_FRAMED):
                    headers.append(("Vary", "Accept-Language"))
            return start_response(status, headers, *rest)

        self._bodies.read(environ)
        with Turn() as environ[TURN]:
            return self._app(environ, start)
