"""What the calls do, beyond what the published clients try."""

from __future__ import annotations

import io
import json
import re
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from portal.api import hooks
from portal.clock import now
from portal.db import transaction
from portal.idempotency.models import IdempotentCall
from portal.links.models import FailedTry, Link
from portal.web import turns
from tests.backend import WITH_FIELDS
from tests.stage import answer, hang, wait_until


def data(app):
    """The whole database as text, to look for what must not be in it."""
    with app.app_context(), transaction() as session:
        return "\n".join(session.connection().connection.driver_connection.iterdump())


# Links


def test_a_link_is_made_with_all_options_and_shown_without_its_token(backend, user, integration):
    made = backend.post(
        "/links",
        {
            "userId": "ada@shop.example",
            "integrationId": integration,
            "expiresIn": "12h",
            "redirectUrl": "https://vendor.example/back",
            "alwaysShowCredentials": False,
            "preFilledValues": {"magento": {"store_url": "https://shop.example"}},
            "locale": "de-CH",
        },
    )
    shown = backend.get(f"/links/{made['linkId']}")["data"]
    assert shown["state"] == "created"
    assert (shown["userId"], shown["username"]) == (user, "ada@shop.example")
    assert (shown["redirectUrl"], shown["locale"]) == ("https://vendor.example/back", "de-CH")
    assert shown["alwaysShowCredentials"] is False
    token = re.search(r"token=([^&]+)", made["url"])[1]
    assert token not in str(shown)
    assert token not in data(backend.app)
    page = backend.app.test_client().get(made["url"]).text
    assert 'value="https://shop.example"' in page


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"magento": {"access_token": "t"}}, 400, "is a secret: only the end user types it"),
        ({"magento": {"nothing": "t"}}, 404, "nothing that is asked for has a field of this name"),
        ({"magento": {"store_url": "nonsense url"}}, 400, "store_url"),
    ],
)
def test_values_that_can_not_be_given_with_a_link_are_refused(backend, user, integration, given, status, said):
    body = {"userId": user, "integrationId": integration, "preFilledValues": given}
    assert backend.refusal("POST", "/links", body)[0] == status
    assert said in backend.refusal("POST", "/links", body)[1]


@pytest.mark.parametrize("life", ["0d", "400d", "soon", "-1", ""])
def test_a_life_that_no_link_can_have_is_refused(backend, user, integration, life):
    status, said = backend.refusal("GET", f"/users/{user}/integrations/{integration}/install-url?expiresIn={life}")
    assert status == 400
    assert "expiresIn" in said


@pytest.mark.parametrize(
    "address",
    [
        "/users/{u}/integrations/{i}/install-url",
        "/integrations/{i}/install-url?userId={u}",
        "/install-url?userId={u}&integrationId={i}",
    ],
)
@pytest.mark.parametrize("front", ["", "/2023-01", "/2024-03", "/2031-12"])
def test_a_link_is_made_at_every_documented_address(backend, user, integration, address, front):
    made = backend.get(front + address.format(u=user, i=integration))
    assert set(made) == {"url", "linkId", "expiresAt"}


@pytest.mark.parametrize("address", ["/users/", "/Users", "/USERS/", "/2024-03//users", "/2024-03/users/"])
def test_addresses_may_be_written_in_other_ways(backend, address):
    assert backend.get(address) == {"data": []}


def test_an_unknown_address_is_answered_in_words(backend):
    for address in ("/nothing", "/2024-03/nothing", "/2024-13/users"):
        status, said = backend.refusal("GET", address)
        assert (status, said) == (404, "There is nothing at this address. GET /openapi.json lists what there is.")


def test_a_link_tells_how_far_it_has_come_and_what_failed_last(backend, user, integration, app):
    link_id = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    with app.app_context(), transaction() as session:
        at = now()
        for message, field, seconds in (("First.", None, 0), ("Last.", "access_token", 1)):
            facts = {"app": "magento", "field": field, "reason": "x", "message": message}
            session.add(FailedTry(link_id=link_id, at=at + timedelta(seconds=seconds), **facts))
        session.execute(sa.update(Link).where(Link.id == link_id).values(opened_at=at))
    shown = backend.get(f"/links/{link_id}")["data"]
    assert shown["state"] == "opened"
    assert shown["lastFailure"]["message"] == "Last."
    assert shown["lastFailure"]["field"] == "access_token"
    assert backend.get(f"/links?userId={user}")["data"] == [shown]


