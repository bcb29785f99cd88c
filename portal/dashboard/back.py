"""The page that somebody comes back to, after signing in or proving who they are: always one of the dashboard's."""

from __future__ import annotations

import re

from flask import current_app, request, url_for
from htmx_flask import request as htmx
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

# A path of ours and its query, in the letters that an address is made of: nothing that could name another host.
_OWN = re.compile(r"(?=.{1,500}\Z)/dashboard(/[A-Za-z0-9._~%@:+-]+)*/?(\?[A-Za-z0-9._~%@:+&=/-]*)?")
_HOST = re.compile(r"^https?://[^/]*")


def own_page(address: str) -> str:
    """`address` when it is a page of the dashboard, as path and query; the overview for everything else."""
    overview = url_for("dashboard.overview")
    if not _OWN.fullmatch(address):
        return overview
    path = address.partition("?")[0]
    try:
        endpoint, _ = current_app.url_map.bind("").match(path, method="GET")
    except (HTTPException, RequestRedirect):
        return overview
    # Not where a browser is sent on its way in.
    return address if endpoint.startswith("dashboard.") and "/sign-in" not in path else overview


def page_before() -> str:
    """The page that was asked for, or on which the form stood, or a part was to change."""
    if htmx.htmx:
        return own_page(_HOST.sub("", htmx.htmx.current_url or ""))
    if request.method == "GET":
        return own_page(request.full_path.rstrip("?"))
    # Whatever host it names: only the path is taken, and it is one of ours or the overview.
    return own_page(_HOST.sub("", request.headers.get("Referer", "")))
