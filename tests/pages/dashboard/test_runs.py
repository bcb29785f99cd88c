"""Runs as operators read them, run them again, and stop them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.credentials.models import Credential
from portal.operators.models import OperatorSession, Role
from portal.runs.models import Run, RunState
from tests.backend import change
from tests.pages.dashboard.runs import SENT, Runs


@pytest.fixture
def runs(app):
    return Runs(app)


@pytest.fixture
def child(runs, integration, install):
    """A copy of the demo's workflow."""
    return runs.child(install(integration))


def rows(view):
    return len(re.findall(r'<td data-label="State">', view.html))


def test_a_run_is_a_timeline_of_what_was_asked_and_answered(desk, runs, child):
    run = runs.make(child)
    runs.step(run, input=SENT, output='{"status": 201, "body": {"taken": true}}')
    runs.step(run, 1, name="Pick", kind="map", output='{"total": 39.0}', path="1.3.0")
    view = desk.get(f"/dashboard/runs/{run}")
    assert "succeeded" in view.text
    assert "found by asking the app" in view.text
    assert "POST https://vendor.example/orders" in view.text
    assert "X-Alloy-UserId" in view.text
    assert '"order": 7' in view.text
    assert "Answered 201." in view.text
    assert '"taken": true' in view.text
    assert "Pick turn 4" in view.text
    assert "hx-get" not in view.html


def test_what_a_run_began_with_is_shown_without_personal_data_and_secrets(desk, runs, child, shop):
    item = {
        "entity_id": 7,
        "customer_email": "veronica@example.com",
        "note": f"token {shop.token} of veronica@example.com",
    }
    view = desk.get(f"/dashboard/runs/{runs.make(child, item=item)}")
    assert '"entity_id": 7' in view.text
    assert "veronica@example.com" not in view.html
    assert shop.token not in view.html


def test_what_comes_from_outside_is_text_and_nothing_else(desk, runs, child):
    evil = "<script>alert(1)</script>\"'><img src=x>"
    run = runs.make(child, RunState.failed, item={"x": evil}, error=evil, error_block=evil)
    sent = SENT.replace("https://vendor.example/orders", "javascript:alert(1)")
    runs.step(run, name=evil, input=sent, output=f'"{evil[:20]}"', error=evil)
    for path in (f"/dashboard/runs/{run}", "/dashboard/runs", "/dashboard/"):
        view = desk.get(path)
        assert "<script>alert" not in view.html
        assert "<img" not in view.html
        assert 'href="javascript' not in view.html


@pytest.mark.parametrize(
    ("state", "facts", "said"),
    [
        (RunState.queued, {"is_parked": True}, "An earlier run of the same workflow isn’t through"),
        (RunState.running, {}, "It is at step 1."),
        (RunState.waiting, {"next_at": now() + timedelta(hours=2)}, "It goes on"),
        (RunState.paused, {}, "The app refuses the credential."),
        (RunState.failed, {"error": "x answered 400."}, "It isn’t tried again by itself."),
        (RunState.filtered, {}, "That is no error."),
    ],
)
def test_each_state_says_what_happens_next(desk, runs, child, state, facts, said):
    view = desk.get(f"/dashboard/runs/{runs.make(child, state, **facts)}")
    assert said in view.text
    is_over = state in (RunState.failed, RunState.filtered)
    assert ("hx-trigger" in view.html) is not is_over
    assert ("Look again" in view.text) is not is_over
    assert ("Stop this run" in view.text) is not is_over
    assert ("Run again" in view.text) is is_over


