"""What an address names by an id is of the environment that the dashboard shows, on every route there is."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from portal.api_keys.models import ApiKey
from portal.db import transaction
from portal.environments import Environment
from portal.events.models import Delivery
from portal.runs.models import Run
from portal.tasks.models import Task
from tests.backend import data
from tests.pages.dashboard.test_roles import NEEDS, NOBODY

DEEDS = ("activate", "deactivate", "upgrade", "ask", "remove")
# Not one environment's: integrations and settings are of both, sessions and passkeys are an operator's own.
SHARED = {"integration", "name", "session_id", "passkey", "deed"}
OWN_TRACES = re.compile(r'INSERT INTO "?(audit_entries|operator_sessions|invitations|passkey_challenges)\b')


@pytest.fixture
def elsewhere(desk, user, integration, install, backend, app):
    """The id of one of each kind of thing in production, while the desk shows development."""
    installation = install(integration)
    link = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    backend.post("/run/workflow", {"userId": user, "workflowName": "Stream new orders", "data": {"a": 1}})
    child = re.search(r"/dashboard/children/([0-9a-f]{24})", desk.get(f"/dashboard/installations/{installation}").html)
    desk.post(f"/dashboard/users/{user}/export")
    with app.app_context(), transaction(Environment.production) as session:
        found = {
            "user": user,
            "installation": installation,
            "link": link,
            "child": child[1],
            "event": backend.get("/events")["data"][0]["eventId"],
            "endpoint_id": "documented-production",
            "run": session.scalar(sa.select(Run.id)),
            "task": session.scalar(sa.select(Task.id)),
            "delivery": session.scalar(sa.select(Delivery.id)),
            "key": session.scalar(sa.select(ApiKey.id)),
        }
    assert all(found.values())
    desk.post("/dashboard/environment", environment="development")
    return found


def parts_of(rule):
    return set(re.findall(r"<(\w+)>", rule))


def fill(rule, ids):
    return re.sub(r"<(\w+)>", lambda part: ids.get(part[1], "x"), rule)


def kept(app):
    return [line for line in data(app).splitlines() if not OWN_TRACES.match(line)]


def test_every_kind_of_id_has_its_example(elsewhere):
    named = set().union(*(parts_of(rule) for _, rule in NEEDS))
    assert named - SHARED == set(elsewhere)


def test_no_route_shows_or_changes_what_is_in_the_other_environment(desk, elsewhere, app):
    before = kept(app)
    for (method, rule), needed in NEEDS.items():
        if needed is NOBODY or not parts_of(rule) & set(elsewhere):
            continue
        for deed in DEEDS if "<deed>" in rule else ("",):
            at = fill(rule, {**elsewhere, "deed": deed})
            facts = {"csrf": desk.csrf, "confirm": "ada@shop.example", "confirm-logs": "ada@shop.example"}
            answer = desk.client.open(at, method=method, data=facts if method == "POST" else None)
            assert answer.status_code == 404, (method, at, answer.status_code)
            assert "ada@shop.example" not in answer.text
    assert kept(app) == before


def test_no_list_that_is_filtered_by_an_id_shows_what_is_in_the_other_environment(desk, elsewhere, integration):
    for at in ("links", "installations", "users", "runs", "events", "tasks", "api-keys"):
        for asked in (
            {},
            {"user": "ada", "integration": integration},
            {"endpoint": elsewhere["endpoint_id"]},
            {"workflow": "x", "user": "ada@shop.example"},
        ):
            page = desk.client.get(f"/dashboard/{at}", query_string=asked).text
            assert not any(name in page for part, name in elsewhere.items() if part != "endpoint_id"), (at, asked)


def test_nothing_of_the_other_environment_can_be_named_in_a_form(desk, elsewhere, integration, app):
    before = kept(app)
    share = f"/dashboard/integrations/{integration}/share"
    workflows = re.findall(r'name="workflow" value="([0-9a-f]+)"', desk.get(share).html)
    for facts in (
        {"user": elsewhere["user"], "workflow": workflows},
        {"user": "ada@shop.example", "workflow": workflows},
        {"who": "new", "email": "new@shop.example", "workflow": workflows, "instead_of": elsewhere["link"]},
    ):
        assert desk.post(share, **facts).status in (404, 422), facts
    assert desk.post("/dashboard/events", since="30d", endpoint=elsewhere["endpoint_id"]).status == 404
    assert kept(app) == before
