"""Why nothing is happening, for one user's copy of a workflow; starting, stopping and upgrading it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.credentials.models import Credential, InstallationCredential
from portal.db import transaction
from portal.runs import rules
from portal.runs.models import Run, RunState
from portal.triggers.models import Hook, Watch
from portal.workflows.models import ChildWorkflow
from tests.backend import WITH_FIELDS, change, link_in
from tests.install_page import View
from tests.pages.dashboard.runs import Runs

HOOKED = """
name: Orders by webhook
apps: [sandbox]
workflows: [{name: Take orders, description: Take each order., trigger: {webhook: order_placed}}]
"""
NESTED = """
name: Lines
apps: [magento, sandbox]
workflows:
  - name: Send each line
    description: Send each line of an order.
    trigger: {poll: order_created, app: magento}
    steps:
      - {name: Only large orders of customers who bought before and pay by card, filter: "${ trigger.total }"}
      - name: Each line
        for_each:
          in: "${ trigger.items }"
          steps:
            - {name: Note it, app: sandbox, request: {post: /V1/notes, body: "${ item }"}}
      - {delay: 5m}
"""


@pytest.fixture
def runs(app):
    return Runs(app)


@pytest.fixture
def child(runs, integration, install):
    """A copy of the demo's workflow, which polls."""
    return runs.child(install(integration))


def why(desk, child):
    return desk.get(f"/dashboard/children/{child}")


def of(child, **values):
    return sa.update(ChildWorkflow).where(ChildWorkflow.id == child).values(**values)


def watched(child, **values):
    return sa.update(Watch).where(Watch.child_id == child).values(**values)


def test_a_workflow_that_has_just_begun_says_so_and_then_that_there_is_nothing_new(desk, child, app):
    assert "Magento is asked for the first time in a moment." in why(desk, child).text
    change(app, watched(child, asked_at=now(), next_at=now() + timedelta(seconds=50)))
    view = why(desk, child)
    assert "has had nothing new since" in view.text
    assert "Last asked" in view.text
    change(app, watched(child, found_at=now()))
    assert "the newest item was found" in why(desk, child).text


def test_an_app_that_does_not_answer_is_quoted_with_the_next_time_it_is_asked(desk, child, app):
    change(app, watched(child, asked_at=now(), failures=3, error="luma.example refused the connection.",
                        next_at=now() + timedelta(minutes=4)))  # fmt: skip
    view = why(desk, child)
    assert "Why is nothing happening?" in view.text
    assert "3 times in a row without success: luma.example refused the connection." in view.text
    assert "Nothing is lost meanwhile" in view.text


def test_a_refused_account_says_since_when_and_leads_to_a_new_link(desk, child, app):
    because = "Magento no longer accepts the credential (it answered 401)."
    change(app, of(child, paused_at=now(), paused_because=because))
    change(app, watched(child, next_at=None))
    view = why(desk, child)
    assert f"It has been paused since {now().day}" in view.text
    assert because in view.text
    share = re.search(r'href="([^"]+/share\?[^"]+)">Send the user a new link', view.html)[1].replace("&amp;", "&")
    assert 'value="ada@shop.example"' in desk.get(share).html
    assert "Everything is fine" in desk.post(f"/dashboard/children/{child}/activate").text


def test_a_run_that_holds_up_the_others_is_named(desk, child, app, runs):
    stuck = runs.make(
        child, RunState.retrying, error="vendor.example answered 500.", next_at=now() + timedelta(minutes=2)
    )
    runs.make(child, RunState.queued, is_parked=True)
    view = why(desk, child)
    assert "is tried again and again, and 1 more waits behind it: vendor.example answered 500." in view.text
    assert f'<a href="/dashboard/runs/{stuck}">One run</a>' in view.html


def test_a_child_that_has_enough_to_do_says_that_it_takes_no_more_for_now(desk, child, app, runs, monkeypatch):
    monkeypatch.setattr(rules, "MOST_AHEAD", 3)
    begun = [runs.make(child, RunState.queued) for _ in range(3)]
    view = why(desk, child)
    assert "Why is nothing happening?" in view.text
    assert "3 runs wait for their turn, so Magento is not asked for more until some of them are through." in view.text
    assert "Nothing is lost meanwhile" in view.text
    run_is = sa.update(Run).where(Run.id == begun[0])
    change(app, run_is.values(state=RunState.retrying, error="vendor.example answered 500.", next_at=now()))
    view = why(desk, child)
    assert "is tried again and again, and 2 more wait behind it" in view.text
    assert "so Magento is not asked for more" in view.text
    change(app, sa.update(Run).where(Run.id.in_(begun)).values(state=RunState.waiting))
    assert "so Magento is not asked for more" not in why(desk, child).text


def test_a_webhook_that_is_put_off_says_so(desk, apply, install, runs, app, monkeypatch):
    monkeypatch.setattr(rules, "MOST_AHEAD", 1)
    child = runs.child(install(apply(HOOKED).id, "sandbox"))
    runs.make(child, RunState.queued)
    assert "1 run waits for its turn, so webhooks of Sandbox shop are put off" in why(desk, child).text


def test_an_engine_that_does_not_run_is_told_from_a_quiet_app(desk, child, app):
    change(app, watched(child, next_at=now() - timedelta(minutes=10)))
    assert "the background engine seems not to be running" in why(desk, child).text


def test_a_missing_credential_and_an_inactive_or_removed_copy_say_what_to_do(desk, child, app):
    change(app, sa.delete(InstallationCredential))
    assert "There is no credential for Magento." in why(desk, child).text
    change(app, of(child, is_active=False))
    assert "It is not active, so it takes nothing. Press Activate" in why(desk, child).text
    change(app, of(child, removed_at=now()))
    view = why(desk, child)
    assert "It was uninstalled" in view.text
    assert "What to do" not in view.text


