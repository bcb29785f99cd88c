"""The vendor's logo, when it was uploaded on the dashboard."""

from __future__ import annotations

from flask import Response
from flask.typing import ResponseReturnValue

from portal.db import transaction
from portal.install.pages import install
from portal.preferences.logos import PATH, find_logo


@install.get(f"{PATH}<name>")
def logo(name: str) -> ResponseReturnValue:
    """A picture and nothing else, whatever a browser makes of it. Its name goes with what it holds."""
    with transaction() as session:
        found = find_logo(session, name)
        response = Response(found.data, content_type=found.content_type)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
