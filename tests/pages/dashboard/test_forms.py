"""What was typed wrong is said at its field, on the page where it was typed, with everything else kept."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from portal.api_keys.models import ApiKey
from portal.db import transaction
from portal.events.models import Endpoint
from portal.tasks.models import Task
from portal.users.models import User


def count(app, table):
    with app.app_context(), transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table))


def assert_said(view, name, sentence, heading):
    """The error stands at this field alone, where the reader's cursor is, and the title says that there is one."""
    assert view.status == 422
    assert view.heading == heading
    assert view.dom.title.startswith("Error: ")
    assert sentence in view.error_at(name)
    assert view.autofocused == name
    field = view.inputs[name]
    assert field["aria-invalid"] == "true"
    assert f"{name}-error" in field["aria-describedby"].split()
    assert sum("aria-invalid" in facts for _, facts in view.dom.tags) == 1


@pytest.mark.parametrize(("deed", "name"), [("delete", "confirm"), ("delete-logs", "confirm-logs")])
def test_a_name_that_is_typed_wrong_deletes_nothing_and_can_be_mended(desk, user, app, deed, name):
    for typed in ("", "ada", "ADA@shop.example"):
        view = desk.post(f"/dashboard/users/{user}/{deed}", **{name: typed})
        assert_said(view, name, "Type the username exactly as it stands here: ada@shop.example.", "ada@shop.example")
        assert view.inputs[name]["value"] == typed
        assert f"/dashboard/users/{user}/{deed}" in view.html
        assert sum(tag == "details" and "open" in facts for tag, facts in view.dom.tags) == 1
    assert count(app, User) == 1


@pytest.mark.parametrize(
    ("typed", "name", "sentence"),
    [
        ({"username": "ada@shop.example", "full_name": "Other Ada"}, "username", "There is a user “ada@shop.example”"),
        ({"username": "", "full_name": "Ada"}, "username", "A username has 1 to 255 visible characters"),
        ({"username": "bob@shop.example", "full_name": "B\u202eb"}, "full_name", "A full name has at most 255"),
    ],
)
def test_a_user_who_can_not_be_made(desk, user, app, typed, name, sentence):
    view = desk.post("/dashboard/users", **typed)
    assert_said(view, name, sentence, "Users")
    assert {key: view.inputs[key]["value"] for key in typed} == typed
    assert count(app, User) == 1


@pytest.mark.parametrize("name", ["", " ", "x" * 121, "a\u202eb"])
def test_a_key_without_a_name_that_can_be_read(desk, app, name):
    view = desk.post("/dashboard/api-keys", name=name)
    assert_said(view, "name", "A key's name has 1 to 120 visible characters", "API keys")
    assert view.inputs["name"]["value"] == name
    assert "portal_live_" not in view.html
    assert count(app, ApiKey) == 0


@pytest.mark.parametrize("since", ["", "yesterday", "2026-13-01T00:00"])
def test_a_moment_that_is_none(desk, app, since):
    view = desk.post("/dashboard/events", since=since, endpoint="documented-production")
    assert_said(view, "since", "Say since when", "Events")
    assert view.inputs["since"]["value"] == since
    assert 'value="documented-production" selected' in view.html
    assert count(app, Task) == 0


@pytest.mark.parametrize(
    ("typed", "name", "sentence"),
    [
        ({"name": "", "url": "https://hooks.example/x"}, "name", "A name has 1 to 120 visible characters"),
        ({"name": "billing", "url": "hooks"}, "url", "Type the whole address"),
        ({"name": "billing", "url": "https://a:b@hooks.example/"}, "url", "can’t hold a name or password"),
    ],
)
def test_an_endpoint_that_can_not_be(desk, app, typed, name, sentence):
    before = count(app, Endpoint)
    view = desk.post("/dashboard/endpoints", **typed, kind="link.opened")
    assert_said(view, name, sentence, "Endpoints")
    assert {key: view.inputs[key]["value"] for key in typed} == typed
    assert 'value="link.opened" checked' in view.html
    assert count(app, Endpoint) == before
