"""Who may call what: a table made from the address map, so that a new route can't be forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.routing import Rule

from portal import create_app
from portal.api_keys.rules import find_api_key, revoke_api_key
from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.settings import read_settings
from portal.users.token import write_user_token

RESOURCES = {"users", "links", "workflows", "installations", "credentials", "apps", "runs", "events"}
# What a browser with a user token may call; everything else is for keys alone.
OPEN = {
    ("GET", "/integrations"),
    ("GET", "/integrations/<integration>"),
    ("GET", "/workflows"),
    ("GET", "/workflows/<workflow>"),
    ("PUT", "/workflows/activate"),
    ("PUT", "/workflows/deactivate"),
}
# Addresses without a key: pages and what is public.
PUBLIC = {
    "/embedded-install",
    "/forge-install",
    "/authenticate-app",
    "/openapi.json",
    "/docs",
    "/icons/<name>.svg",
    "/logo/<name>",
    "/one",
    "/one/<path:rest>",
    "/security/public_key.pem",
    "/hooks/<address>",  # a part of it can't be guessed, and webhooks are signed
    "/security/public_keys.pem",
    "/healthz",
    "/readyz",
    "/metrics",
}


def _rules(tmp: Any) -> list[Rule]:
    return list(create_app(read_settings(instance=tmp)).url_map.iter_rules())


@pytest.fixture(scope="session")
def rules(tmp_path_factory):
    return _rules(tmp_path_factory.mktemp("rules"))


@pytest.fixture
def calls(rules):
    """Every call of the API as (method, rule, address)."""
    found = [
        (method, rule.rule, _fill(rule))
        for rule in rules
        if rule.endpoint.partition(".")[0] in RESOURCES
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
    ]
    assert len(found) > 50
    return found


def _fill(rule: Rule, user: str = "0" * 24) -> str:
    return "/".join(user if part.startswith("<") else part for part in rule.rule.split("/"))


def _status(backend, method, path, headers):
    body = {"json": {}} if method in ("POST", "PUT") else {}
    return backend.app.test_client().open(path, method=method, headers=headers, **body).status_code


def test_every_address_is_either_of_the_api_or_known_to_be_public(rules):
    elsewhere = RESOURCES | {"dashboard"}  # which has a table of its own
    others = {rule.rule for rule in rules if rule.endpoint.partition(".")[0] not in elsewhere}
    assert others == PUBLIC


def test_without_a_key_no_call_goes_through(backend, calls):
    for method, rule, path in calls:
        assert _status(backend, method, path, {}) == 401, (method, rule)


def test_a_revoked_key_opens_nothing(backend, calls, app):
    with app.app_context(), transaction() as session:
        revoke_api_key(session, find_api_key(session, backend.key[:18]), now())
    for method, rule, path in calls:
        assert _status(backend, method, path, {"Authorization": f"Bearer {backend.key}"}) == 401, (method, rule)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_may_be_in_any_case(backend, scheme):
    assert _status(backend, "GET", "/users", {"Authorization": f"{scheme} {backend.key}"}) == 200


def test_a_link_s_token_opens_nothing(backend, calls, make_link):
    token = make_link().query["token"]
    for method, rule, path in calls:
        assert _status(backend, method, path, {"Authorization": f"Bearer {token}"}) == 401, (method, rule)
        assert _status(backend, method, path, {"x-alloy-user-token": token}) == 401, (method, rule)


def test_a_user_s_token_opens_only_what_is_open_to_users(backend, calls, user, integration):
    token = backend.get(f"/users/{user}/token")["token"]
    opened = set()
    for method, rule, path in calls:
        status = _status(backend, method, path, {"x-alloy-user-token": token})
        assert _status(backend, method, path, {"Authorization": f"Bearer {token}"}) == 401, (method, rule)
        if status != 401:
            opened.add((method, rule))
    assert opened == OPEN


def test_a_user_s_token_shows_nothing_of_another_user(backend, user, integration, install):
    other = backend.post("/users", {"username": "other"})["userId"]
    install(integration)
    headers = {"x-alloy-user-token": backend.get(f"/users/{other}/token")["token"], "Authorization": ""}
    for method, rule in sorted(OPEN):
        path = rule.replace("<integration>", integration).replace("<workflow>", "Stream new orders")
        body = {"userId": user, "workflowName": "Stream new orders"}
        if method == "PUT":
            status, _ = backend.refusal(method, path, body, headers=headers)
        else:
            status, _ = backend.refusal(method, f"{path}?userId={user}", headers=headers)
        assert status == 404, (method, rule)
    assert backend.get("/integrations", headers=headers)["data"][0]["installed"] is False


def test_a_user_may_be_named_in_whatever_capitals(backend, user, integration):
    address = "/users/{}/integrations/" + integration + "/install-url"
    assert backend.get("/users/ADA@Shop.Example")["userId"] == user
    assert backend.get(address.format("Ada@shop.example"))["linkId"]
    headers = {"x-alloy-user-token": backend.get(f"/users/{user}/token")["token"], "Authorization": ""}
    assert backend.get("/workflows?userId=ADA@shop.example", headers=headers)["data"]

    other = backend.post("/users", {"username": "ADA@shop.example"})["userId"]
    assert backend.get("/users/ADA@shop.example")["userId"] == other
    assert backend.get("/users/ada@shop.example")["userId"] == user
    status, said = backend.refusal("DELETE", "/users/Ada@shop.example")
    assert (status, "Type it exactly as it is written." in said) == (409, True)
    assert len(backend.get("/users")["data"]) == 2


def test_the_other_environment_s_key_sees_nothing(backend, make_backend, calls, user, integration, install, make_link):
    """Whatever a call names, it isn't there; and every list is empty."""
    installation = install(integration)
    link = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    credential = backend.get(f"/users/{user}/credentials")["data"][0]["credentialId"]
    event = backend.get("/events")["data"][0]["eventId"]
    workflow = backend.get("/workflows")["data"][0]["workflowId"]
    named = {
        "user": user,
        "link": link,
        "installation": installation,
        "credential": credential,
        "event": event,
        "workflow": workflow,
        "execution": "0" * 24,
        "integration": integration,
        "app": "magento",
    }
    other = make_backend(Environment.development)
    shared = {"workflow", "integration", "app"}  # what the vendor's engineer applied is one for both
    for method, rule, _ in calls:
        parts = [part.strip("<>") for part in rule.split("/") if part.startswith("<")]
        path = "/".join(named[part.strip("<>")] if part.startswith("<") else part for part in rule.split("/"))
        theirs = set(parts) - shared - {"execution"}
        if theirs:
            body = {"json": {"type": "magento", "data": {}}} if method in ("POST", "PUT") else {}
            answer = other.call(method, path, **body)
            assert answer.status_code == 404, (method, rule, answer.text)
        elif method == "GET" and not parts and rule not in ("/install-url", "/headless/oauthUrl"):
            answer = other.call(method, f"{path}?userId={user}")
            if answer.status_code == 200:
                assert rule in ("/users", "/credentials", "/apps", "/metadata/apps", "/metadata/credentials"), rule
    assert other.get("/users")["data"] == []
    for rule in ("/links", "/installations", "/events"):
        assert other.get(rule)["data"] == []
    users = other.get(f"/workflows/{workflow}/users")
    assert users["data"] == []
    assert all(not one["installed"] for one in other.get("/integrations")["data"])
    for path, body in (
        ("/headless/startInstallation", {"userId": user, "integrationId": integration}),
        ("/headless/credentials", {"userId": user, "credential": {"type": "magento", "data": {}}}),
        ("/links", {"userId": user, "integrationId": integration}),
        ("/run/event", {"userId": user, "event": "x"}),
        ("/run/workflow", {"userId": user, "workflowId": workflow}),
    ):
        assert other.refusal("POST", path, body)[0] == 404, path
    # And nothing of it was touched.
    assert backend.get(f"/installations/{installation}")["data"]["enabled"] is True
    assert backend.get(f"/links/{link}")["data"]["state"] == "created"


