"""Users as operators see, take along and delete them."""

from __future__ import annotations

import json
from datetime import timedelta

import sqlalchemy as sa

from portal.clock import now
from portal.operators.models import OperatorSession
from tests.backend import change
from tests.long_work import do_long_work


def test_a_user_s_page_shows_accounts_but_no_secret_and_everything_can_be_exported(
    desk, user, integration, install, shop, backend, app
):
    install(integration)
    backend.get(f"/users/{user}/integrations/{integration}/install-url")
    page = desk.get(f"/dashboard/users/{user}")
    assert "Luma Store" in page.text
    begun = desk.post(f"/dashboard/users/{user}/export")
    assert begun.heading == "All data of ada@shop.example"
    do_long_work(app)
    answer = desk.client.get(f"{begun.response.request.path}/file")
    document = json.loads(answer.text)
    assert {"users", "links", "credentials", "installations", "child_workflows", "events", "deliveries"} <= set(
        document
    )
    assert document["credentials"][0]["account"] == "Luma Store"
    assert shop.token not in answer.text
    assert "sealed" not in answer.text
    assert "token_hash" not in answer.text
    assert document["deliveries"][0]["url"] == "http://127.0.0.1:9/webhook"
    assert "attachment" in answer.headers["Content-Disposition"]


def test_deleting_a_user_wants_the_name_typed_and_a_fresh_sign_in(desk, user, app, backend):
    refused = desk.post(f"/dashboard/users/{user}/delete", confirm="ada")
    assert refused.status == 422
    assert "Type the username exactly" in refused.text
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(hours=1)))
    refused = desk.post(f"/dashboard/users/{user}/delete", confirm="ada@shop.example")
    assert refused.status == 403
    assert "Please prove first that it is you" in refused.text
    change(app, sa.update(OperatorSession).values(proved_at=now()))
    assert user in desk.post(f"/dashboard/users/{user}/delete", confirm="ada@shop.example").text
    assert backend.get("/users")["data"] == []
    assert "user.delete" in desk.get("/dashboard/audit").text


def test_pages_call_apps_by_their_titles(desk, user, integration, install):
    one = install(integration)
    for page in (f"users/{user}", f"installations/{one}"):
        assert "Magento: Luma Store" in desk.get(f"/dashboard/{page}").text


def test_the_other_environment_is_another_world(desk, user, integration, install):
    one = install(integration)
    desk.post("/dashboard/environment", environment="development")
    assert "ada@shop.example" not in desk.get("/dashboard/users").text
    desk.get(f"/dashboard/installations/{one}", status=404)
    desk.get(f"/dashboard/users/{user}", status=404)
    desk.post("/dashboard/environment", environment="production")
    desk.get(f"/dashboard/users/{user}")
