"""Users, installations, events and keys as operators see and change them."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import sqlalchemy as sa

from portal.clock import now
from portal.operators.models import OperatorSession
from tests.backend import WITH_FIELDS, change
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


def test_an_installation_is_stopped_started_and_removed(desk, user, integration, install, backend):
    one = install(integration)
    page = desk.get(f"/dashboard/installations/{one}")
    assert "Luma Store" in page.text
    assert "stopped" in desk.post(f"/dashboard/installations/{one}/deactivate").text
    assert backend.get(f"/installations/{one}")["data"]["enabled"] is False
    desk.post(f"/dashboard/installations/{one}/activate")
    desk.post(f"/dashboard/installations/{one}/upgrade")
    assert backend.get(f"/installations/{one}")["data"]["enabled"] is True
    assert desk.post(f"/dashboard/installations/{one}/remove").heading == "Installations"
    assert backend.get("/installations")["data"] == []


def test_upgrade_is_offered_only_where_something_is_newer(desk, install, asking, apply, sign_in):
    book = next(one.id for one in asking.workflows if one.name == "Book orders")
    one = install(asking.id, "sandbox", [{"workflowId": book, "fields": [{"name": "ledger", "value": "Main"}]}])
    address = f"/dashboard/installations/{one}"
    assert f"{address}/upgrade" not in desk.get(address).html
    apply(WITH_FIELDS.replace("0 * * * *", "5 * * * *"))
    assert f"{address}/upgrade" in desk.get(address).html
    desk.post(f"{address}/upgrade")
    assert f"{address}/upgrade" not in desk.get(address).html


def test_pages_call_apps_by_their_titles(desk, user, integration, install):
    one = install(integration)
    for page in (f"users/{user}", f"installations/{one}"):
        assert "Magento: Luma Store" in desk.get(f"/dashboard/{page}").text


def test_an_event_shows_what_was_sent_and_is_delivered_again(desk, user, integration, install, backend):
    install(integration)
    event = backend.get("/events")["data"][0]["eventId"]
    page = desk.get(f"/dashboard/events/{event}")
    assert f'"userId": "{user}"' in page.text
    assert desk.post(f"/dashboard/events/{event}/redeliver").html.count("http://127.0.0.1:9/webhook") == 2
    assert "installation.finished" in desk.get("/dashboard/events?state=pending").text
    assert "No event is like that." in desk.get("/dashboard/events?state=delivered").text


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


def test_the_other_environment_is_another_world(desk, user, integration, install):
    one = install(integration)
    desk.post("/dashboard/environment", environment="development")
    assert "ada@shop.example" not in desk.get("/dashboard/users").text
    desk.get(f"/dashboard/installations/{one}", status=404)
    desk.get(f"/dashboard/users/{user}", status=404)
    desk.post("/dashboard/environment", environment="production")
    desk.get(f"/dashboard/users/{user}")
