"""Every Embedded method of alloy-node 2.2.1, unmodified: nothing changes for it but the host."""

from __future__ import annotations

import re

import pytest

from tests.clients.conftest import Thrown
from tests.stage import wait_until

ID = re.compile("[0-9a-f]{24}")
NAME = "Stream new orders"


def test_users_are_made_identified_listed_changed_and_deleted(alloy_node):
    made, _, one, listed, changed, again, deleted, gone = alloy_node(
        ["createUser", {"username": "node@shop.example", "fullName": "Ada Buyer"}],
        ["identify", "node@shop.example"],
        ["getUser", "node@shop.example"],
        ["getUsers"],
        ["updateUser", {"fullName": "Ada Lovelace"}],
        ["getUser", "node@shop.example"],
        ["deleteUser"],
        ["getUser", "node@shop.example"],
    )
    assert ID.fullmatch(made["userId"])
    assert one == {"userId": made["userId"], "username": "node@shop.example", "fullName": "Ada Buyer"}
    assert one in listed["data"]
    assert changed["fullName"] == again["fullName"] == "Ada Lovelace"
    assert deleted == {"success": True}
    assert gone == Thrown("There is no user “node@shop.example”. Check the spelling, or make the user first.")


def test_a_link_is_generated_and_opens(alloy_node, vendor):
    vendor.user("linked")
    _, link = alloy_node(["identify", "linked"], ["generateLink", vendor.integration["integrationId"]])
    assert re.fullmatch(
        rf"{vendor.portal.base}/embedded-install\?integrationId=[0-9a-f]{{24}}&token=[\w-]+\.[\w-]+\.[\w-]+"
        "&forgeMode=engaged&alwaysShowCredentials=true",
        link["url"],
    )
    import requests

    assert "Connect Magento" in requests.get(link["url"], timeout=20).text


def test_a_user_s_token_is_given(alloy_node, vendor):
    vendor.user("tokened")
    _, given = alloy_node(["identify", "tokened"], ["getUserToken"])
    assert set(given) == {"token"}


def test_integrations_and_workflows_are_told_as_the_user_has_them(alloy_node, vendor):
    user = vendor.user("workflows")
    integration = vendor.integration
    workflow = integration["workflows"][0]["workflowId"]
    _, before, _ = alloy_node(["identify", "workflows"], ["getIntegrations"], ["getApps"])
    assert before["data"][0]["installed"] is False
    vendor.install(user)
    _, integrations, one, by_app, workflows, flow, versions, details = alloy_node(
        ["identify", "workflows"],
        ["getIntegrations"],
        ["getIntegration", integration["integrationId"]],
        ["getIntegration", "magento"],
        ["getWorkflows"],
        ["getWorkflow", workflow],
        ["getVersions", workflow],
        ["getWorkflowDetails", workflow],
    )
    told = integrations["data"][0]
    assert told == one["data"] == by_app["data"]
    assert (told["app"], told["installed"], told["icon"].endswith("/icons/magento.svg")) == ("magento", True, True)
    assert {"workflowId", "name", "installed", "active", "version", "installedVersion", "blocks"} == set(
        told["workflows"][0]
    )
    assert [(b["type"], set(b)) for b in told["workflows"][0]["blocks"]] == [
        ("trigger", {"name", "id", "type", "icon"}),
        ("action", {"name", "id", "type", "icon"}),
    ]
    assert flow["data"] in workflows["data"]
    assert flow["data"]["integrationId"] == integration["integrationId"]
    assert [(v["versionName"], v["status"]) for v in versions["data"]] == [("Version 1", "active")]
    assert details["data"] == [
        {
            "username": "workflows",
            "fullName": None,
            "userId": user,
            "workflowActive": True,
            "installedVersion": 1,
            "installedAt": details["data"][0]["installedAt"],
        }
    ]


def test_workflows_are_stopped_started_and_deleted(alloy_node, vendor):
    vendor.install(vendor.user("switch"))
    workflow = vendor.integration["workflows"][0]["workflowId"]
    _, off, on, by_name, all_off, flow, deleted, gone = alloy_node(
        ["identify", "switch"],
        ["deactivate", {"workflowId": workflow}],
        ["reactivate", {"workflowId": workflow}],
        ["deactivate", {"workflowName": NAME}],
        ["disableAllWorkflows"],
        ["getWorkflow", workflow],
        ["deleteWorkflow", workflow],
        ["reactivate", {"workflowId": workflow}],
    )
    assert (off, on, by_name) == ({"activated": False}, {"activated": True}, {"activated": False})
    assert all_off == {"message": "Success"}
    assert (flow["data"]["installed"], flow["data"]["active"]) == (True, False)
    assert deleted == {"deleted": True}
    assert gone == Thrown("switch has not installed “Stream new orders”: send them an install link first.")


