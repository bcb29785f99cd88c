"""Credentials and what is installed with them: asked for, started, stopped, upgraded, taken away."""

from __future__ import annotations

import sqlalchemy as sa

from portal.db import transaction
from tests.backend import WITH_FIELDS, data

OTHER = "name: Other\napps: [magento]\nworkflows: [{{name: {}, description: d, trigger: {{manual: true}}}}]"


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


def test_a_workflow_whose_name_several_have_is_to_be_named_by_id(backend, user, integration, apply):
    apply(OTHER.format("Stream new orders"))
    status, message = backend.refusal(
        "PUT", "/workflows/deactivate", {"userId": user, "workflowName": "Stream new orders"}
    )
    assert status == 409
    assert message == "Several workflows are called “Stream new orders”: name one by its id. GET /workflows lists them."


def test_an_app_of_several_integrations_has_to_be_named_by_id(backend, integration, apply):
    apply(OTHER.format("w"))
    assert backend.refusal("GET", "/integrations/magento")[0] == 409
    assert backend.get(f"/integrations/{integration}")["data"]["integrationId"] == integration