def test_a_run_that_is_tried_again_says_when_and_can_have_it_at_once(desk, runs, child):
    run = runs.make(
        child, RunState.retrying, error="vendor.example answered 500.", error_block="Send the order", attempts=3,
        failing_since=now() - timedelta(minutes=3), next_at=now() + timedelta(minutes=4),
    )  # fmt: skip
    view = desk.get(f"/dashboard/runs/{run}")
    assert "Send the order: vendor.example answered 500." in view.text
    assert "Tried 3 times since" in view.text
    assert "It is tried again" in view.text
    leg = runs.see(run).leg
    assert "It is tried again in a moment." in desk.post(f"/dashboard/runs/{run}/try-now").text
    assert runs.see(run).leg == leg + 1
    assert "doesn’t wait for another attempt" in desk.post(f"/dashboard/runs/{run}/try-now").text


def test_only_what_changes_travels_while_a_run_is_looked_at(desk, runs, child):
    run = runs.make(child, RunState.running)
    answer = desk.client.get(f"/dashboard/runs/{run}", headers={"HX-Request": "true"})
    assert answer.text.strip().startswith('<div id="progress" hx-get=')
    assert "<h1" not in answer.text
    change(runs.app, sa.update(Run).values(state=RunState.succeeded, ended_at=now()))
    assert "hx-get" not in desk.client.get(f"/dashboard/runs/{run}", headers={"HX-Request": "true"}).text


def test_running_again_starts_a_run_with_the_same_item_and_both_name_each_other(desk, runs, child):
    first = runs.make(child, RunState.failed, item={"entity_id": 9}, error="It answered 400.")
    again = desk.post(f"/dashboard/runs/{first}/rerun")
    fresh = again.response.request.path.rpartition("/")[2]
    assert fresh != first
    assert '"entity_id": 9' in again.text
    assert f'href="/dashboard/runs/{first}"' in again.html
    assert f'href="/dashboard/runs/{fresh}"' in desk.get(f"/dashboard/runs/{first}").html
    assert runs.see(fresh).state is RunState.queued
    assert "run.rerun" in desk.get("/dashboard/audit").text


def test_a_workflow_that_is_not_active_runs_nothing_again_and_says_so(desk, runs, child):
    run = runs.make(child)
    desk.post(f"/dashboard/children/{child}/deactivate")
    assert "the workflow isn’t active. Activate it first." in desk.get(f"/dashboard/runs/{run}").text
    assert "activate it first" in desk.post(f"/dashboard/runs/{run}/rerun").text


def test_stopping_one_run_lets_the_next_one_begin(desk, runs, child):
    stuck = runs.make(child, RunState.retrying, next_at=now() + timedelta(minutes=5))
    behind = runs.make(child, RunState.queued, is_parked=True)
    leg = runs.see(behind).leg
    assert "stopped" in desk.post(f"/dashboard/runs/{stuck}/stop").text
    assert runs.see(stuck).state is RunState.cancelled
    woken = runs.see(behind)
    assert (woken.leg, woken.is_parked, woken.state) == (leg + 1, False, RunState.queued)
    assert "It ended before it could be stopped." in desk.post(f"/dashboard/runs/{stuck}/stop").text


def test_runs_are_filtered_in_the_address_and_paged(desk, runs, child, backend):
    failed = runs.make(child, RunState.failed, error="vendor.example answered 400.")
    for _ in range(51):
        runs.make(child)
    workflow = runs.see(failed).workflow_id
    view = desk.get("/dashboard/runs")
    assert rows(view) == 50
    after = re.search(r'href="([^"]+cursor=[^"]+)"', view.html)[1].replace("&amp;", "&")
    assert rows(desk.get(after)) == 2
    assert rows(desk.get(f"/dashboard/runs?state=failed&workflow={workflow}&user=ada@shop.example")) == 1
    assert "vendor.example answered 400." in desk.get("/dashboard/runs?state=failed&user=ada").text
    backend.post("/users", {"username": "ada"})
    assert "No run is like that." in desk.get("/dashboard/runs?user=ada").text
    for nothing in (
        "user=bob",
        f"workflow={'0' * 24}",
        f"since={now() + timedelta(days=1):%Y-%m-%dT%H:%M}",
        "state=queued",
    ):
        assert "No run is like that." in desk.get(f"/dashboard/runs?{nothing}").text
    assert rows(desk.get("/dashboard/runs?since=nonsense&state=nonsense")) == 50
    assert rows(desk.get(f"/dashboard/runs?since={now() - timedelta(days=1):%Y-%m-%dT%H:%M}")) == 50


