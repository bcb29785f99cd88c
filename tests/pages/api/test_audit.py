"""What changes something over the API is in the audit log, with the key's name; what only reads is not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal.audit.models import AuditEntry
from portal.db import transaction

# Which calls write what down. A call that changes something and isn't here fails the test below.
WRITES = {
    ("POST", "/users"): "user.create",
    ("POST", "/users/batch"): "user.create",
    ("PUT", "/users/<user>"): "user.change",
    ("DELETE", "/users/<user>"): "user.delete",
    ("DELETE", "/users/<user>/logs"): "user.delete_logs",
    ("PUT", "/users/<user>/deactivate-workflows"): "user.deactivate_workflows",
    ("GET", "/users/<user>/integrations/<integration>/install-url"): "link.create",
    ("POST", "/links"): "link.create",
    ("POST", "/links/<link>/revoke"): "link.revoke",
    ("POST", "/headless/credentials"): "credential.create",
    ("POST", "/users/<user>/credentials"): "credential.create",
    ("DELETE", "/users/<user>/credentials/<credential>"): "credential.delete",
    ("GET", "/headless/oauthUrl"): "link.create",
    ("POST", "/headless/startInstallation"): "installation.start",
    ("POST", "/headless/completeInstallation"): "installation.complete",
    ("PUT", "/installations/<installation>/activate"): "installation.activate",
    ("PUT", "/installations/<installation>/deactivate"): "installation.deactivate",
    ("PUT", "/installations/<installation>/upgrade"): "installation.upgrade",
    ("DELETE", "/installations/<installation>"): "installation.remove",
    ("PUT", "/workflows/activate"): "workflow.activate",
    ("PUT", "/workflows/deactivate"): "workflow.deactivate",
    ("PUT", "/workflows/<workflow>/upgrade"): "workflow.upgrade",
    ("DELETE", "/workflows/<workflow>"): "workflow.remove",
    ("POST", "/events/<event>/redeliver"): "event.redeliver",
}
# Runs are told of in their own log.
RUNS = {("POST", "/run/workflow"), ("POST", "/run/event"), ("POST", "/workflows/<workflow>/rerun/<execution>")}
RESOURCES = {"users", "links", "workflows", "installations", "credentials", "apps", "runs", "events"}


@pytest.fixture
def log(app):
    """The whole log: who, what, to what."""

    def read():
        with app.app_context(), transaction() as session:
            rows = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id)).all()
            return [(row.actor, row.action, row.subject) for row in rows]

    return read


def test_every_call_that_changes_something_has_its_line(app):
    changing = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.split(".")[0] in RESOURCES
        for method in rule.methods & {"POST", "PUT", "DELETE", "PATCH"}
    }
    assert {call for call in WRITES if call[0] != "GET"} == changing - RUNS


def test_a_life_s_worth_of_calls_is_written_down_with_the_name_of_the_key(
    backend, log, user, integration, shop, shop_credential
):
    backend.post("/users/batch", {"users": [{"username": "a"}, {"username": "b"}, {"username": ""}]})
    backend.put(f"/users/{user}", {"fullName": "Ada B."})
    backend.get(f"/users/{user}/integrations/{integration}/install-url")
    made = backend.post("/links", {"userId": user, "integrationId": integration})
    backend.post(f"/links/{made['linkId']}/revoke")
    shop_credential()
    data = {"type": "magento", "data": {"store_url": shop.url, "access_token": shop.token}}
    spare = backend.post(f"/users/{user}/credentials", data)["credentialId"]
    backend.delete(f"/users/{user}/credentials/{spare}")
    backend.get("/headless/oauthUrl", query_string={"userId": user, "app": "magento"})

    def install():
        started = backend.post("/headless/startInstallation", {"userId": user, "integrationId": integration})
        backend.post("/headless/completeInstallation", {"installationId": started["installationId"], "data": []})

    install()
    one = backend.get("/installations")["data"][0]
    which = {"userId": user, "workflowId": one["workflowIds"][0]}
    backend.put("/workflows/deactivate", which)
    backend.put("/workflows/activate", which)
    backend.put(f"/workflows/{which['workflowId']}/upgrade", query_string={"userId": user})
    for deed in ("deactivate", "activate", "upgrade"):
        backend.put(f"/installations/{one['installationId']}/{deed}")
    backend.post(f"/events/{backend.get('/events')['data'][0]['eventId']}/redeliver")
    backend.delete(f"/workflows/{which['workflowId']}?userId={user}")
    install()
    backend.delete(f"/installations/{backend.get('/installations')['data'][0]['installationId']}")
    backend.delete(f"/users/{user}/logs")
    backend.put(f"/users/{user}/deactivate-workflows")
    backend.delete(f"/users/{user}")
    assert {action for _, action, _ in log()} == set(WRITES.values())
    (actor,) = {actor for actor, _, _ in log()}
    assert actor == f"test backend ({backend.key[:18]})"
    assert backend.key not in str(log())
    assert shop.token not in str(log())
    assert (actor, "user.create", "2 users at once") in log()
    assert (actor, "user.delete", "ada@shop.example") in log()


def test_what_only_reads_or_is_refused_leaves_no_entry(backend, log, user, integration):
    before = log()
    backend.get("/users")
    backend.get(f"/users/{user}")
    backend.get("/links")
    backend.refusal("POST", "/users", {"username": "ada@shop.example"})
    backend.refusal("DELETE", "/users/nobody")
    backend.refusal("POST", "/links", {"userId": user, "integrationId": "nothing"})
    assert log() == before


def test_a_call_that_is_repeated_is_written_down_once(backend, log):
    for _ in range(2):
        backend.post("/users", {"username": "twice"}, headers={"Idempotency-Key": "k"})
    assert [subject for _, _, subject in log()] == ["twice"]


def test_a_browser_with_a_user_token_is_written_down_as_that_user(backend, log, app, user, integration, install):
    install(integration)
    token = backend.get(f"/users/{user}/token")["token"]
    workflow = backend.get("/installations")["data"][0]["workflowIds"][0]
    answer = app.test_client().put(
        "/workflows/deactivate", json={"workflowId": workflow}, headers={"x-alloy-user-token": token}
    )
    assert answer.status_code == 200
    assert log()[-1][:2] == ("user ada@shop.example", "workflow.deactivate")
