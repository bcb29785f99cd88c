"""The window of the vendor's own page: the same page, opened with a user token; and the settings that it asks for."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.credentials.models import Credential
from portal.db import transaction
from portal.environments import Environment
from portal.links.durable import forget_unused_windows
from portal.links.models import Link, LinkOrigin
from portal.web.limits import Limiter
from portal.workflows.models import ChildWorkflow
from tests.backend import WITH_FIELDS
from tests.install_page import InstallPage, View, assert_page_holds_its_promises
from tests.stage import Made, answer


class Modal(InstallPage):
    """The window as it was opened."""

    view: View


@pytest.fixture
def modal(backend, user, app):
    """Open `/forge-install` (or another path) with the user's token."""

    def open_modal(path="/forge-install", *, token=None, status=200, **query):
        token = token or backend.get(f"/users/{user}/token")["token"]
        pairs = [(k, v) for k, vs in query.items() for v in (vs if isinstance(vs, list) else [vs])]
        # The published client encodes nothing; browsers encode what they must.
        asked = urlencode([*pairs, ("token", token), ("forgeMode", "engaged")])
        view = View(app.test_client().get(f"{path}?{asked}"))
        assert view.status == status, view.text
        assert_page_holds_its_promises(view)
        hidden = {name: facts["value"] for name, facts in view.inputs.items() if facts.get("type") == "hidden"}
        made = Made("", "", user)
        made.query = {name: value for name, value in hidden.items() if name != "press"}
        page = Modal(app, made, press=hidden.get("press", ""))
        page.view = view
        return page

    return open_modal


def facts_of(view):
    return next(facts for tag, facts in view.dom.tags if facts.get("id") == "content")


def told(view):
    return json.loads(facts_of(view)["data-tell"]) if "data-tell" in facts_of(view) else None


def is_silent(view):
    return any("data-silent" in facts for tag, facts in view.dom.tags if tag == "form")


def rows(app, model):
    with app.app_context(), transaction() as session:
        return list(session.scalars(sa.select(model)))


def test_a_token_opens_the_same_page_and_finishing_tells_the_embedding_page(modal, integration, shop, app, backend):
    page = modal(integrationId=integration)
    assert page.view.heading == "Connect Magento"
    assert "This window works once" in page.view.text
    assert told(page.view) is None
    done = page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()
    workflow = backend.get("/workflows")["data"][0]["workflowId"]
    assert done.heading == "Magento is connected"
    assert told(done) == {"workflowCreated": True, "workflowIds": [workflow]}
    assert json.loads(facts_of(done)["data-closing"]) == {"closeModal": True}
    (link,) = rows(app, Link)
    assert link.origin is LinkOrigin.modal
    assert link.expires_at - link.created_at <= timedelta(hours=1)
    assert page.finish().status == 200  # the same press, sent twice
    assert len(backend.get("/installations")["data"]) == 1


def test_the_token_of_the_user_is_nowhere_on_the_page(modal, integration, backend, user):
    token = backend.get(f"/users/{user}/token")["token"]
    assert token not in modal(integrationId=integration, token=token).view.html


@pytest.mark.parametrize("path", ["/forge-install", "/authenticate-app"])
def test_a_token_that_is_none_opens_nothing(modal, integration, path, make_link, backend):
    for token in ("x", make_link().query["token"], backend.key, "é"):
        page = modal(path, token=token, status=404, integrationId=integration, app="magento")
        assert page.view.heading == "This window can’t be shown"
        assert "reload the page" in page.view.text


def test_a_token_whose_hour_is_over_says_so(modal, integration, monkeypatch, backend, user):
    import itsdangerous.timed

    token = backend.get(f"/users/{user}/token")["token"]
    real = itsdangerous.timed.time.time
    monkeypatch.setattr(itsdangerous.timed.time, "time", lambda: real() + 3602)
    page = modal(token=token, status=410, integrationId=integration, hide="true")
    assert page.view.heading == "This window was open for too long"
    assert told(page.view) == {"showModal": True}


def test_a_deleted_user_s_token_opens_nothing(modal, integration, backend, user):
    token = backend.get(f"/users/{user}/token")["token"]
    backend.delete(f"/users/{user}")
    modal(token=token, status=404, integrationId=integration)


def test_what_is_to_be_installed_may_be_named_by_its_workflows(modal, asking, integration, backend):
    ids = [workflow.id for workflow in asking.workflows]
    page = modal(id=ids[1])
    assert "Count them." in page.view.text
    assert "Book each order." not in page.view.text
    other = backend.get(f"/integrations/{integration}")["data"]["workflows"][0]["workflowId"]
    assert "must name an integration" in modal(id=[ids[0], other], status=400).view.text
    assert "must name an integration" in modal(status=400).view.text
    modal(id="0" * 24, status=404)
    modal(integrationId="0" * 24, status=404)


