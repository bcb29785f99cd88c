"""The Share dialog."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import unquote

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.links.models import Link
from tests.backend import link_in


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
