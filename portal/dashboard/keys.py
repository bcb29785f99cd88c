"""API keys of the environment that the dashboard shows."""

from __future__ import annotations

import sqlalchemy as sa
from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.api_keys.models import ApiKey
from portal.api_keys.rules import BadApiKeyName, create_api_key, find_api_key, revoke_api_key
from portal.clock import now
from portal.dashboard.access import audit, dashboard, own, require_proof


def _page(fresh: str = "", problem: BadApiKeyName | None = None) -> str:
    with own() as session:
        rows = session.scalars(sa.select(ApiKey).order_by(ApiKey.created_at.desc()).limit(200)).all()
        return render_template("dashboard/api_keys.html", rows=rows, fresh=fresh, problem=problem, typed=request.form)


@dashboard.get("/api-keys")
def api_keys() -> ResponseReturnValue:
    """Every key by its beginning."""
    return _page()


@dashboard.post("/api-keys")
def make_key() -> ResponseReturnValue:
    """Make a key and show it this once; wants a sign-in that isn't long ago."""
    require_proof()
    name = request.form.get("name", "")
    try:
        with own() as session:
            row, key = create_api_key(session, name, environment=g.session.environment, now=now())
            audit(session, "api_key.create", row.name, prefix=row.prefix)
    except BadApiKeyName as problem:
        return _page(problem=problem), 422
    return _page(key)


@dashboard.post("/api-keys/<key>/revoke")
def revoke_key(key: str) -> ResponseReturnValue:
    """End a key."""
    with own() as session:
        found = find_api_key(session, key)
        revoke_api_key(session, found, now())
        audit(session, "api_key.revoke", found.name, prefix=found.prefix)
    return redirect(url_for("dashboard.api_keys"), 303)