def test_a_long_run_has_its_steps_on_pages(desk, runs, child):
    run = runs.make(child)
    for number in range(60):
        runs.step(run, number, name=f"Step {number + 1}", kind="map", output='{"a": 1}')
    view = desk.get(f"/dashboard/runs/{run}")
    assert "Steps 1 to 25 of 60" in view.text
    assert "Steps 26 to 50 of 60" in desk.get(f"/dashboard/runs/{run}?from=26").text
    assert "Steps 36 to 60 of 60" in desk.get(f"/dashboard/runs/{run}?from=36").text
    for odd in ("0", "-1", "x", "²", "9" * 30):
        desk.get(f"/dashboard/runs/{run}?from={odd}")


def test_runs_of_one_environment_are_not_there_in_the_other(desk, runs, child):
    run = runs.make(child, RunState.retrying, next_at=now() + timedelta(minutes=5))
    desk.post("/dashboard/environment", environment="development")
    assert "Nothing has run yet" in desk.get("/dashboard/runs").text
    desk.get(f"/dashboard/runs/{run}", status=404)
    desk.get(f"/dashboard/children/{child}", status=404)
    for path in (f"runs/{run}/rerun", f"runs/{run}/stop", f"runs/{run}/try-now", f"children/{child}/deactivate"):
        assert desk.post(f"/dashboard/{path}").status == 404, path
    assert runs.see(run).state is RunState.retrying
    assert "ada@shop.example" not in desk.get("/dashboard/").text


def test_who_may_only_read_is_offered_no_button(sign_in, runs, child):
    run = runs.make(child, RunState.failed, error="It answered 400.")
    page = sign_in(Role.viewer).get(f"/dashboard/runs/{run}")
    assert "Run again" not in page.text
    assert "Deactivate" not in sign_in(Role.viewer).get(f"/dashboard/children/{child}").text


def test_the_overview_names_runs_that_failed_and_accounts_that_are_refused(desk, runs, child, backend, app):
    run = runs.make(child, RunState.failed, error="vendor.example answered 400.")
    change(
        app, sa.update(Credential).values(broken_at=now(), broken_because="Magento no longer accepts the credential.")
    )
    view = desk.get("/dashboard/")
    assert f'href="/dashboard/runs/{run}"' in view.html
    assert "vendor.example answered 400." in view.text
    assert "Accounts that are refused" in view.text
    assert "Magento no longer accepts the credential." in view.text
    assert "Failed runs, 30 days" in view.text


def test_a_user_s_logs_are_deleted_when_the_name_is_typed_with_a_receipt(desk, runs, child, user, app):
    run = runs.make(child, item={"entity_id": 77})
    runs.step(run, input=SENT)
    refused = desk.post(f"/dashboard/users/{user}/delete-logs", **{"confirm-logs": "ada"})
    assert refused.status == 422
    done = desk.post(f"/dashboard/users/{user}/delete-logs", **{"confirm-logs": "ada@shop.example"})
    assert done.heading == "The logs are deleted"
    assert '"runs": 1' in done.text
    assert '"steps": 1' in done.text
    desk.get(f"/dashboard/runs/{run}", status=404)
    assert "user.logs_deleted" in desk.get("/dashboard/audit").text
    desk.get(f"/dashboard/users/{user}")


def test_deleting_logs_wants_a_fresh_sign_in(desk, runs, child, user, app):
    run = runs.make(child)
    change(app, sa.update(OperatorSession).values(proved_at=now() - timedelta(hours=1)))
    assert desk.post(f"/dashboard/users/{user}/delete-logs", **{"confirm-logs": "ada@shop.example"}).status == 403
    assert runs.see(run)
