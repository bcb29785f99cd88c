"""Events and endpoints as operators see and change them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.clock import now
from portal.db import transaction
from portal.events.kinds import KINDS
from portal.events.models import Delivery, DeliveryState, Event
from portal.events.rules import Outcome, record_attempt
from portal.links.models import FailedTry
from portal.operators.models import Operator, Role
from tests.backend import change
from tests.install_page import InstallPage
from tests.long_work import do_long_work

ID = re.compile(r"/dashboard/endpoints/([0-9a-f]{24})")
DOCUMENTED = "/dashboard/endpoints/documented-production"


@pytest.fixture
def events(app: Flask) -> Callable[..., list[Event]]:
    """The events of a kind, the oldest first."""

    def read(kind: str) -> list[Event]:
        with app.app_context(), transaction() as session:
            return list(session.scalars(sa.select(Event).where(Event.type == kind).order_by(Event.created_at)))

    return read


def add(desk, *kinds: str, name: str = "Billing", url: str = "http://10.0.0.7/hooks") -> str:
    page = desk.post("/dashboard/endpoints", name=name, url=url, kind=list(kinds))
    assert page.heading == name
    return ID.search(page.html)[1]


def again(backend, user: str, integration: str) -> str:
    """Install with the credential that is there."""
    started = backend.post("/headless/startInstallation", {"userId": user, "integrationId": integration})
    backend.post("/headless/completeInstallation", {"installationId": started["installationId"], "data": []})
    return str(backend.get("/installations")["data"][0]["installationId"])


def test_an_event_says_whom_it_is_about_as_long_as_they_are_there(desk, integration, install, user):
    install(integration)
    listed = desk.get("/dashboard/events")
    assert f'<a href="/dashboard/users/{user}">ada@shop.example</a>' in listed.html
    one = re.search(r"/dashboard/events/[0-9a-f]{24}", listed.html)[0]
    assert "about ada@shop.example and this installation" in desk.get(one).text
    desk.post(f"/dashboard/users/{user}/delete", confirm="ada@shop.example")
    assert "ada@shop.example" not in desk.get("/dashboard/events").text
    assert "ada@shop.example" not in desk.get(one).text


def test_an_endpoint_is_added_takes_its_kinds_and_is_paused_resumed_and_removed(desk, make_link, app, events):
    one = add(desk, "link.opened")
    assert "http://10.0.0.7/hooks" in desk.get("/dashboard/endpoints").text
    page = InstallPage(app, make_link())
    app.test_client().post("/embedded-install", data={**page.link.query, "action": "seen"})
    assert [event.user_id for event in events("link.opened")] == [page.link.user_id]
    listed = desk.get(f"/dashboard/events?kind=link.opened&state=pending&endpoint={one}")
    assert "Billing" in listed.text
    assert "No event is like that." in desk.get(f"/dashboard/events?kind=link.failed&endpoint={one}").text
    paused = desk.post(f"/dashboard/endpoints/{one}/pause")
    assert 'data-state="paused"' in paused.html
    assert "given up" in desk.get(f"/dashboard/events?endpoint={one}").text
    assert "1 failing" in desk.get("/dashboard/endpoints").text
    assert "link.opened to Billing given up" in desk.get("/dashboard/").text
    assert 'data-state="on"' in desk.post(f"/dashboard/endpoints/{one}/resume").html
    desk.post(f"/dashboard/endpoints/{one}", kind=["link.failed"])
    assert "link.failed" in desk.get("/dashboard/endpoints").text
    assert "Billing" not in desk.post(f"/dashboard/endpoints/{one}/remove").text
    assert "removed endpoint" in desk.get("/dashboard/events?kind=link.opened").text
    log = desk.get("/dashboard/audit").text
    assert all(f"endpoint.{deed}" in log for deed in ("create", "pause", "resume", "change", "remove"))


def test_what_was_typed_is_kept_when_an_endpoint_can_not_be(desk):
    page = desk.post("/dashboard/endpoints", name="Bill", url="javascript:alert(1)", kind=["link.failed"])
    assert page.status == 422
    assert page.dom.title.strip().startswith("Error: Endpoints")
    assert "beginning with https://" in page.text
    assert page.inputs["name"]["value"] == "Bill"
    assert re.search(r'value="link.failed" checked', page.html)


def test_what_is_typed_is_shown_as_text(desk):
    one = add(desk, name="<script>alert(1)</script>")
    for path in ("endpoints", f"endpoints/{one}", "events"):
        assert "<script>alert" not in desk.get(f"/dashboard/{path}").html


def test_the_documented_endpoint_takes_more_only_when_chosen_and_stays(desk, app, make_link, events):
    page = desk.get(DOCUMENTED)
    assert page.html.count(" checked") == 1
    assert "Remove" not in page.text
    desk.post(DOCUMENTED, kind=["installation.finished", "link.opened"])
    app.test_client().post("/embedded-install", data={**make_link().query, "action": "seen"})
    (event,) = events("link.opened")
    assert "http://127.0.0.1:9/webhook" in desk.get(f"/dashboard/events/{event.id}").text
    refused = desk.post(f"{DOCUMENTED}/remove")
    assert refused.status == 409
    assert "PORTAL_INSTALLATION_WEBHOOK_URL" in refused.text


def test_members_try_endpoints_and_viewers_read_what_they_take(desk, sign_in):
    one = add(desk, "link.opened")
    member, viewer = sign_in(Role.member), sign_in(Role.viewer)
    shown = member.post(f"/dashboard/endpoints/{one}/test", kind="link.failed")
    assert shown.heading == "test"
    assert "An attempt is under way." in shown.text
    assert '"kind": "link.failed"' in shown.text
    assert "Deliver again" not in shown.text
    read = viewer.get(f"/dashboard/endpoints/{one}")
    assert "link.opened" in read.text
    assert "<form" not in read.html.split("<main")[1]


def test_an_event_shows_each_attempt_with_what_was_sent_and_answered(desk, app, install, integration, events):
    install(integration)
    (event,) = events("installation.finished")
    with app.app_context(), transaction() as session:
        (delivery,) = session.scalars(sa.select(Delivery.id))
        outcome = Outcome(now(), 500, None, 7, "<b>not today</b>", headers={"X-Alloy-Signature": "abcdef"})
        record_attempt(session, delivery, 1, outcome, now() - timedelta(hours=1))
    page = desk.get(f"/dashboard/events/{event.id}")
    assert "X-Alloy-Signature: abcdef" in page.text
    assert "answered 500 after 7 ms" in page.text
    assert "<b>not today</b>" in page.text
    assert "<b>not" not in page.html
    again = desk.post(f"/dashboard/deliveries/{delivery}/redeliver")
    assert again.html.count('class="address"') == 2


def test_an_event_page_looks_again_only_while_an_attempt_is_due(desk, app, install, integration, events):
    install(integration)
    path = f"/dashboard/events/{events('installation.finished')[0].id}"
    assert 'hx-trigger="every 1s"' in desk.get(path).html
    fragment = desk.client.get(path, headers={"HX-Request": "true"}).text
    assert fragment.strip().startswith('<div id="deliveries"')
    desk.csrf = re.search(r'name="csrf" value="([^"]+)"', fragment)[1]
    assert desk.post(f"{path}/redeliver").status == 200
    change(app, sa.update(Delivery).values(state=DeliveryState.delivered, next_attempt_at=None))
    assert "hx-trigger" not in desk.client.get(path, headers={"HX-Request": "true"}).text


def test_all_that_failed_is_redelivered_in_the_background_with_its_progress_shown(desk, app, install, integration):
    install(integration)
    change(app, sa.update(Delivery).values(state=DeliveryState.given_up, created_at=now() - timedelta(hours=1)))
    since = (now() - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")
    page = desk.post("/dashboard/events", since=since, endpoint="documented-production")
    assert page.heading.startswith("Failed deliveries since")
    assert "<progress" in page.html
    assert 'role="status"' in page.html
    assert 'hx-trigger="every 1s"' in page.html
    do_long_work(app)
    path = page.response.request.path
    done = desk.client.get(path, headers={"HX-Request": "true"}).text
    assert "Deliveries on their way again: 1." in done
    assert "hx-trigger" not in done
    assert "done" in desk.get("/dashboard/tasks").text
    with app.app_context(), transaction() as session:
        assert sorted(session.scalars(sa.select(Delivery.state))) == ["given_up", "pending"]


@pytest.mark.parametrize("since", ["", "soon", "2026-99-99"])
def test_a_time_that_is_none_is_refused_in_words(desk, since):
    page = desk.post("/dashboard/events", since=since)
    assert page.status == 422
    assert "Say since when" in page.text


def test_the_other_environment_s_endpoints_deliveries_and_work_are_not_there(desk, app, install, integration):
    one = add(desk)
    install(integration)
    work = desk.post("/dashboard/events", since="1h").response.request.path
    with app.app_context(), transaction() as session:
        (delivery,) = session.scalars(sa.select(Delivery.id))
    desk.post("/dashboard/environment", environment="development")
    for path in (f"/dashboard/endpoints/{one}", DOCUMENTED, work, f"{work}/file"):
        desk.get(path, status=404)
    for path in (
        f"/dashboard/endpoints/{one}", f"/dashboard/endpoints/{one}/pause", f"/dashboard/endpoints/{one}/remove",
        f"/dashboard/endpoints/{one}/test", f"/dashboard/deliveries/{delivery}/redeliver",
    ):  # fmt: skip
        assert desk.post(path).status == 404
    assert desk.post("/dashboard/events", since="1h", endpoint=one).status == 404
    assert "http://10.0.0.7/hooks" not in desk.get("/dashboard/endpoints").text
    assert "There is nothing just now" in desk.get("/dashboard/tasks").text


def test_an_exported_file_is_for_the_one_who_asked_as_long_as_the_role_reaches(desk, sign_in, app, user):
    member = sign_in(Role.member)
    path = member.post(f"/dashboard/users/{user}/export").response.request.path
    member.get(f"{path}/file", status=404)
    do_long_work(app)
    assert "Download user-" in member.get(path).text
    answer = member.client.get(f"{path}/file")
    assert json.loads(answer.text)["users"][0]["username"] == "ada@shop.example"
    assert answer.headers["Cache-Control"] == "no-store"
    desk.get(path, status=404)
    desk.get(f"{path}/file", status=404)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Operator).where(Operator.email == member.email).values(role=Role.viewer))
    assert member.client.get(f"{path}/file").status_code == 403


def test_a_user_with_very_many_rows_is_exported_whole(desk, app, user, backend, integration):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    with app.app_context(), transaction() as session:
        session.execute(
            sa.insert(FailedTry),
            [
                {"id": f"{n:024x}", "link_id": made, "app": "magento", "reason": "x", "message": "é", "at": now()}
                for n in range(1700)
            ],
        )
    path = desk.post(f"/dashboard/users/{user}/export").response.request.path
    do_long_work(app, batches=3)
    assert " of 17" in desk.get(path).text
    do_long_work(app)
    document = json.loads(desk.client.get(f"{path}/file").text)
    assert [row["id"] for row in document["failed_tries"]] == [f"{n:024x}" for n in range(1700)]
    assert document["failed_tries"][0]["message"] == "é"


def test_an_installation_that_is_taken_away_is_told_with_its_reason(desk, backend, install, integration, user, events):
    desk.post(DOCUMENTED, kind=list(KINDS))
    first = install(integration)
    second = again(backend, user, integration)
    assert first != second
    assert events("installation.removed") == []  # replaced, which `installation.finished` tells of
    desk.post(f"/dashboard/installations/{second}/remove")
    (event,) = events("installation.removed")
    body = json.loads(event.payload)
    assert set(body) == set(KINDS["installation.removed"].example) | {"type"}
    assert (body["installationId"], body["userId"], body["reason"]) == (second, user, "uninstalled")
    assert len(body["workflowIds"]) == 1
    third = again(backend, user, integration)
    backend.delete(f"/users/{user}")
    body = json.loads(events("installation.removed")[1].payload)
    assert (body["installationId"], body["reason"]) == (third, "user deleted")
    assert backend.get("/events")["data"][0]["description"].startswith("An installation was taken away")


def test_the_last_workflow_that_is_removed_takes_its_installation_along(
    desk, backend, install, integration, user, events
):
    desk.post(DOCUMENTED, kind=list(KINDS))
    install(integration)
    (workflow,) = json.loads(events("installation.finished")[0].payload)["workflowIds"]
    backend.delete(f"/workflows/{workflow}?userId={user}")
    (event,) = events("installation.removed")
    assert json.loads(event.payload)["workflowIds"] == [workflow]


def test_a_failure_on_the_page_is_told_without_what_was_typed(desk, app, make_link, shop, events):
    desk.post(DOCUMENTED, kind=list(KINDS))
    page = InstallPage(app, make_link())
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token="s3cret-token").finish()
    (event,) = events("link.failed")
    body = json.loads(event.payload)
    assert (body["app"], body["field"], body["fieldTitle"]) == ("magento", "access_token", "Access token")
    assert body["message"].startswith("Magento did not accept this access token.")
    assert "s3cret-token" not in event.payload
    assert [len(events(kind)) for kind in ("link.opened", "installation.finished")] == [1, 0]
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token).finish()
    assert [len(events(kind)) for kind in ("link.opened", "installation.finished")] == [1, 1]


def test_the_public_keys_and_the_snippets_can_be_copied(desk, app):
    page = desk.get("/dashboard/endpoints")
    assert app.extensions["keys"].public_keys_pem.decode().split("\n")[1] in page.html
    for name in ("public-keys", "snippet-python", "snippet-node"):
        assert f'data-copy="{name}"' in page.html
    assert app.extensions["keys"].webhook_secrets[0] not in page.html
    app.extensions["keys"].rotate_webhook_keys()
    answer = app.test_client().get("/security/public_keys.pem")
    assert answer.text.count("BEGIN PUBLIC KEY") == 2
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.text.startswith(app.test_client().get("/security/public_key.pem").text)


SECRET_ADDRESS = "https://hooks.example/x?token=t0psecret"


@pytest.mark.parametrize("role", Role)
def test_what_is_secret_in_an_address_is_for_administrators_alone(desk, sign_in, app, role):
    made = desk.post("/dashboard/endpoints", name="hooks", url=SECRET_ADDRESS, kind="link.opened")
    at = made.response.request.path
    event = desk.post(f"{at}/test", kind="link.opened").response.request.path
    reader = sign_in(role, f"reader-{role}@vendor.example")
    for page in ("/dashboard/endpoints", at, event):
        shown = reader.get(page).text
        assert "https://hooks.example/x?token=" in shown
        assert ("t0psecret" in shown) == (role is Role.admin), page
        part = reader.client.get(page, headers={"HX-Request": "true"}).text
        assert ("t0psecret" in part) == (role is Role.admin), page


def test_the_audit_log_keeps_no_secret_of_an_address(desk, app):
    at = desk.post("/dashboard/endpoints", name="hooks", url=SECRET_ADDRESS, kind="link.opened").response.request.path
    desk.post(f"{at}/test", kind="link.opened")
    change(app, sa.update(Event).values(type="link.opened"))
    with app.app_context(), transaction() as session:
        delivery = session.scalars(sa.select(Delivery.id)).one()
    desk.post(f"/dashboard/deliveries/{delivery}/redeliver")
    desk.post(f"{at}/remove")
    log = desk.get("/dashboard/audit").text
    assert all(deed in log for deed in ("endpoint.create", "event.redeliver", "endpoint.remove"))
    assert log.count("https://hooks.example/x?token=…") == 3
    assert "t0psecret" not in log


def test_an_export_shows_no_secret_of_an_address_either(desk, sign_in, app, user, install, integration):
    install(integration)
    change(app, sa.update(Delivery).values(url=SECRET_ADDRESS))
    task = sign_in(Role.member).post(f"/dashboard/users/{user}/export").response.request.path
    do_long_work(app)
    file = sign_in(Role.member).client.get(f"{task}/file").text
    assert "https://hooks.example/x?token=…" in file
    assert "t0psecret" not in file


def test_an_event_shows_what_was_sent_and_is_delivered_again(desk, user, integration, install, backend):
    install(integration)
    event = backend.get("/events")["data"][0]["eventId"]
    page = desk.get(f"/dashboard/events/{event}")
    assert f'"userId": "{user}"' in page.text
    assert desk.post(f"/dashboard/events/{event}/redeliver").html.count("http://127.0.0.1:9/webhook") == 2
    assert "installation.finished" in desk.get("/dashboard/events?state=pending").text
    assert "No event is like that." in desk.get("/dashboard/events?state=delivered").text