def test_a_revoked_link_can_not_be_used(backend, user, integration):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")
    assert backend.post(f"/links/{made['linkId']}/revoke")["data"]["state"] == "revoked"
    assert backend.post(f"/links/{made['linkId']}/revoke")["data"]["state"] == "revoked"
    assert backend.app.test_client().get(made["url"]).status_code == 410


# Paging, idempotency, limits, request ids


def test_every_user_is_on_exactly_one_page(backend):
    names = [f"user{number:03}" for number in range(25)]
    backend.post("/users/batch", {"users": [{"username": name} for name in names]})
    seen, cursor, pages = [], "", 0
    while True:
        page = backend.get(f"/users?limit=7{cursor}")
        seen += [one["username"] for one in page["data"]]
        pages += 1
        if "nextCursor" not in page:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert (sorted(seen), pages) == (names, 4)


@pytest.mark.parametrize("cursor", ["x", "e30", "WyJhIiwgImIiXQ", "%F0%9F%98%80"])
def test_a_cursor_that_no_page_gave_is_refused(backend, cursor):
    assert backend.refusal("GET", f"/users?cursor={cursor}")[0] == 404


def test_newest_links_come_first(backend, user, integration):
    made = [backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"] for _ in range(3)]
    first = backend.get("/links?limit=2")
    rest = backend.get(f"/links?limit=2&cursor={first['nextCursor']}")
    assert [one["linkId"] for one in first["data"] + rest["data"]] == made[::-1]


def test_a_batch_makes_what_can_be_made_and_names_the_rest(backend):
    backend.post("/users", {"username": "taken"})
    given = [{"username": "new"}, {"username": "taken"}, {"username": "new"}, {"fullName": "Nobody"}, {"username": 7}]
    assert backend.post("/users/batch", {"users": given}) == {"message": "success", "invalidUsers": given[1:]}
    assert backend.refusal("POST", "/users/batch", {"users": given}) == (400, "No valid users provided")
    assert backend.refusal("POST", "/users/batch", {"users": [{"username": "x"}] * 1001})[0] == 400


def test_the_same_call_twice_with_one_key_happens_once(backend, user, integration, app):
    body = {"userId": user, "integrationId": integration}
    key = {"Idempotency-Key": "5f0c"}
    first = backend.call("POST", "/links", json=body, headers=key)
    again = backend.call("POST", "/links", json=body, headers=key)
    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(backend.get("/links")["data"]) == 1
    # The stored answer holds a link: it is sealed.
    assert re.search(r"token=([^&]+)", first.json["url"])[1] not in data(app)
    status, said = backend.refusal("POST", "/links", {**body, "expiresIn": "1d"}, headers=key)
    assert status == 409
    assert "Use a new key" in said


def test_a_call_that_was_refused_can_be_mended_under_the_same_key(backend):
    key = {"Idempotency-Key": "mend"}
    assert backend.refusal("POST", "/users", {"user": "x"}, headers=key)[0] == 400
    assert backend.post("/users", {"username": "x"}, headers=key)["userId"]


def test_a_call_that_is_under_way_is_not_done_a_second_time(backend, app):
    backend.post("/users", {"username": "x"}, headers={"Idempotency-Key": "k"})
    with app.app_context(), transaction() as session:
        session.execute(sa.update(IdempotentCall).values(status=None, sealed=None))
    answer_ = backend.call("POST", "/users", json={"username": "x"}, headers={"Idempotency-Key": "k"})
    assert (answer_.status_code, answer_.headers["Retry-After"]) == (409, "1")
    # One that died on its way doesn't block its key for ever.
    with app.app_context(), transaction() as session:
        session.execute(sa.update(IdempotentCall).values(created_at=now() - timedelta(minutes=2)))
    assert backend.refusal("POST", "/users", {"username": "x"}, headers={"Idempotency-Key": "k"})[0] == 409
    assert backend.post("/users", {"username": "y"}, headers={"Idempotency-Key": "k"})["userId"]


def test_answers_are_forgotten_after_a_day(backend, app):
    key = {"Idempotency-Key": "day"}
    backend.post("/users", {"username": "x"}, headers=key)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(IdempotentCall).values(created_at=now() - timedelta(hours=25)))
    assert backend.refusal("POST", "/users", {"username": "x"}, headers=key)[0] == 409  # done anew: the name is taken


@pytest.mark.parametrize("key", ["", "x" * 256, "ü"])
def test_a_key_that_can_not_be_is_refused(backend, key):
    assert backend.refusal("POST", "/users", {"username": "x"}, headers={"Idempotency-Key": key})[0] == 400