def test_what_apps_and_credentials_are_made_of_is_told(alloy_node):
    apps, magento, unknown = alloy_node(["getApps"], ["getCredential", "magento"], ["getCredential", "nothing"])
    assert {"name": "magento", "type": ["action", "trigger"]}.items() <= {
        **next(app for app in apps["data"] if app["name"] == "magento")
    }.items()
    assert magento["data"][0]["isOauth"] is False
    assert [p["name"] for p in magento["data"][0]["properties"]] == ["store_url", "access_token"]
    assert unknown == Thrown("There is no app “nothing”. GET /apps names them.")


def test_a_page_to_connect_an_app_is_given_where_the_client_asks_for_an_oauth_redirect(alloy_node, vendor):
    vendor.user("oauth")
    _, given = alloy_node(["identify", "oauth"], ["getUserOauthRedirect", {"credentialName": "magento"}])
    assert given["oauthUrl"] == given["data"]["oauthUrl"]
    assert given["oauthUrl"].startswith(f"{vendor.portal.base}/embedded-install?")


def test_runs_are_started_listed_counted_and_run_again(alloy_node, vendor):
    user = vendor.user("runs")
    vendor.install(user)
    workflow = vendor.integration["workflows"][0]["workflowId"]
    before = vendor.call("GET", f"/workflows/{workflow}/analytics")
    _, by_id, by_name, event = alloy_node(
        ["identify", "runs"],
        ["run", workflow, {"order": 1}],
        ["run", NAME, {"order": 2}],
        ["event", "order.created", {"order": 3}],
    )
    assert by_id == by_name == {"message": "success"}
    assert event == {"message": "Event successfully triggered"}

    def logs(count):
        wait_until(lambda: all_finished(count))
        return vendor.call("GET", f"/workflows/{workflow}/logs?userId={user}&order=asc")["data"]

    def all_finished(count):
        data = vendor.call("GET", f"/workflows/{workflow}/logs?userId={user}")["data"]
        return len(data) == count and all(run["finished"] for run in data)

    first, _ = logs(2)
    assert first["results"][0]["data"][0][0]["json"]["status"] == 204
    # What this version of the client has no method for is called as the next one does it.
    form = {"data": {}, "params": {"userId": user}}
    again = vendor.call("POST", f"/workflows/{workflow}/rerun/{first['executionId']}", **form)
    assert again["message"] == "success"
    assert ID.fullmatch(again["executionUuid"])
    logs(3)
    errors = vendor.call("GET", f"/workflows/{workflow}/errors?userId={user}")
    _, listed, analytics, deleted, gone = alloy_node(
        ["identify", "runs"],
        ["getLogs", workflow],
        ["getAnalytics", workflow],
        ["deleteLogs"],
        ["getLogs", workflow],
    )
    assert {run["executionId"] for run in listed["data"]} >= {first["executionId"], again["executionUuid"]}
    assert errors == {"data": []}
    assert analytics["totalWorkflowRuns"] - before["totalWorkflowRuns"] == 3
    assert analytics["totalAppActions"] - before["totalAppActions"] == 3
    assert analytics["totalErrors"] == before["totalErrors"]
    assert deleted == {"message": "Success"}
    assert first["executionId"] not in str(gone)
    assert vendor.call("GET", f"/workflows/{workflow}/logs?userId={user}")["data"] == []


def test_a_copy_that_is_stopped_runs_nothing_and_an_upgrade_is_no_matter(alloy_node, vendor):
    vendor.install(vendor.user("stopped"))
    workflow = vendor.integration["workflows"][0]["workflowId"]
    upgraded = vendor.call("PUT", f"/workflows/{workflow}/upgrade?userId=stopped", data={})
    _, _, refused = alloy_node(["identify", "stopped"], ["deactivate", {"workflowId": workflow}], ["run", workflow, {}])
    assert upgraded == {"upgraded": True}
    assert refused == Thrown("The user’s copy of “Stream new orders” is not active: activate it first, then run it.")


@pytest.mark.parametrize(
    "call",
    [
        ["listCustomers", {"userId": "u", "credentialId": "c"}],
        ["createOrder", {"credentialId": "c"}],
        ["deleteSubscription", {"subscriptionId": "s", "credentialId": "c"}],
    ],
)
def test_the_unified_api_is_another_product_and_says_so(alloy_node, call):
    assert "isn’t part of this portal" in alloy_node(call)[0].message


def test_a_wrong_key_is_thrown_as_the_client_knows_it(alloy_node, vendor, monkeypatch):
    monkeypatch.setattr(vendor, "key", "wrong")
    assert alloy_node(["getUsers"])[0] == Thrown("Unauthorized")
