"""The Share dialog."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from urllib.parse import unquote

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.links.models import Link
from portal.operators.models import Role
from tests.backend import link_in
from tests.install_page import View


def test_a_link_is_shared_with_a_new_user_and_opens(desk, integration, app):
    page = desk.get(f"/dashboard/integrations/{integration}/share")
    assert page.heading == "Share Magento: stream new orders"
    workflows = re.findall(r'name="workflow" value="([0-9a-f]+)"', page.html)
    made = desk.post(
        f"/dashboard/integrations/{integration}/share",
        who="new",
        email="veronica@shop.example",
        life="1d",
        always="yes",
        workflow=workflows,
    )
    assert made.heading == "The link is ready"
    url = link_in(made)
    assert "Connect Magento" in app.test_client().get(url).text
    assert "veronica@shop.example" in desk.get("/dashboard/users").text
    assert "<svg" in made.html
    assert "mailto:veronica%40shop.example" in made.html
    audit = desk.get("/dashboard/audit").text
    assert "link.create" in audit
    assert "user.create" in audit
    assert url.split("token=")[1].split("&")[0] not in desk.get("/dashboard/links").html


def test_a_moment_too_far_away_is_refused_in_words_of_the_dialog(desk, integration):
    address = f"/dashboard/integrations/{integration}/share"
    facts = {"who": "new", "email": "bob@shop.example", "life": "until"}
    page = desk.post(address, **facts, until=f"{now() + timedelta(days=370):%Y-%m-%dT%H:%M}")
    assert page.error_at("until") == "A link works for a year at the most. Choose an earlier moment."
    assert "90m" not in page.text


def test_options_of_a_shared_link_are_kept(desk, user, integration, app):
    page = desk.get(f"/dashboard/integrations/{integration}/share")
    facts = {
        "who": "existing",
        "user": "ada@shop.example",
        "life": "until",
        "until": (now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M"),
        "workflow": re.findall(r'name="workflow" value="([0-9a-f]+)"', page.html),
        "fill-magento-store_url": "https://shop.example",
        "redirect_url": "https://vendor.example/back",
        "locale": "de",
    }
    url = link_in(desk.post(f"/dashboard/integrations/{integration}/share", **facts))
    assert "alwaysShowCredentials=false" in url
    with app.app_context(), transaction() as session:
        link = session.scalars(sa.select(Link)).one()
    assert timedelta(days=1, hours=23) < link.expires_at - link.created_at <= timedelta(days=2, seconds=1)
    assert (link.redirect_url, link.locale, link.user_id) == ("https://vendor.example/back", "de", user)
    assert link.prefilled == {"magento": {"store_url": "https://shop.example"}}


@pytest.mark.parametrize(
    ("username", "recipient"),
    [
        ("ada+x@shop.example", "ada%2Bx%40shop.example"),
        ("ada@shop.example,eve@evil.example", ""),
        ("eve@evil.example;ada@shop.example", ""),
        ("Ada <ada@shop.example>", ""),
        ("ada@shop.example?bcc=eve@evil.example", ""),
        ("customer 7", ""),
    ],
)
def test_a_mail_is_prepared_for_one_address_and_for_nothing_that_only_looks_like_one(
    desk, backend, integration, username, recipient
):
    backend.post("/users", {"username": username})
    page = desk.get(f"/dashboard/integrations/{integration}/share")
    workflows = re.findall(r'name="workflow" value="([0-9a-f]+)"', page.html)
    made = desk.post(f"/dashboard/integrations/{integration}/share", user=username, workflow=workflows)
    assert f'href="mailto:{recipient}?subject=' in made.html


def test_the_page_and_the_prepared_mail_are_in_the_language_that_was_chosen(desk, user, integration, app):
    page = desk.get(f"/dashboard/integrations/{integration}/share")
    assert re.findall(r'<option value="(\w+)" lang="\w+">', page.html) == ["en", "de", "fr"]
    workflows = re.findall(r'name="workflow" value="([0-9a-f]+)"', page.html)
    made = desk.post(
        f"/dashboard/integrations/{integration}/share", user="ada@shop.example", workflow=workflows, locale="de"
    )
    assert "Magento verbinden" in app.test_client().get(link_in(made)).text
    mail = unquote(re.search(r'href="mailto:([^"]+)"', made.html)[1])
    assert "bitte öffnen Sie diese Seite" in mail
    assert link_in(made) in mail


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"who": "existing", "user": "nobody"}, "There is no user “nobody”"),
        ({"who": "existing", "user": ""}, "Say who it is for"),
        ({"who": "new", "email": ""}, "Type the new user’s e-mail address"),
        ({"who": "new", "email": "ada.shop.example"}, "should look like name@shop.example"),
        ({"who": "new", "email": "ada@shop.example"}, "There is a user “ada@shop.example” already."),
        ({"user": "ada@shop.example", "workflow": []}, "Choose at least one workflow."),
        ({"user": "ada@shop.example", "life": "until", "until": ""}, "Say until when"),
        ({"user": "ada@shop.example", "life": "until", "until": "2020-01-01T00:00"}, "That moment is over."),
        ({"user": "ada@shop.example", "redirect_url": "javascript:1"}, "must begin with https://"),
    ],
)
def test_what_can_not_be_shared_is_explained_and_what_was_typed_stays(desk, user, integration, backend, facts, said):
    workflows = [w["workflowId"] for w in backend.get("/workflows")["data"]]
    given = {"workflow": workflows, "full_name": "Typed Name", **facts}
    view = desk.post(f"/dashboard/integrations/{integration}/share", **given)
    assert view.status == 422
    assert said in view.text
    assert 'value="Typed Name"' in view.html
    assert backend.get("/links")["data"] == []


WRONG = {
    "user": {"who": "existing", "user": "nobody"},
    "email": {"who": "new", "email": "ada.shop.example"},
    "full_name": {"who": "new", "email": "new@shop.example", "full_name": "x" * 300},
    "until": {"life": "until", "until": "2020-01-01T00:00"},
    "life": {"life": "400d"},
    "workflow": {"workflow": []},
    "redirect_url": {"redirect_url": "javascript:1"},
    "fill-sandbox-store_url": {"fill-sandbox-store_url": "no address"},
}


@pytest.mark.parametrize("field", WRONG)
def test_what_is_wrong_stands_at_its_field_which_has_the_focus(desk, user, asking, field):
    facts = {"user": "ada@shop.example", "workflow": asking.workflows[0].id, **WRONG[field]}
    view = desk.post(f"/dashboard/integrations/{asking.id}/share", **facts)
    assert view.status == 422
    assert view.error_at(field)
    at = next(facts for _, facts in view.dom.tags if facts.get("id") == field)
    assert at["aria-invalid"] == "true"
    assert f"{field}-error" in at["aria-describedby"].split()
    assert view.autofocused == field
    assert f'<li><a href="#{field}">' in view.html
    assert view.dom.title.startswith("Error: Share Orders to ledger")


def test_everything_that_is_wrong_is_told_at_once(desk, user, asking, backend):
    book = next(one.id for one in asking.workflows if one.name == "Book orders")
    facts = {"who": "new", "email": "new@shop.example", "workflow": book, "redirect_url": "x", f"fill-{book}-mode": "x"}
    view = desk.post(f"/dashboard/integrations/{asking.id}/share", **facts)
    assert view.error_at(f"fill-{book}-mode") == "Choose one of the list."
    assert "must begin with https://" in view.error_at("redirect_url")
    assert '<details class="more" open>' in view.html
    assert [one["username"] for one in backend.get("/users")["data"]] == ["ada@shop.example"]


def test_nothing_is_ticked_again_that_was_not(desk, user, asking):
    view = desk.post(f"/dashboard/integrations/{asking.id}/share", user="ada@shop.example")
    assert re.findall(r'name="workflow" value="\w+" checked', view.html) == []
    assert 'name="always" value="yes">' in view.html


@pytest.mark.parametrize("query", ["", "?who=existing&user=ada@shop.example"])
def test_the_dialog_shows_credentials_by_default_however_it_is_opened(desk, user, integration, query):
    view = desk.get(f"/dashboard/integrations/{integration}/share{query}")
    assert 'name="always" value="yes" checked>' in view.html


FIELDS = """
name: Many fields
apps: [sandbox]
workflows:
  - name: Book orders
    description: Book each order.
    trigger: {schedule: "0 * * * *"}
    fields:
      - {name: ledger, title: Ledger, hint: Where it goes., required: true}
      - {name: mode, title: Mode, type: select, options: [daily, hourly]}
      - {name: limit, title: Limit, type: number}
      - {name: all_of_it, title: All of it, type: checkbox}