def test_a_token_of_the_other_environment_is_of_no_use(backend, user):
    keys = backend.app.extensions["keys"].link_keys
    token = write_user_token(keys, user, Environment.development)
    assert _status(backend, "GET", "/workflows", {"x-alloy-user-token": token}) == 401


def test_a_token_dies_with_its_user_and_after_its_hour(backend, user, monkeypatch):
    token = backend.get(f"/users/{user}/token")["token"]
    headers = {"x-alloy-user-token": token}
    assert _status(backend, "GET", "/workflows", headers) == 200
    import itsdangerous.timed

    real = itsdangerous.timed.time.time
    monkeypatch.setattr(itsdangerous.timed.time, "time", lambda: real() + 3602)
    assert _status(backend, "GET", "/workflows", headers) == 401
    monkeypatch.undo()
    backend.delete(f"/users/{user}")
    assert _status(backend, "GET", "/workflows", headers) == 401


def test_unauthorized_is_said_as_the_clients_know_it(backend):
    answer = backend.app.test_client().get("/users")
    assert (answer.status_code, answer.json) == (401, {"message": "Unauthorized"})


def test_when_a_key_was_used_last_is_kept(backend, app):
    backend.get("/users")
    with app.app_context(), transaction() as session:
        assert find_api_key(session, backend.key[:18]).last_used_at is not None


def test_browsers_may_ask_for_what_is_open_to_users_and_for_nothing_else(backend, calls):
    client = backend.app.test_client()
    for method, rule, path in calls:
        answer = client.open(
            path,
            method="OPTIONS",
            headers={
                "Origin": "https://vendor.example",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type,x-alloy-user-token",
            },
        )
        allowed = answer.headers.get("Access-Control-Allow-Methods", "").split(", ")
        assert answer.status_code == 204
        if (method, rule) in OPEN:
            assert method in allowed
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert answer.headers["Access-Control-Allow-Headers"] == "content-type, x-alloy-user-token"
        else:
            assert method not in allowed, (method, rule)
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_browser_can_read_why_it_was_refused(backend):
    answer = backend.app.test_client().get("/workflows", headers={"x-alloy-user-token": "old"})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, "*")
