"""The first view of a link, rendered once for each version of an integration (and of the settings) in each language,
then only filled in.

The page's own template is rendered with marks in the place of what differs from link to link (names, token, nonce);
a request joins the pieces around its own values. What is shown is therefore the same as what `pages.page` renders,
and a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flask import Flask, current_app, render_template
from markupsafe import escape
from sqlalchemy.exc import SQLAlchemyError

from portal.clock import now
from portal.db import Database
from portal.install.sections import lay_out
from portal.install.view import TEMPLATE, describe, user_name
from portal.installations.opening import UntouchedLink, find_untouched
from portal.integrations.models import Integration
from portal.keys.ring import KeyRing
from portal.languages import Language, choose, language
from portal.links.models import Link
from portal.preferences.current import Current
from portal.users.models import User
from portal.web import PATH, pack
from portal.web.headers import NONCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Private-use characters: no text of ours has them, and escaping leaves them alone.
_MARK = "\ue000{}\ue001"
_MARKS = re.compile("\ue000(\\w+)\ue001")
_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
_MOST = 500  # versions of integrations that are kept ready

Pieces = list[str]


class FirstViews:
    """WSGI middleware in front of Flask: answers with the page of an untouched link where that is ready."""

    def __init__(self, app: Flask) -> None:
        self._app = app.wsgi_app
        self._database: Database = app.extensions["database"]
        self._keys: KeyRing = app.extensions["keys"]
        self._views: dict[object, Pieces] = app.extensions["first_views"]
        self._current: Current = app.extensions["settings"]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "GET":
            return self._app(environ, start_response)
        facts = dict(parse_qsl(environ["QUERY_STRING"]))
        try:
            html = self._page(facts, environ[NONCE], environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        except SQLAlchemyError:
            html = None  # the way through Flask says what is wrong
        if html is None or "HTTP_HX_REQUEST" in environ:
            return self._app(environ, start_response)
        body, headers = html.encode(), [("Content-Type", "text/html; charset=utf-8")]
        if "br" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            body = pack(body)
            headers.append(("Content-Encoding", "br"))
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _page(self, facts: Mapping[str, str], nonce: str, accepted: str) -> str | None:
        token = facts.get("token", "")
        link = find_untouched(self._database, self._keys.link_keys, token, facts.get("integrationId", ""), now())
        if link is None:
            return None
        settings = self._current.settings()
        spoken = choose(link.locale, accepted, settings.languages, settings.language)
        pieces = self._views.get(_key(link, self._current, spoken))
        if pieces is None:
            return None
        return _fill(pieces, _values(link, spoken, token, facts.get("alwaysShowCredentials", ""), nonce))


def make_ready(link: UntouchedLink, integration: Integration) -> None:
    """Render the page of this version of the integration with marks, in the language of the request.

    It is for the requests to come.
    """
    views: dict[object, Pieces] = current_app.extensions["first_views"]
    if len(views) >= _MOST:
        views.clear()
    # Before the page is rendered: if a setting changes meanwhile, the page is kept for an edition that is over.
    key = _key(link, current_app.extensions["settings"], language())
    views[key] = _prepare(link, integration)


def _key(link: UntouchedLink, current: Current, spoken: Language) -> object:
    current.settings()
    return link.integration_id, link.integration_version, link.workflow_ids, current.edition, spoken.tag


def _values(link: UntouchedLink, spoken: Language, token: str, always: str, nonce: str) -> dict[str, str]:
    return {
        "token": str(escape(token)),
        "always": str(escape(always)),
        "press": nonce[:8] + nonce[-8:],
        "user": str(escape(user_name(link.full_name, link.username))),
        "until": link.expires_at.isoformat(),
        "day": spoken.moment(link.expires_at),
        "nonce": nonce,
    }


def _prepare(link: UntouchedLink, integration: Integration) -> Pieces:
    stand_in = Link(
        id="",
        integration_id=link.integration_id,
        integration=integration,
        workflow_ids=list(link.workflow_ids) or None,
        user=User(username=_MARK.format("user"), full_name=None),
        expires_at=_MOMENT,
    )
    sections = lay_out(stand_in, current_app.extensions["catalogue"], [], always_show=True)
    hidden = {"token": _MARK.format("token"), "alwaysShowCredentials": _MARK.format("always")}
    view = describe(stand_in, sections, press=_MARK.format("press"), facts=hidden)
    html = render_template(TEMPLATE, page=view, nonce=_MARK.format("nonce"))
    html = html.replace(_MOMENT.isoformat(), _MARK.format("until")).replace(
        language().moment(_MOMENT), _MARK.format("day")
    )
    return _MARKS.split(html)


def _fill(pieces: Pieces, values: Mapping[str, str]) -> str:
    # Every second piece is the name of a mark.
    return "".join([values[piece] if number % 2 else piece for number, piece in enumerate(pieces)])
