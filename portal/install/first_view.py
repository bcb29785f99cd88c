"""The first view of a link, rendered once for each version of an integration and then only filled in.

The page's own template is rendered with marks in the place of what differs from link to link (names, token, nonce);
a request joins the pieces around its own values. What is shown is therefore the same as what `pages.page` renders,
and a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Response, current_app, render_template, request
from markupsafe import escape

from portal.install.sections import lay_out
from portal.install.view import TEMPLATE, describe, moment, user_name
from portal.installations.opening import UntouchedLink
from portal.integrations.models import Integration
from portal.links.models import Link
from portal.users.models import User
from portal.web.headers import NONCE

# Private-use characters: no text of ours has them, and escaping leaves them alone.
_MARK = "\ue000{}\ue001"
_MARKS = re.compile("\ue000(\\w+)\ue001")
_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
_MOST = 500  # versions of integrations that are kept ready

Pieces = list[str]


def is_ready(link: UntouchedLink) -> bool:
    """Whether the page of this version of the integration was rendered before."""
    return _key(link) in _views()


def make_ready(link: UntouchedLink, integration: Integration) -> None:
    """Render the page of this version of the integration with marks."""
    if len(_views()) >= _MOST:
        _views().clear()
    _views()[_key(link)] = _prepare(link, integration)


def show_untouched(link: UntouchedLink, token: str, always: str) -> Response:
    """The page of an untouched link, once it `is_ready`."""
    html = _fill(_views()[_key(link)], _values(link, token, always, request.environ[NONCE]))
    return Response(html, mimetype="text/html")


def _views() -> dict[object, Pieces]:
    views: dict[object, Pieces] = current_app.extensions["first_views"]
    return views


def _key(link: UntouchedLink) -> object:
    return link.integration_id, link.integration_version, link.workflow_ids


def _values(link: UntouchedLink, token: str, always: str, nonce: str) -> dict[str, str]:
    return {
        "token": str(escape(token)),
        "always": str(escape(always)),
        "press": nonce[:8] + nonce[-8:],
        "user": str(escape(user_name(link.full_name, link.username))),
        "until": link.expires_at.isoformat(),
        "day": moment(link.expires_at),
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
    html = html.replace(_MOMENT.isoformat(), _MARK.format("until")).replace(moment(_MOMENT), _MARK.format("day"))
    return _MARKS.split(html)


def _fill(pieces: Pieces, values: Mapping[str, str]) -> str:
    # Every second piece is the name of a mark.
    return "".join([values[piece] if number % 2 else piece for number, piece in enumerate(pieces)])
