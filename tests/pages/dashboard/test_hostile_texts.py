"""Texts that others write (users, shops, endpoints, browsers) are text on every page, wherever they turn up."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from portal.api_keys.models import ApiKey
from portal.credentials.models import Credential
from portal.db import transaction
from portal.events.models import Delivery, DeliveryAttempt, Endpoint
from portal.integrations.models import Integration
from portal.links.models import FailedTry, Link
from portal.operators.models import OperatorSession, Passkey
from portal.runs.models import Run, RunStep
from portal.tasks.models import Task
from portal.users.models import User
from portal.workflows.models import Workflow
from tests.backend import change
from tests.install_page import InstallPage
from tests.pages.dashboard.test_roles import NEEDS

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)</script><!--"
FILTERS = ("user", "state", "back", "since", "actor", "redirect_url", "fill-magento-store_url")
WRITTEN = [
    (User, ("username", "full_name")),
    (Credential, ("account", "broken_because")),
    (FailedTry, ("message", "field", "app", "reason")),
    (Delivery, ("url",)),
    (DeliveryAttempt, ("answer", "problem")),
    (Endpoint, ("name",)),
    (OperatorSession, ("browser",)),
    (Passkey, ("name",)),
    (ApiKey, ("name", "prefix")),
    (Task, ("title", "outcome", "error")),
    (Run, ("error", "error_block")),
    (RunStep, ("name", "error", "input", "output")),
    (Integration, ("name",)),
    (Workflow, ("name", "description")),
    (Link, ("redirect_url", "locale")),
]


@pytest.fixture
def written_all_over(desk, user, integration, install, backend, make_link, app, shop):
    """The ids of things whose every text is hostile."""
    installation = install(integration)
    page = InstallPage(app, link := make_link())
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token="wrong").finish()
    backend.post("/run/workflow", {"userId": user, "workflowName": "Stream new orders", "data": {"a": EVIL}})
    child = re.search(r"/dashboard/children/([0-9a-f]{24})", desk.get(f"/dashboard/installations/{installation}").html)
    task = desk.post(f"/dashboard/users/{user}/export").response.request.path.rpartition("/")[2]
    trial = desk.post("/dashboard/endpoints/documented-production/test").response.request.path.rpartition("/")[2]
    with app.app_context(), transaction() as session:
        run = session.scalar(sa.select(Run.id))
    for model, names in WRITTEN:
        change(app, sa.update(model).values(dict.fromkeys(names, EVIL)))
    return {
        "user": user,
        "integration": integration,
        "installation": installation,
        "link": link.id,
        "child": child[1],
        "event": trial,
        "endpoint_id": "documented-production",
        "run": run,
        "task": task,
    }


def test_no_page_takes_a_text_for_markup(desk, written_all_over, app):
    seen = 0
    for (method, rule), needed in NEEDS.items():
        if method != "GET" or needed is None or rule.endswith("/file"):
            continue
        at = re.sub(r"<(\w+)>", lambda part: written_all_over.get(part[1], "x"), rule)
        asked = dict.fromkeys(FILTERS, EVIL)
        for page in (desk.client.get(at, query_string=asked), desk.client.get(at, follow_redirects=True)):
            assert page.status_code < 500, at
            assert "<img src=x" not in page.text, at
            assert "<script>alert" not in page.text, at
            assert not re.search(r'(href|src|action)="\s*javascript:', page.text), at
            seen += page.text.count("&lt;img src=x")
    assert seen > 30  # they were there