def test_what_is_left_is_told_and_too_much_is_refused(backend, app):
    from portal.web.limits import Limiter

    app.extensions["limiter"] = Limiter("3 per hour")
    told = [backend.call("GET", "/users").headers["RateLimit-Remaining"] for _ in range(3)]
    assert told == ["2", "1", "0"]
    refused = backend.call("GET", "/users")
    assert refused.status_code == 429
    assert refused.headers["RateLimit-Limit"] == "3"
    assert int(refused.headers["Retry-After"]) == int(refused.headers["RateLimit-Reset"]) <= 3600
    assert "Wait" in refused.json["message"]
    # Who has no key is counted by address, and takes nothing from those who have one.
    assert [app.test_client().get("/users").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_every_answer_has_a_request_id_and_a_good_one_is_kept(backend):
    assert re.fullmatch("[0-9a-f]{16}", backend.call("GET", "/users").headers["X-Request-Id"])
    kept = backend.call("GET", "/users", headers={"X-Request-Id": "order-7.a"})
    assert kept.headers["X-Request-Id"] == "order-7.a"
    for evil in ("a b", "x" * 65, "<script>"):
        assert backend.call("GET", "/users", headers={"X-Request-Id": evil}).headers["X-Request-Id"] != evil
    assert backend.app.test_client().get("/healthz").headers["X-Request-Id"]


def test_the_request_id_is_in_the_log(backend, monkeypatch):
    lines = io.StringIO()
    processors = [structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()]
    monkeypatch.setattr(hooks, "log", structlog.wrap_logger(structlog.PrintLogger(lines), processors))
    backend.call("GET", "/users", headers={"X-Request-Id": "find-me"})
    line = json.loads(lines.getvalue())
    assert (line["request_id"], line["route"], line["status"]) == ("find-me", "/users", 200)
    assert backend.key not in lines.getvalue()


def test_what_can_not_be_read_is_explained(backend):
    for more in ({"data": "{", "content_type": "application/json"}, {"data": b"\xff"}, {"json": [1]}):
        status, said = backend.refusal("POST", "/users", **more)
        assert status == 400
        assert "Please mend" in said or "can’t be read" in said
    status, said = backend.refusal("POST", "/users", {"username": "\ud800"})
    assert status == 400
    assert backend.refusal("POST", "/run/event", {"event": "x", "userId": "a\0"})[0] == 400
    assert backend.refusal("GET", "/users/a%00")[0] == 404
    assert backend.refusal("POST", "/users", data=b"x" * 600_000)[0] == 413
    assert backend.refusal("PATCH", "/users")[0] == 405


# Credentials and installations


def test_a_credential_is_tested_before_it_is_kept_and_never_shown(backend, user, shop, app):
    wrong = {"type": "magento", "data": {"store_url": shop.url, "access_token": "wrong-secret"}}
    status, said = backend.refusal("POST", "/headless/credentials", {"userId": user, "credential": wrong})
    assert status == 400
    assert "access token" in said
    assert backend.get(f"/users/{user}/credentials") == {"data": []}
    right = {"type": "magento", "data": {"store_url": shop.url, "access_token": shop.token}}
    made = backend.post("/headless/credentials", {"userId": user, "credential": right})
    listed = backend.get(f"/users/{user}/credentials")["data"]
    assert [one["credentialId"] for one in listed] == [made["credentialId"]]
    assert listed == backend.get(f"/credentials/users/{user}")["data"]
    assert shop.token not in str(listed)
    assert shop.token not in data(app)
    assert "wrong-secret" not in data(app)


def test_a_credential_for_a_private_address_is_refused(backend, user):
    given = {"type": "magento", "data": {"store_url": "http://127.0.0.1:1", "access_token": "t"}}
    status, said = backend.refusal("POST", "/headless/credentials", {"userId": user, "credential": given})
    assert status == 400
    assert "can’t be reached" in said or "private" in said


def test_an_installation_asks_for_its_fields_and_starts_with_the_answers(backend, user, asking, shop_credential):
    shop_credential("sandbox")
    started = backend.post("/headless/startInstallation", {"userId": user, "integrationId": asking.id})
    (asked,) = started["data"]
    assert [(f["name"], f["type"], f["required"]) for f in asked["fields"]] == [
        ("ledger", "text", True),
        ("mode", "select", False),
    ]
    complete = {"installationId": started["installationId"]}
    status, said = backend.refusal("POST", "/headless/completeInstallation", complete)
    assert (status, said) == (400, "Please mend these values: ledger: Fill in Ledger.")
    fields = [{"name": "ledger", "value": "4711"}, {"name": "mode", "value": "daily"}]
    complete["data"] = [{"workflowId": asked["workflowId"], "fields": fields}]
    assert backend.post("/headless/completeInstallation", complete) == {
        "message": "Installation completed successfully"
    }
    assert backend.refusal("POST", "/headless/completeInstallation", complete)[0] == 410
    installed = backend.get("/installations")["data"][0]
    assert (installed["userId"], installed["enabled"]) == (user, True)
    assert len(installed["workflowIds"]) == 2
    assert backend.get("/events")["data"][0]["body"]["workflowIds"] == installed["workflowIds"]


def test_an_installation_wants_a_credential_for_each_app_and_no_guessing(backend, user, integration, shop_credential):
    body = {"userId": user, "integrationId": integration}
    status, said = backend.refusal("POST", "/headless/startInstallation", body)
    assert status == 409
    assert "magento" in said
    first, second = shop_credential(), shop_credential()
    assert "several" in backend.refusal("POST", "/headless/startInstallation", body)[1]
    started = backend.post("/headless/startInstallation", {**body, "credentialIds": [second]})
    backend.post("/headless/completeInstallation", {"installationId": started["installationId"]})
    assert backend.get("/installations")["data"][0]["credentialIds"] == {"magento": second}
    assert first != second
    assert backend.refusal("POST", "/headless/startInstallation", {**body, "credentialIds": ["x"]})[0] == 404


def test_installations_are_stopped_started_and_removed(backend, user, integration, install):
    one = install(integration)
    assert backend.put(f"/installations/{one}/deactivate")["data"]["enabled"] is False
    assert backend.get(f"/workflows?userId={user}")["data"][0]["active"] is False
    assert backend.put(f"/installations/{one}/activate")["data"]["enabled"] is True
    assert backend.get(f"/workflows?userId={user}")["data"][0]["active"] is True
    assert backend.delete(f"/installations/{one}") == {"success": True}
    assert backend.refusal("GET", f"/installations/{one}")[0] == 404
    assert backend.get("/installations")["data"] == []
    assert backend.get(f"/workflows?userId={user}")["data"][0]["installed"] is False


def test_what_runs_with_a_deleted_credential_stops_and_needs_a_new_one(backend, user, integration, install):
    install(integration)
    credential = backend.get(f"/users/{user}/credentials")["data"][0]["credentialId"]
    backend.delete(f"/users/{user}/credentials/{credential}")
    workflow = backend.get(f"/workflows?userId={user}")["data"][0]
    assert (workflow["installed"], workflow["active"]) == (True, False)
    which = {"userId": user, "workflowId": workflow["workflowId"]}
    status, said = backend.refusal("PUT", "/workflows/activate", which)
    assert status == 409
    assert "install link" in said


def test_an_upgrade_brings_the_newest_version_unless_it_asks_for_more(backend, user, asking, install, apply):
    workflow = asking.workflows[0].id
    answers = [{"workflowId": workflow, "fields": [{"name": "ledger", "value": "1"}]}]
    one = install(asking.id, "sandbox", answers)
    apply(WITH_FIELDS.replace("Send the order", "Send it on"))
    assert backend.get(f"/workflows/{workflow}?userId={user}")["data"]["installedVersion"] == 1
    assert backend.call("PUT", f"/workflows/{workflow}/upgrade?userId={user}", data={}).json == {"upgraded": True}
    assert backend.get(f"/workflows/{workflow}?userId={user}")["data"]["installedVersion"] == 2
    apply(WITH_FIELDS.replace("title: Mode,", "title: Mode, required: true,"))
    for address in (f"/workflows/{workflow}/upgrade?userId={user}", f"/installations/{one}/upgrade"):
        status, said = backend.refusal("PUT", address)
        assert status == 409
        assert "asks for Mode" in said
    versions = backend.get(f"/workflows/{workflow}/versions")["data"]
    assert [v["status"] for v in versions] == ["active", "inactive", "inactive"]


def test_deleting_the_last_workflow_ends_the_installation(backend, user, integration, install):
    install(integration)
    workflow = backend.get("/workflows")["data"][0]["workflowId"]
    backend.delete(f"/workflows/{workflow}?userId={user}")
    assert backend.get("/installations")["data"] == []


def test_a_deleted_user_takes_everything_along_but_what_was_told(backend, user, integration, install, app):
    install(integration)
    backend.get(f"/users/{user}/integrations/{integration}/install-url")
    backend.delete(f"/users/{user}")
    for address in ("/users", "/links", "/installations"):
        assert backend.get(address)["data"] == []
    assert [one["name"] for one in backend.get("/events")["data"]] == ["installation.finished"]
    with app.app_context(), transaction() as session:
        for table in ("credentials", "links", "child_workflows", "installation_credentials"):
            assert session.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar() == 0


def test_users_of_a_workflow_are_found(backend, user, integration, install):
    backend.post("/users", {"username": "other"})
    install(integration)
    workflow = backend.get("/workflows")["data"][0]["workflowId"]
    assert [one["userId"] for one in backend.get(f"/users?parentWorkflowId={workflow}")["data"]] == [user]
    assert [one["userId"] for one in backend.get(f"/workflows/{workflow}/users")["data"]] == [user]


def test_an_app_of_several_integrations_has_to_be_named_by_id(backend, integration, apply):
    apply("name: Other\napps: [magento]\nworkflows: [{name: w, description: d, trigger: {schedule: x}}]")
    assert backend.refusal("GET", "/integrations/magento")[0] == 409
    assert backend.get(f"/integrations/{integration}")["data"]["integrationId"] == integration


# Events


def test_an_event_is_listed_with_its_delivery_and_told_again(backend, user, integration, install):
    install(integration)
    (event,) = backend.get(f"/events?userId={user}")["data"]
    assert event["body"]["userId"] == user
    assert [one["state"] for one in event["deliveries"]] == ["pending"]
    again = backend.post(f"/events/{event['eventId']}/redeliver")
    assert again["eventId"] == event["eventId"]
    assert len(backend.get("/events")["data"][0]["deliveries"]) == 2


def test_while_a_provider_hangs_other_calls_go_on(backend, user, provider):
    """A credential's test waits for its provider outside of the turn: the others don't wait for it."""
    provider.behave = hang
    given = {"type": "magento", "data": {"store_url": provider.url, "access_token": "t"}}
    refusals = []

    def connect():
        refusals.append(backend.refusal("POST", "/headless/credentials", {"userId": user, "credential": given}))

    waiting = threading.Thread(target=connect)
    waiting.start()
    wait_until(lambda: bool(provider.calls))
    assert not turns._lock.locked()
    assert backend.get(f"/users/{user}")["userId"] == user
    assert not refusals
    provider.closing.set()
    waiting.join(20)
    assert refusals[0][0] == 400


def test_a_provider_that_fails_is_explained(backend, user, provider):
    provider.behave = answer(503)
    given = {"type": "magento", "data": {"store_url": provider.url, "access_token": "t"}}
    status, said = backend.refusal("POST", "/headless/credentials", {"userId": user, "credential": given})
    assert status == 400
    assert "Magento" in said


# The reference


def test_the_reference_can_be_read_and_names_every_call(backend):
    page = backend.app.test_client().get("/docs")
    assert page.status_code == 200
    document = backend.app.test_client().get("/openapi.json").json
    for path in document["paths"]:
        assert path in page.text
    addresses = set(re.findall(r"https?://[a-z.]+", page.text))
    assert addresses == {"http://portal.example", "https://help.example"}


def test_icons_are_pictures(backend):
    icon = backend.app.test_client().get("/icons/magento.svg")
    assert icon.content_type.startswith("image/svg+xml")
    assert icon.text.startswith("<svg xmlns=")
    assert backend.app.test_client().get("/icons/nothing.svg").status_code == 404


def test_the_documented_addresses_answer(backend, user, integration):
    """Each `curl` of the README and of docs/api.md, as it stands there."""
    root = Path(__file__).parents[3]
    text = (root / "README.md").read_text() + (root / "docs/api.md").read_text()
    addresses = re.findall(r'curl -H "Authorization: Bearer \$KEY" "?http://127\.0\.0\.1:8000(/[^\s"]+)', text)
    assert len(addresses) == 3
    for address in addresses:
        backend.get(address)


def test_the_documented_body_of_a_link_is_taken(backend, user, integration):
    """docs/api.md shows every option; only the workflow's id is its own."""
    page = (Path(__file__).parents[3] / "docs/api.md").read_text()
    body = json.loads(re.search(r"```json\n(.*?)```", page, re.S)[1])
    body["workflowIds"] = [backend.get("/workflows")["data"][0]["workflowId"]]
    made = backend.post("/links", body)
    assert backend.get(f"/links/{made['linkId']}")["data"]["workflowIds"] == body["workflowIds"]
    schemas = backend.app.test_client().get("/openapi.json").json["components"]["schemas"]
    assert set(body) == set(schemas["NewLink"]["properties"])
