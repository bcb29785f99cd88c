"""API keys as operators make and revoke them."""

from __future__ import annotations

import re
from datetime import timedelta

import sqlalchemy as sa

from portal.clock import now
from portal.operators.models import OperatorSession
from tests.backend import change


def test_a_key_is_shown_once_works_and_is_revoked(desk, app):
    page = desk.post("/dashboard/api-keys", name="billing server")
    key = re.search(r'id="key" type="text" readonly value="([^"]+)"', page.html)[1]
    call = {"headers": {"Authorization": f"Bearer {key}"}}
    assert app.test_client().get("/users", **call).status_code == 200
    listed = desk.get("/dashboard/api-keys")
    assert key not in listed.html
    (one,) = re.findall(r"/dashboard/api-keys/([0-9a-f]{24})/revoke", listed.html)
    desk.post(f"/dashboard/api-keys/{one}/revoke")
    assert app.test_client().get("/users", **call).status_code == 401


def test_a_new_key_wants_a_fresh_sign_in(desk, app):
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(minutes=16)))
    assert desk.post("/dashboard/api-keys", name="x").status == 403
