"""alloy-frontend 2.1.1, unmodified, in Chromium, on a page of another origin."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect


def opened(vendor_page, user, call):
    vendor_page.run(user, call)
    return vendor_page.frame


def gone(vendor_page):
    expect(vendor_page.page.locator("iframe")).to_have_count(0)


@pytest.fixture
def install(vendor):
    """The call that installs the demo's integration, with more options."""

    def call(method="install", **options):
        given = json.dumps({"integrationId": vendor.integration["integrationId"], **options})
        return f"alloy.{method}({{...{given}, callback: note}})"

    return call


def workflow_of(vendor, user):
    return vendor.call("GET", f"/workflows?userId={user}")["data"][0]


def test_installing_in_the_modal_calls_back_and_closes(vendor, vendor_page, install):
    user = vendor.user("modal install")
    frame = opened(vendor_page, user, install())
    expect(frame.get_by_role("heading", name="Connect Magento")).to_be_visible()
    vendor_page.connect().frame.get_by_role("button", name="Finish Installation").click()
    gone(vendor_page)
    assert vendor_page.noted == [{"success": True}]
    assert workflow_of(vendor, user)["active"] is True
    assert vendor.call("GET", "/links")["data"] == [] or all(
        one["userId"] != user for one in vendor.call("GET", "/links")["data"]
    )


def test_a_wrong_token_is_explained_in_the_modal_and_can_be_mended(vendor, vendor_page, install):
    frame = opened(vendor_page, vendor.user("modal wrong"), install())
    frame.get_by_label("Store URL").fill(vendor.portal.shop)
    frame.get_by_label("Access token").fill("not-the-token")
    frame.get_by_role("button", name="Finish Installation").click()
    expect(frame.locator(".error").first).to_be_visible()
    assert vendor_page.noted == []
    vendor_page.connect().frame.get_by_role("button", name="Finish Installation").click()
    gone(vendor_page)
    assert vendor_page.noted == [{"success": True}]


def test_workflows_may_be_named_instead_of_an_integration(vendor, vendor_page):
    user = vendor.user("modal workflows")
    workflow = vendor.integration["workflows"][0]["workflowId"]
    opened(vendor_page, user, f'alloy.install({{workflowIds: ["{workflow}"], callback: note}})')
    vendor_page.connect().frame.get_by_role("button", name="Finish Installation").click()
    gone(vendor_page)
    assert workflow_of(vendor, user)["installed"] is True


def test_a_hidden_modal_installs_silently_when_nothing_is_to_be_asked(vendor, vendor_page, install):
    user = vendor.user("modal hidden")
    vendor.connect(user)
    vendor_page.run(user, install(hide=True))
    expect(vendor_page.page.locator("iframe")).to_be_hidden()
    gone(vendor_page)
    assert vendor_page.noted == [{"success": True}]
    assert workflow_of(vendor, user)["active"] is True


def test_a_hidden_modal_shows_itself_when_something_is_to_be_asked(vendor, vendor_page, install):
    frame = opened(vendor_page, vendor.user("modal shown"), install(hide=True))
    expect(frame.get_by_role("heading", name="Connect Magento")).to_be_visible()
    vendor_page.connect().frame.get_by_role("button", name="Finish Installation").click()
    gone(vendor_page)
    assert vendor_page.noted == [{"success": True}]


def test_a_title_of_the_vendor_s_own_stands_at_the_top(vendor, vendor_page, install):
    frame = opened(vendor_page, vendor.user("modal title"), install(title="Connect <your> store & more"))
    # The client doesn't encode what it puts into the address: what follows the & is lost on the way.
    expect(frame.get_by_role("heading", level=1)).to_have_text("Connect <your> store ")


