"""What operators see and do."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.events.models import Delivery, DeliveryState
from portal.links.models import FailedTry, Link, LinkState
from portal.links.rules import in_state
from portal.operators.models import Invitation, OperatorSession, Role
from portal.operators.rules import invite
from tests.install_page import View


def change(app, statement):
    with app.app_context(), transaction() as session:
        session.execute(statement)


def link_in(view):
    return re.search(r'id="link" type="text" readonly value="([^"]+)"', view.html)[1].replace("&amp;", "&")


# Signing in


def test_a_sign_in_link_works_once_and_opening_it_does_not_use_it(app, sign_in):
    with app.app_context(), transaction() as session:
        _, token = invite(session, "ada@vendor.example", Role.viewer, now())
    client = app.test_client()
    for _ in range(3):
        assert "ada@vendor.example" in client.get(f"/dashboard/sign-in?token={token}").text
        assert client.get("/dashboard/").status_code == 303
    answer = client.post("/dashboard/sign-in", data={"token": token})
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/dashboard" in cookie
    assert client.get("/dashboard/").status_code == 200
    again = app.test_client().post("/dashboard/sign-in", data={"token": token})
    assert again.status_code == 410
    assert "It works once" in again.text


def test_a_sign_in_link_is_over_after_an_hour(app):
    with app.app_context(), transaction() as session:
        _, token = invite(session, "ada@vendor.example", Role.viewer, now())
    change(app, sa.update(Invitation).values(expires_at=now()))
    assert app.test_client().get(f"/dashboard/sign-in?token={token}").status_code == 410
    assert app.test_client().post("/dashboard/sign-in", data={"token": token}).status_code == 410


def test_no_token_of_a_session_or_invitation_is_stored(app, desk):
    with app.app_context(), transaction() as session:
        dump = "\n".join(session.connection().connection.driver_connection.iterdump())
    assert desk.client.get_cookie("portal-session", path="/dashboard").value not in dump


def test_signing_out_ends_the_session_on_the_server(desk, app):
    cookie = desk.client.get_cookie("portal-session", path="/dashboard").value
    desk.post("/dashboard/sign-out")
    thief = app.test_client()
    thief.set_cookie("portal-session", cookie, path="/dashboard")
    assert thief.get("/dashboard/").status_code == 303


def test_other_browsers_are_listed_and_can_be_signed_out(sign_in, app):
    here, there = sign_in(), sign_in()
    page = here.get("/dashboard/sessions")
    (other,) = re.findall(r"/dashboard/sessions/([0-9a-f]{24})/end", page.html)
    here.post(f"/dashboard/sessions/{other}/end")
    assert there.client.get("/dashboard/").status_code == 303
    assert here.client.get("/dashboard/").status_code == 200


def test_a_session_of_somebody_else_can_not_be_ended(sign_in, app):
    here, there = sign_in(), sign_in(email="other@vendor.example")
    with app.app_context(), transaction() as session:
        ids = session.scalars(sa.select(OperatorSession.id)).all()
    for one in ids[1:]:
        here.post(f"/dashboard/sessions/{one}/end", follow=False)
    assert there.client.get("/dashboard/").status_code == 200


def test_a_session_that_was_not_seen_for_two_weeks_is_over(desk, app):
    change(app, sa.update(OperatorSession).values(seen_at=now() - timedelta(days=15)))
    assert desk.client.get("/dashboard/").status_code == 303


# Sharing


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


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"who": "existing", "user": "nobody"}, "There is no user “nobody”"),
        ({"who": "new", "email": ""}, "A username has 1 to 255 visible characters"),
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


# Links


def test_a_link_tells_its_steps_and_can_be_revoked_and_replaced(desk, user, integration, backend, app):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")
    change(app, sa.insert(FailedTry).values(id="f" * 24, link_id=made["linkId"], app="magento", field="access_token",
                                            reason="x", message="Magento did not accept this.", at=now()))  # fmt: skip
    page = desk.get(f"/dashboard/links/{made['linkId']}")
    assert "magento, access token: Magento did not accept this." in page.text
    fresh = desk.post(f"/dashboard/links/{made['linkId']}/replace")
    assert app.test_client().get(made["url"]).status_code == 410
    assert app.test_client().get(link_in(fresh)).status_code == 200
    new_id = backend.get("/links")["data"][0]["linkId"]
    desk.post(f"/dashboard/links/{new_id}/revoke")
    assert app.test_client().get(link_in(fresh)).status_code == 410


def test_the_state_of_a_link_is_the_same_in_a_list_and_on_its_row(app, make_link):
    at = now()
    moments = [None, at - timedelta(hours=1)]
    count = 0
    for finished in moments:
        for revoked in moments:
            for verified in moments:
                for opened in moments:
                    for expires in (at - timedelta(minutes=1), at + timedelta(minutes=1)):
                        made = make_link(username=f"u{count}")
                        facts = {"finished_at": finished, "revoked_at": revoked, "verified_at": verified}
                        change(
                            app,
                            sa.update(Link)
                            .where(Link.id == made.id)
                            .values(opened_at=opened, expires_at=expires, **facts),
                        )
                        count += 1
    with app.app_context(), transaction() as session:
        links = session.scalars(sa.select(Link)).all()
        for state in LinkState:
            listed = set(session.scalars(sa.select(Link.id).where(in_state(state, at))))
            assert listed == {link.id for link in links if link.state(at) is state}


def test_links_are_filtered_by_state_and_user_and_paged(desk, backend, integration):
    ids = [backend.post("/users", {"username": f"user{n:02}"})["userId"] for n in range(60)]
    for one in ids:
        backend.get(f"/users/{one}/integrations/{integration}/install-url")
    first = desk.get("/dashboard/links?state=created")
    assert first.html.count('data-state="created"') == 50
    after = re.search(r'href="([^"]+cursor=[^"]+)"', first.html)[1].replace("&amp;", "&")
    assert desk.get(after).html.count('data-state="created"') == 10
    assert desk.get("/dashboard/links?user=user07").html.count("data-state") == 1
    assert "No link is like that." in desk.get("/dashboard/links?state=finished").text
    oldest = desk.get("/dashboard/links?order=oldest")
    assert oldest.text.index("user00") < oldest.text.index("user01")


# Users, installations, events, keys


def test_a_user_s_page_shows_accounts_but_no_secret_and_everything_can_be_exported(
    desk, user, integration, install, shop, backend
):
    install(integration)
    backend.get(f"/users/{user}/integrations/{integration}/install-url")
    page = desk.get(f"/dashboard/users/{user}")
    assert "Luma Store" in page.text
    answer = desk.client.get(f"/dashboard/users/{user}/export")
    document = json.loads(answer.text)
    assert {"users", "links", "credentials", "installations", "child_workflows", "events", "deliveries"} <= set(
        document
    )
    assert document["credentials"][0]["account"] == "Luma Store"
    assert shop.token not in answer.text
    assert "sealed" not in answer.text
    assert "token_hash" not in answer.text
    assert "attachment" in answer.headers["Content-Disposition"]


def test_deleting_a_user_wants_the_name_typed_and_a_fresh_sign_in(desk, user, app, backend):
    refused = desk.post(f"/dashboard/users/{user}/delete", confirm="ada")
    assert refused.status == 422
    assert "Type the username exactly" in refused.text
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(hours=1)))
    refused = desk.post(f"/dashboard/users/{user}/delete", confirm="ada@shop.example")
    assert refused.status == 403
    assert "Please sign in again first" in refused.text
    change(app, sa.update(OperatorSession).values(proved_at=now()))
    assert user in desk.post(f"/dashboard/users/{user}/delete", confirm="ada@shop.example").text
    assert backend.get("/users")["data"] == []
    assert "user.delete" in desk.get("/dashboard/audit").text


def test_an_installation_is_stopped_started_and_removed(desk, user, integration, install, backend):
    one = install(integration)
    page = desk.get(f"/dashboard/installations/{one}")
    assert "Luma Store" in page.text
    assert "stopped" in desk.post(f"/dashboard/installations/{one}/deactivate").text
    assert backend.get(f"/installations/{one}")["data"]["enabled"] is False
    desk.post(f"/dashboard/installations/{one}/activate")
    desk.post(f"/dashboard/installations/{one}/upgrade")
    assert backend.get(f"/installations/{one}")["data"]["enabled"] is True
    assert desk.post(f"/dashboard/installations/{one}/remove").heading == "Installations"
    assert backend.get("/installations")["data"] == []


def test_an_event_shows_what_was_sent_and_is_delivered_again(desk, user, integration, install, backend):
    install(integration)
    event = backend.get("/events")["data"][0]["eventId"]
    page = desk.get(f"/dashboard/events/{event}")
    assert f'"userId": "{user}"' in page.text
    assert desk.post(f"/dashboard/events/{event}/redeliver").html.count("http://127.0.0.1:9/webhook") == 2
    assert "installation.finished" in desk.get("/dashboard/events?state=pending").text
    assert "No event is like that." in desk.get("/dashboard/events?state=delivered").text


def test_a_key_is_shown_once_works_and_is_revoked(desk, app):
    page = desk.post("/dashboard/api-keys", name="billing server")
    key = re.search(r'id="key" type="text" readonly value="([^"]+)"', page.html)[1]
    call = {"headers": {"Authorization": f"Bearer {key}"}}
    assert app.test_client().get("/users", **call).status_code == 200
    listed = desk.get("/dashboard/api-keys")
    assert key not in listed.html
    (one,) = re.findall(r"/dashboard/api-keys/([0-9a-f]{24})/revoke", listed.html)
    desk.post(f"/dashboard/api-keys/{one}/revoke")
    assert app.test_client().get("/users", **call).status_code == 401


def test_a_new_key_wants_a_fresh_sign_in(desk, app):
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(minutes=16)))
    assert desk.post("/dashboard/api-keys", name="x").status == 403


def test_the_other_environment_is_another_world(desk, user, integration, install):
    one = install(integration)
    desk.post("/dashboard/environment", environment="development")
    assert "ada@shop.example" not in desk.get("/dashboard/users").text
    desk.get(f"/dashboard/installations/{one}", status=404)
    desk.get(f"/dashboard/users/{user}", status=404)
    desk.post("/dashboard/environment", environment="production")
    desk.get(f"/dashboard/users/{user}")


# The overview, and every page while empty


def test_the_overview_names_what_needs_attention_in_words(desk, user, integration, install, backend, app):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    soon = backend.get(f"/users/{user}/integrations/{integration}/install-url?expiresIn=1h")["linkId"]
    install(integration)
    at = now() - timedelta(hours=1)
    change(app, sa.update(Link).where(Link.id == made).values(opened_at=at))
    change(app, sa.insert(FailedTry).values(id="f" * 24, link_id=made, app="magento", field="access_token",
                                            reason="x", message="The store did not accept it.", at=at))  # fmt: skip
    change(app, sa.update(Delivery).values(state=DeliveryState.given_up))
    credential = backend.get(f"/users/{user}/credentials")["data"][0]["credentialId"]
    backend.delete(f"/users/{user}/credentials/{credential}")
    text = desk.get("/dashboard/").text
    assert "magento, access token: “The store did not accept it.”" in text
    assert "Links that end soon, unopened" in text
    assert "Webhooks that fail" in text
    assert "Installations without a credential" in text
    assert soon in desk.get("/dashboard/").html
    assert "Installations finished in the last 30 days: 1" in text


def test_who_asks_for_a_new_link_is_named_until_there_is_one(desk, user, integration, backend, app):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")
    backend.post(f"/links/{made['linkId']}/revoke")
    query = {name: re.search(rf"{name}=([^&]+)", made["url"])[1] for name in ("token", "integrationId")}
    app.test_client().post("/embedded-install", data={**query, "action": "request"})
    assert "Somebody asks for a new link" in desk.get("/dashboard/").text
    desk.post(f"/dashboard/links/{made['linkId']}/replace")
    assert "Somebody asks for a new link" not in desk.get("/dashboard/").text


def test_a_zero_character_is_refused_before_any_database_sees_it(desk):
    for path in ("/dashboard/users?user=a%00", "/dashboard/users/a%00b", "/dashboard/users/search?user=%00"):
        assert desk.client.get(path).status_code == 400
    assert desk.client.post("/dashboard/users", data={"csrf": desk.csrf, "username": "a\0"}).status_code == 400


PAGES = ["", "integrations", "links", "users", "installations", "events", "api-keys", "settings", "audit", "sessions"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_what_to_do_first_when_there_is_nothing(desk, page):
    view = desk.get(f"/dashboard/{page}")
    assert view.heading
    assert "None" not in re.sub("None( yet)?\\.", "", view.text)


def test_settings_show_no_secret(desk, app):
    text = desk.get("/dashboard/settings").text
    assert "PORTAL_VENDOR_NAMEAcme Analytics" in text
    for secret in (app.extensions["keys"].link_keys[0], app.extensions["keys"].webhook_secrets[0]):
        assert secret not in text


def test_an_unknown_thing_is_a_page_with_a_sentence(desk):
    for path in ("links/x", "users/x", "installations/x", "events/x", "integrations/x"):
        view = desk.get(f"/dashboard/{path}", status=404)
        assert "There is no" in view.text
    assert View(desk.client.get("/dashboard/nothing")).status == 404


# Passkeys (the browser's part is acted out in tests/browser)


@pytest.mark.parametrize("sent", ["", "{", "[]", '{"response": {"clientDataJSON": "e30"}}', "null"])
def test_an_answer_to_no_challenge_signs_nobody_in(app, sent):
    view = View(app.test_client().post("/dashboard/sign-in/passkey", data={"credential": sent}))
    assert view.status == 400
    assert "Try once more, or sign in with a link." in view.text
    assert "Set-Cookie" not in view.response.headers


def test_a_portal_without_a_host_name_says_what_passkeys_need(desk, app, monkeypatch):
    settings = app.config["PORTAL_SETTINGS"].model_copy(update={"base_url": "http://127.0.0.1:8000"})
    monkeypatch.setitem(app.config, "PORTAL_SETTINGS", settings)
    view = desk.post("/dashboard/passkeys/options")
    assert view.status == 409
    assert "Passkeys need a host name" in view.text