"""


def test_fields_of_workflows_can_be_filled_in_and_are_on_the_page(desk, user, apply, app):
    one = apply(FIELDS)
    (workflow,) = one.workflows
    name = f"fill-{workflow.id}-"
    view = desk.get(f"/dashboard/integrations/{one.id}/share")
    assert "Book orders: Ledger (filled in for the user)" in view.text
    assert "Where it goes." in view.text
    assert view.inputs[f"{name}all_of_it"]["type"] == "checkbox"
    assert view.inputs[f"{name}limit"]["inputmode"] == "decimal"
    assert f'<select id="{name}mode" name="{name}mode"><option value="">The user chooses</option>' in view.html
    given = {"ledger": "Main", "mode": "hourly", "limit": "0.5", "all_of_it": "true"}
    facts = {"workflow": workflow.id, **{f"{name}{field}": value for field, value in given.items()}}
    wrong = desk.post(f"/dashboard/integrations/{one.id}/share", **{**facts, f"{name}limit": "many"})
    assert wrong.error_at(f"{name}limit").startswith("Write a number")
    assert f'id="{name}all_of_it" name="{name}all_of_it" value="true" checked' in wrong.html
    assert '<option value="hourly" selected>' in wrong.html
    facts["user"] = "ada@shop.example"
    made = desk.post(f"/dashboard/integrations/{one.id}/share", **facts)
    with app.app_context(), transaction() as session:
        assert session.scalars(sa.select(Link)).one().prefilled == {workflow.id: given}
    shown = View(app.test_client().get(link_in(made)))
    assert shown.inputs[f"w{workflow.id}-ledger"]["value"] == "Main"
    assert shown.inputs[f"w{workflow.id}-limit"]["value"] == "0.5"
    assert "checked" in shown.inputs[f"w{workflow.id}-all_of_it"]


def test_no_secret_can_be_filled_in(desk, user, integration, backend):
    view = desk.get(f"/dashboard/integrations/{integration}/share")
    assert not any("access_token" in name for name in view.inputs)
    facts = {"user": "ada@shop.example", "workflow": [w["workflowId"] for w in backend.get("/workflows")["data"]]}
    made = desk.post(
        f"/dashboard/integrations/{integration}/share", **facts, **{"fill-magento-access_token": "tok-123"}
    )
    assert made.status == 200
    assert "tok-123" not in desk.get(f"/dashboard/links/{backend.get('/links')['data'][0]['linkId']}").html


def test_a_user_is_known_in_other_capitals(desk, user, integration, backend):
    workflows = [w["workflowId"] for w in backend.get("/workflows")["data"]]
    address = f"/dashboard/integrations/{integration}/share"
    assert "For ada@shop.example," in desk.post(address, user="Ada@Shop.example ", workflow=workflows).text
    given = {"who": "new", "email": "Ada@Shop.example", "workflow": workflows, "life": "30d"}
    refused = desk.post(address, **given, redirect_url="https://vendor.example/back")
    assert refused.error_at("email") == "There is a user “ada@shop.example” already."
    assert len(backend.get("/users")["data"]) == 1
    instead = html.unescape(re.search(r'href="([^"]+)">Share with ada@shop.example instead', refused.html)[1])
    view = desk.get(instead)
    assert view.inputs["user"]["value"] == "ada@shop.example"
    assert view.inputs["redirect_url"]["value"] == "https://vendor.example/back"
    assert '<option value="30d" selected>' in view.html
    assert 'name="always" value="yes">' in view.html
    assert desk.csrf not in instead


def test_what_is_sent_can_lead_the_offer_nowhere_else(desk, user, integration):
    names = {"_external": "1", "_scheme": "javascript", "_anchor": "x", "integration": "y", "endpoint": "z"}
    given = {"who": "new", "email": "ada@shop.example", **names}
    refused = desk.post(f"/dashboard/integrations/{integration}/share", **given)
    found = re.search(r'href="([^"]+)">Share with ada@shop.example instead', refused.html)
    assert found[1].startswith(f"/dashboard/integrations/{integration}/share?")


def test_the_user_is_taken_along_from_their_page(desk, user, integration, asking, sign_in):
    page = desk.get(f"/dashboard/users/{user}")
    assert "Share it with them" in page.text
    assert f'<option value="{asking.id}">Orders to ledger</option>' in page.html
    answer = desk.client.get(f"/dashboard/users/{user}/share?integration={asking.id}")
    assert answer.status_code == 303
    dialog = desk.get(answer.headers["Location"])
    assert dialog.heading == "Share Orders to ledger"
    assert dialog.inputs["user"]["value"] == "ada@shop.example"
    assert desk.get(f"/dashboard/users/{user}/share?integration=x", status=404)
    assert "Share it" not in sign_in(Role.viewer).get(f"/dashboard/users/{user}").text


def test_with_one_integration_the_user_s_page_leads_straight_to_it(desk, user, integration):
    page = desk.get(f"/dashboard/users/{user}")
    found = html.unescape(re.search(r'href="([^"]+)">Share Magento: stream new orders with them', page.html)[1])
    assert desk.get(found).inputs["user"]["value"] == "ada@shop.example"


def test_without_an_integration_the_user_s_page_says_what_to_do_first(desk, user):
    assert "There is none yet: add an integration first." in desk.get(f"/dashboard/users/{user}").text


def test_users_are_found_as_their_name_is_typed(desk, backend):
    backend.post("/users/batch", {"users": [{"username": f"ada{n}@shop.example"} for n in range(12)]})
    found = desk.client.get("/dashboard/users/search?user=Ada1").text
    assert re.findall(r'data-value="([^"]+)"', found) == [
        "ada10@shop.example",
        "ada11@shop.example",
        "ada1@shop.example",
    ]
    assert "data-value" not in desk.client.get("/dashboard/users/search?user=").text
    assert "Nobody’s name begins" in desk.client.get("/dashboard/users/search?user=%25").text
