"""The two Python clients, alloy-python 1.0.0 and alloy-python-sdk-ai 0.0.1, unmodified."""

from __future__ import annotations

import re


def test_alloy_python_manages_users_links_workflows_and_credentials(python_client, vendor):
    user = vendor.user("py@shop.example")
    integration = vendor.integration
    workflow = integration["workflows"][0]["workflowId"]
    credential = {"type": "magento", "data": {"store_url": vendor.portal.shop, "access_token": vendor.portal.token}}
    vendor.install(user)
    told = python_client(
        f"""
from alloy_python import Embedded
alloy = Embedded(key)
parts = (alloy.User, alloy.Integration, alloy.Tokens, alloy.Workflows, alloy.Events, alloy.Logs, alloy.Credentials,
         alloy.Link, alloy.Compliance, alloy.Analytics)
for part in parts:
    part.set_user_id({user!r})
made = alloy.Credentials.create({credential!r})
result = dict(
    user=alloy.User.get_user(), users=alloy.User.list_users(), new=alloy.User.create_user({{"username": "py2"}}),
    batch=alloy.User.create_batch_users({{"users": [{{"username": "py3"}}, {{"username": "py3"}}]}}),
    changed=alloy.User.update_user({{"fullName": "Py"}}), apps=alloy.App.get_apps(),
    integrations=alloy.Integration.list_integrations(), one=alloy.Integration.get_integration("magento"),
    token=alloy.Tokens.get(), workflows=alloy.Workflows.list(), flow=alloy.Workflows.get({workflow!r}),
    versions=alloy.Workflows.list_versions({workflow!r}), off=alloy.Workflows.deactivate({workflow!r}),
    on=alloy.Workflows.activate({workflow!r}), upgraded=alloy.Workflows.upgrade({workflow!r}),
    link=alloy.Link.generate({integration["integrationId"]!r}), events=alloy.Events.list(),
    logs=alloy.Logs.get_workflow_logs({workflow!r}), errors=alloy.Logs.get_workflow_errors({workflow!r}),
    counts=alloy.Analytics.get({workflow!r}), mine=alloy.Credentials.list_user_credentials(),
    types=alloy.Credentials.get_metadata(), oauth=alloy.Credentials.generate_oauth_link("magento", "x"),
    gone=alloy.Credentials.delete(made["credentialId"]), erased=alloy.Compliance.delete_user_logs(),
    stopped=alloy.Workflows.deactivate_all(), removed=alloy.Workflows.delete({workflow!r}),
    deleted=alloy.User.delete_user(),
)
"""
    )
    assert told["user"]["username"] == "py@shop.example"
    assert told["user"] in told["users"]["data"]
    assert told["batch"] == {"message": "success", "invalidUsers": [{"username": "py3"}]}
    assert told["changed"]["fullName"] == "Py"
    assert told["one"]["data"]["installed"] is True
    assert (told["off"], told["on"], told["upgraded"]) == (
        {"activated": False},
        {"activated": True},
        {"upgraded": True},
    )
    assert re.match(r"http.*/embedded-install\?integrationId=", told["link"]["url"])
    assert told["events"]["data"][0]["name"] == "installation.finished"
    assert told["logs"] == told["errors"] == {"data": []}
    assert {one["type"] for one in told["mine"]["data"]} == {"magento"}
    assert told["oauth"]["oauthUrl"] == told["oauth"]["data"]["oauthUrl"]
    assert (told["removed"], told["deleted"]) == ({"deleted": True}, {"success": True})


def test_the_generated_sdk_reads_every_answer_into_its_own_types(python_client, vendor):
    user = vendor.user("sdk@shop.example")
    vendor.install(user)
    integration = vendor.integration
    workflow = integration["workflows"][0]["workflowId"]
    told = python_client(
        f"""
import alloypythonsdk
from alloypythonsdk.models import operations as o
sdk = alloypythonsdk.AlloyPythonSDK("Bearer " + key)
user, workflow, integration = {user!r}, {workflow!r}, {integration["integrationId"]!r}
result = dict(
    users=[u.username for u in sdk.list_all_users().object.data],
    made=sdk.create_a_user(o.CreateAUserRequestBody(username="sdk2")).object.user_id,
    link=sdk.generate_alloy_link(user, integration).object.url,
    token=sdk.generate_jwt_token(user).object.token,
    integrations=[i.integration_id for i in sdk.list_integrations(user).object.data],
    workflows=[w.workflow_id for w in sdk.list_workflows(user, "magento").object.data],
    flow=sdk.find_a_workflow(user, workflow).object.data.installed,
    types=[t.name for t in sdk.get_credential_metadata().object.data],
    mine=[c.type for c in sdk.list_user_credentials(user).object.data],
    off=sdk.deactivate_a_workflow(
        o.DeactivateAWorkflowRequestBody(user_id=user, workflow_id=workflow)).object.activated,
    on=sdk.activate_a_workflow(o.ActivateAWorkflowRequestBody(user_id=user, workflow_id=workflow)).object.activated,
    upgraded=sdk.upgrade_workflow(workflow, user).object.upgraded,
    oauth=sdk.generate_oauth_link(user, "magento").object.oauth_url,
    counts=sdk.get_workflow_analytics(workflow).object.total_errors,
    who=sdk.list_users_by_workflowid(workflow).http_meta.response.status_code,
    started=sdk.start_installation(o.StartInstallationRequestBody(user_id=user, integration_id=integration))
    .object.installation_id,
)
result["completed"] = sdk.complete_installation(
    o.CompleteInstallationRequestBody(installation_id=result["started"], data=[])
).object.message
result["deleted"] = sdk.delete_a_user(user).object.success
"""
    )
    assert "sdk@shop.example" in told["users"]
    assert told["integrations"] == [integration["integrationId"]]
    assert told["workflows"] == [workflow]
    assert (told["flow"], told["off"], told["on"], told["upgraded"]) == (True, False, True, True)
    assert told["mine"] == ["magento"]
    assert "magento" in told["types"]
    assert told["completed"] == "Installation completed successfully"
    assert told["deleted"] is True
    assert (told["counts"], told["who"]) == (0, 200)
