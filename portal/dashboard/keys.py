"""API keys of the environment that the dashboard shows."""

from __future__ import annotations

from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.api_keys.models import ApiKey, ApiKeyState
from portal.api_keys.rules import BadApiKeyName, create_api_key, find_api_key, revoke_api_key, select_api_keys
from portal.clock import now
from portal.dashboard.access import audit, dashboard, own, require_proof
from portal.dashboard.lists import by_name, by_time, chosen, listing


def _page(fresh: str = "", problem: BadApiKeyName | None = None) -> str:
    state = chosen(ApiKeyState, "state")
    columns = [by_time(ApiKey.created_at)]
    if state is None:  # those of a state have an index in the order of time alone
        columns.append(by_name(ApiKey.name))
    with own() as session:
        found = listing(session, select_api_keys(state), then=ApiKey.id, columns=columns, filters=("state",))
        return render_template(
            "dashboard/api_keys.html",
            found=found,
            states=list(ApiKeyState),
            fresh=fresh,
            problem=problem,
            typed=request.form,
        )


@dashboard.get("/api-keys")
def api_keys() -> ResponseReturnValue:
    """Every key by its beginning, in use or revoked."""
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