def test_a_hidden_window_is_silent_only_when_nothing_is_to_be_asked(modal, integration, shop_credential):
    page = modal(integrationId=integration, hide="true")
    assert told(page.view) == {"showModal": True}
    assert not is_silent(page.view)
    shop_credential()
    page = modal(integrationId=integration, hide="true")
    assert told(page.view) is None
    assert is_silent(page.view)
    assert told(page.finish())["workflowCreated"] is True


def test_a_hidden_window_shows_itself_when_what_was_connected_fails(modal, integration, backend, user, provider, app):
    data = {"store_url": provider.url, "access_token": "t"}
    backend.post("/headless/credentials", {"userId": user, "credential": {"type": "magento", "data": data}})
    assert is_silent(modal(integrationId=integration, hide="true").view)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Credential).values(tested_at=now() - timedelta(hours=1)))
    provider.behave = answer(401)
    page = modal(integrationId=integration, hide="true")
    assert not is_silent(page.view)
    assert told(page.view) == {"showModal": True}
    assert "did not accept" in page.view.text


def test_a_hidden_window_that_is_to_show_authentication_shows_itself(modal, integration, shop_credential):
    shop_credential()
    page = modal(integrationId=integration, hide="true", alwaysShowAuthentication="true")
    assert told(page.view) == {"showModal": True}
    assert not is_silent(page.view)


def test_the_title_is_shown_as_text(modal, integration):
    page = modal(integrationId=integration, title='<b>Hi</b>"' + "x" * 200)
    assert page.view.heading.startswith('<b>Hi</b>"xxx')
    assert len(page.view.heading) == 120
    assert "<b>Hi" not in page.view.html


def test_a_window_for_one_app_keeps_a_credential_and_installs_nothing(modal, shop, backend, user):
    page = modal("/authenticate-app", app="magento")
    assert json.loads(facts_of(page.view)["data-closing"]) == {"closeModal": True, "connectionStatus": "failed"}
    assert "What will be installed" not in page.view.text
    done = page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()
    (credential,) = backend.get(f"/users/{user}/credentials")["data"]
    assert told(done) == {"credentialId": credential["credentialId"], "connectionId": credential["credentialId"]}
    assert json.loads(facts_of(done)["data-closing"]) == {"closeModal": True}
    assert backend.get("/installations")["data"] == []
    assert backend.get("/events")["data"] == []


def test_a_window_for_one_app_takes_the_app_of_the_integration(modal, asking):
    assert modal("/authenticate-app", integrationId=asking.id).view.heading == "Connect Sandbox shop"
    modal("/authenticate-app", app="nothing", status=400)


def test_settings_are_asked_for_kept_and_shown_again_to_edit(modal, asking, shop, app):
    workflow = asking.workflows[0].id
    name = f"w{workflow}-ledger"
    page = modal(integrationId=asking.id)
    assert "Settings: Book orders" in page.view.text
    page.fill(sandbox__store_url=shop.url, sandbox__access_token=shop.token)
    refused = page.finish()
    assert refused.status == 422
    assert refused.error_at(name) == "Fill in Ledger."
    page.typed = {name: "4711", f"w{workflow}-mode": "daily"}
    assert page.finish().heading == "Sandbox shop is connected"
    child = next(c for c in rows(app, ChildWorkflow) if c.workflow_id == workflow)
    assert child.values == {"ledger": "4711", "mode": "daily"}
    again = modal(integrationId=asking.id, operation="edit")
    assert again.view.inputs[name]["value"] == "4711"
    again.typed = {name: "4712", f"w{workflow}-mode": ""}
    assert again.finish().status == 200
    after = [c for c in rows(app, ChildWorkflow) if c.workflow_id == workflow]
    assert [(c.id, c.values) for c in after] == [(child.id, {"ledger": "4712"})]


def test_values_of_settings_are_checked(modal, asking, shop_credential):
    shop_credential("sandbox")
    workflow = asking.workflows[0].id
    page = modal(integrationId=asking.id)
    page.typed = {f"w{workflow}-ledger": "x" * 2001, f"w{workflow}-mode": "weekly"}
    refused = page.finish()
    assert refused.status == 422
    assert refused.error_at(f"w{workflow}-ledger") == "This is too long: at most 2000 characters."
    assert refused.error_at(f"w{workflow}-mode") == "Choose one of the list."


