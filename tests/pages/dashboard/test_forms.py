"""What was typed wrong is said at its field, on the page where it was typed, with everything else kept."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from portal.api_keys.models import ApiKey
from portal.db import transaction
from portal.events.models import Endpoint
from portal.operators.models import Operator, Passkey, Role
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


def test_every_button_that_destroys_says_beside_it_what_it_will_do(
    desk, sign_in, app, user, integration, install, backend
):
    installation = install(integration)
    link = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    page = desk.get(f"/dashboard/installations/{installation}").html
    child = re.search(r"/dashboard/children/[0-9a-f]{24}", page)[0]
    endpoint = desk.post("/dashboard/endpoints", name="hooks", url="http://10.0.0.7/").response.request.path
    sign_in()  # a second browser
    with app.app_context(), transaction() as session:
        operator = session.scalars(sa.select(Operator.id)).one()
        session.add(Passkey(operator_id=operator, credential_id=b"c", public_key=b"k", sign_count=0, name="laptop"))
    pages = {
        "/dashboard/api-keys": "is refused from that moment",
        "/dashboard/sessions": "asks for a sign-in",
        f"/dashboard/installations/{installation}": "Connected accounts stay",
        child: "with every run that isn’t through",
        endpoint: "what waits for it is given up",
        f"/dashboard/links/{link}": "withdrawn",
        f"/dashboard/users/{user}": "with every link, credential, installation and export",
    }
    for path, says in pages.items():
        view = desk.get(path)
        assert says in view.text
        buttons = re.findall(
            r'<button type="submit" class="danger"[^>]*>([^<]*)</button>(<span class="hint">)?', view.html
        )
        assert buttons, path
        # The forms that delete a user or logs say it in a paragraph above.
        assert all(hint or text.startswith("Delete ") for text, hint in buttons), (path, buttons)


def test_settings_and_every_page_lead_to_the_endpoints(desk, sign_in):
    for reader in (desk, sign_in(Role.viewer)):
        main = reader.get("/dashboard/settings").html.partition("<main")[2]
        assert main.index('href="/dashboard/endpoints"') < main.index("<h2")
        assert 'href="/dashboard/endpoints">Endpoints</a></li>' in reader.get("/dashboard").html