def test_a_webhook_says_whether_it_is_registered_and_what_came(desk, apply, install, runs, app):
    child = runs.child(install(apply(HOOKED).id, "sandbox"))
    assert "Sandbox shop has told nothing yet." in why(desk, child).text
    change(app, sa.update(Hook).values(error="127.0.0.1 answered 500."))
    assert "could not be registered at Sandbox shop: 127.0.0.1 answered 500." in why(desk, child).text
    change(app, sa.update(Hook).values(error=None, registered_at=now(), received_at=now()))
    view = why(desk, child)
    assert "Sandbox shop last told something" in view.text
    assert "registered " in view.text


def test_deactivating_names_the_runs_that_were_under_way(desk, child, runs, app):
    run = runs.make(child, RunState.retrying, next_at=now() + timedelta(minutes=2))
    stopped = desk.post(f"/dashboard/children/{child}/deactivate")
    assert stopped.heading == "It is stopped"
    assert "1 run was under way." in stopped.text
    assert f'href="/dashboard/runs/{run}"' in stopped.html
    assert runs.see(run).state is RunState.cancelled
    assert "It is not active" in desk.post(f"/dashboard/children/{child}/deactivate").text
    assert "workflow.deactivate" in desk.get("/dashboard/audit").text


def test_an_installation_names_what_was_under_way_when_it_is_stopped_or_removed(desk, child, runs, app):
    with app.app_context(), transaction() as session:
        installation = session.get_one(ChildWorkflow, child).installation_id
    assert f'href="/dashboard/children/{child}"' in desk.get(f"/dashboard/installations/{installation}").html
    run = runs.make(child, RunState.running)
    assert f'href="/dashboard/runs/{run}"' in desk.post(f"/dashboard/installations/{installation}/deactivate").html
    desk.post(f"/dashboard/installations/{installation}/activate")
    run = runs.make(child, RunState.running)
    assert f'href="/dashboard/runs/{run}"' in desk.post(f"/dashboard/installations/{installation}/remove").html


@pytest.fixture
def asked(runs, asking, install, apply):
    """A copy whose parent has a newer version that asks for one more thing."""
    workflow = asking.workflows[0].id
    child = runs.child(
        install(asking.id, "sandbox", data=[{"workflowId": workflow, "fields": [{"name": "ledger", "value": "main"}]}])
    )
    apply(WITH_FIELDS.replace("    fields:\n", "    fields:\n      - {name: region, title: Region, required: true}\n"))
    return child


def test_an_upgrade_that_asks_for_more_offers_a_link_that_asks_for_that_alone(desk, asked, app, runs):
    view = why(desk, asked)
    assert "Version 2 asks for Region, so it can’t be upgraded without the user’s answer." in view.text
    assert desk.post(f"/dashboard/children/{asked}/upgrade").status == 409
    made = desk.post(f"/dashboard/children/{asked}/ask")
    assert made.heading == "The link is ready"
    url = link_in(made)
    page = View(app.test_client().get(url))
    assert "Connected as Luma Store" in page.text
    shown = {
        name for name in page.inputs if not name.startswith(("token", "integrationId", "forge", "always", "press"))
    }
    assert [name.rpartition("-")[2] for name in shown] == ["region"]
    (field,) = shown
    hidden = {name: page.inputs[name].get("value", "") for name in set(page.inputs) - shown}
    missing = View(app.test_client().post("/embedded-install", data={**hidden, field: "", "action": "finish"}))
    assert missing.status == 422
    done = View(app.test_client().post("/embedded-install", data={**hidden, field: "north", "action": "finish"}))
    assert done.heading == "Sandbox shop is connected"
    with app.app_context(), transaction() as session:
        child = session.get_one(ChildWorkflow, asked)
        assert child.version.number == 2
        assert child.values == {"ledger": "main", "region": "north"}
        assert child.is_active
    assert "Make a link that asks" not in why(desk, asked).text


def test_a_link_that_asks_for_what_is_new_asks_for_credentials_only_when_they_no_longer_work(desk, asked, app, shop):
    url = link_in(desk.post(f"/dashboard/children/{asked}/ask"))
    with app.app_context(), transaction() as session:
        keys, row = app.extensions["keys"], session.scalars(sa.select(Credential)).one()
        row.sealed = keys.seal(f'{{"store_url": "{shop.url}", "access_token": "old"}}'.encode(), row.id)
        row.tested_at = now() - timedelta(hours=1)
    page = View(app.test_client().get(url))
    assert "Connected as" not in page.text
    assert "sandbox-access_token" in page.inputs


def test_an_installation_offers_the_same_link_for_all_of_it(desk, asked, app):
    with app.app_context(), transaction() as session:
        installation = session.get_one(ChildWorkflow, asked).installation_id
    assert "asks for Region" in desk.get(f"/dashboard/installations/{installation}").text
    assert desk.post(f"/dashboard/installations/{installation}/ask").heading == "The link is ready"


def test_a_workflow_is_drawn_and_told_as_text(desk, apply):
    view = desk.get(f"/dashboard/integrations/{apply(NESTED).id}")
    assert view.html.count('<rect class="box"') == 5
    assert view.html.count('<rect class="loop"') == 1
    told = re.search(r'<ol class="as-text">(.*?)</ol>', view.html, re.S)[1]
    assert "order created: asks the app (Magento)" in told
    assert '<li data-depth="1"><span class="visually-hidden">In the loop: </span>Note it: sends a request' in told
    assert "Step 3: waits" in told
    assert "Only large orders of customers" in view.html