@pytest.mark.parametrize(
    "given",
    [
        lambda w: [{"workflowId": w, "fields": [{"name": "ledger", "value": 4711}]}],
        lambda w: [{"name": "ledger", "value": "4711"}],
        lambda w: [{"workflowName": "Book orders", "fieldName": "ledger", "value": "4711"}],
    ],
)
def test_values_may_be_given_by_the_vendor_s_page(modal, asking, given, shop_credential):
    shop_credential("sandbox")
    workflow = asking.workflows[0].id
    page = modal(integrationId=asking.id, preFilledValues=json.dumps(given(workflow)), hide="true")
    assert page.view.inputs[f"w{workflow}-ledger"]["value"] == "4711"
    assert is_silent(page.view)


@pytest.mark.parametrize("given", ["[", "{}", '["x"]', '[{"name":"access_token","value":"s"}]'])
def test_values_that_can_not_be_given_are_refused_in_words(modal, asking, given):
    assert modal(integrationId=asking.id, preFilledValues=given, status=400).view.heading == "This link can’t be made"


@pytest.mark.parametrize("name", ["outputOverride", "preFilledValues"])
@pytest.mark.parametrize("deep", [900, 20_000])
def test_what_is_nested_without_end_can_not_be_read(modal, integration, name, deep):
    view = modal(integrationId=integration, **{name: "[" * deep + "]" * deep}, status=400).view
    assert f"a {name} that can’t be read" in view.text.replace("`", "")


@pytest.mark.parametrize("entry", [{"name": "\ud800", "value": "x"}, {"name": "ledger", "value": "\ud800"}])
def test_half_a_character_is_no_value(modal, asking, entry):
    assert modal(integrationId=asking.id, preFilledValues=json.dumps([entry]), status=400).view


def test_an_override_of_outputs_is_kept_for_the_runtime(modal, integration, shop_credential, app):
    shop_credential()
    override = [{"blockId": "b", "output": {"x": [1, None, "ü"]}}]
    modal(integrationId=integration, outputOverride=json.dumps(override)).finish()
    assert [child.output_override for child in rows(app, ChildWorkflow)] == [override]


def test_a_version_that_is_named_is_installed_and_updating_brings_the_newest(
    modal, asking, apply, backend, user, shop_credential
):
    shop_credential("sandbox")
    workflow = asking.workflows[0].id
    first = backend.get(f"/workflows/{workflow}/versions")["data"][0]["versionId"]
    apply(WITH_FIELDS.replace("Send the order", "Send it on"))

    def installed(**options):
        page = modal(integrationId=asking.id, **options)
        page.typed = {f"w{workflow}-ledger": "1"}
        assert page.finish().status == 200
        return backend.get(f"/workflows/{workflow}?userId={user}")["data"]["installedVersion"]

    assert installed(versionId=first) == 1
    one = backend.get("/installations")["data"][0]["installationId"]
    assert installed(operation="edit") == 1
    assert installed(operation="update") == 2
    assert backend.get("/installations")["data"][0]["installationId"] == one


def test_a_window_of_one_environment_opens_nothing_of_the_other(modal, integration, shop_credential, app, make_backend):
    shop_credential()
    other = make_backend(Environment.development)
    stranger = other.post("/users", {"username": "ada@shop.example"})["userId"]
    page = modal(integrationId=integration, token=other.get(f"/users/{stranger}/token")["token"])
    assert "Connected as" not in page.view.text


def test_windows_can_not_be_opened_without_end(modal, integration, app, backend, user):
    token = backend.get(f"/users/{user}/token")["token"]
    app.extensions["limiter"] = Limiter("2 per hour")
    modal(integrationId=integration, token=token)
    modal(integrationId=integration, token=token)
    assert modal(integrationId=integration, token=token, status=429).view.heading == "Too many calls"


def test_windows_that_nobody_used_are_forgotten_and_links_are_not(modal, integration, app, make_link, shop_credential):
    shop_credential()
    modal(integrationId=integration)
    modal(integrationId=integration).finish()
    make_link()
    forget_unused_windows_in(app)
    assert len(rows(app, Link)) == 3
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Link).values(expires_at=now() - timedelta(days=2)))
    forget_unused_windows_in(app)
    assert sorted((one.origin, bool(one.finished_at)) for one in rows(app, Link)) == [("link", False), ("modal", True)]


def forget_unused_windows_in(app):
    with app.app_context():
        forget_unused_windows()


def test_opening_windows_leaves_no_links_for_the_vendor_to_see(modal, integration, backend):
    modal(integrationId=integration)
    assert backend.get("/links")["data"] == []