def test_always_show_authentication_offers_what_is_there_and_asks_anew(vendor, vendor_page, install):
    user = vendor.user("modal always")
    vendor.connect(user)
    frame = opened(vendor_page, user, install(alwaysShowAuthentication=True))
    expect(frame.get_by_text("Which account should be used?")).to_be_visible()
    expect(frame.get_by_label("Store URL")).to_be_visible()


@pytest.mark.parametrize("method", ["edit", "update"])
def test_editing_and_updating_keep_the_installation(vendor, vendor_page, install, method):
    user = vendor.user(f"modal {method}")
    vendor.install(user)
    before = vendor.call("GET", f"/installations?userId={user}")["data"]
    frame = opened(vendor_page, user, install(method))
    frame.get_by_role("radio").first.check()
    frame.get_by_role("button", name="Finish Installation").click()
    gone(vendor_page)
    assert vendor_page.noted == [{"success": True}]
    after = vendor.call("GET", f"/installations?userId={user}")["data"]
    assert [one["installationId"] for one in after] == [one["installationId"] for one in before]
    assert workflow_of(vendor, user)["active"] is True


def test_an_app_is_authenticated_without_installing_anything(vendor, vendor_page):
    user = vendor.user("modal authenticate")
    frame = opened(vendor_page, user, 'alloy.authenticate({app: "magento", callback: note})')
    expect(frame.get_by_role("heading", name="Connect Magento")).to_be_visible()
    vendor_page.connect().frame.get_by_role("button", name="Connect", exact=True).click()
    gone(vendor_page)
    credential = vendor.call("GET", f"/users/{user}/credentials")["data"][0]["credentialId"]
    assert vendor_page.noted == [{"success": True, "connectionId": credential, "credentialId": credential}]
    assert workflow_of(vendor, user)["installed"] is False


def test_closing_the_authentication_is_a_failure(vendor, vendor_page):
    frame = opened(vendor_page, vendor.user("modal closed"), 'alloy.authenticate({app: "magento", callback: note})')
    frame.get_by_role("button", name="Close").click()
    gone(vendor_page)
    assert vendor_page.noted == [{"success": False}]


@pytest.mark.parametrize("way", ["mask", "button", "escape"])
def test_closing_the_modal_calls_back_without_success(vendor, vendor_page, install, way):
    user = vendor.user(f"modal {way}")
    frame = opened(vendor_page, user, install())
    expect(frame.get_by_role("button", name="Close")).to_be_visible()  # the script is there
    match way:
        case "mask":
            vendor_page.page.mouse.click(5, 5)
        case "button":
            frame.get_by_role("button", name="Close").click()
        case _:
            frame.get_by_label("Store URL").focus()
            vendor_page.page.keyboard.press("Escape")  # at the page: the field is gone with the key's release
    gone(vendor_page)
    assert vendor_page.noted == [{"success": False}]
    assert workflow_of(vendor, user)["installed"] is False


def test_workflows_are_stopped_started_and_listed_from_the_browser(vendor, vendor_page):
    user = vendor.user("modal fetch")
    vendor.install(user)
    workflow = workflow_of(vendor, user)["workflowId"]
    assert vendor_page.run(user, f'alloy.deactivate({{workflowId: "{workflow}"}})') == {"activated": False}
    assert vendor_page.run(user, "alloy.getWorkflows()")["data"][0]["active"] is False
    assert vendor_page.run(user, f'alloy.reactivate({{workflowId: "{workflow}"}})') == {"activated": True}
    assert vendor_page.run(user, "alloy.getIntegrations()")["data"][0]["workflows"][0]["active"] is True


def test_a_modal_without_a_valid_token_says_what_to_do(vendor, vendor_page, install):
    call = install()
    vendor_page.page.evaluate(f"() => {{ window.alloy = Alloy(); alloy.setToken('nonsense'); {call} }}")
    expect(vendor_page.frame.get_by_role("heading", name="This window can’t be shown")).to_be_visible()
    vendor_page.frame.get_by_role("button", name="Close").click()
    gone(vendor_page)
