"""Every list: its order and filters in the address, pages by cursor, and an index behind each question."""

from __future__ import annotations

import html
import json
import re
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from portal.api_keys.rules import create_api_key
from portal.attention import deliveries, figures, what_needs_attention
from portal.attention.links import who_waits
from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.events.endpoints import add_endpoint, find_endpoint
from portal.events.models import Delivery, DeliveryState, documented_id
from portal.events.rules import announce, send_test_event
from portal.installations.finding import MOST_COUNTED
from portal.installations.models import Installation, InstallationCredential, InstallationDay
from portal.integrations.models import Integration
from portal.links.finding import NEWEST, last_failures
from portal.links.models import Link
from portal.operators.models import Operator
from portal.operators.rules import start_session
from portal.tasks.rules import start_task
from portal.users.export import EXPORT
from portal.users.models import User
from portal.users.rules import look_up_user, search_users
from tests.backend import change
from tests.install_page import InstallPage

# What of the address is asked for, and the index that answers it on SQLite.
QUESTIONS = {
    "links": "ix_links_made",
    "links?order=oldest": "ix_links_made",
    "links?order=soonest": "ix_links_until",
    "links?order=latest": "ix_links_until",
    "links?integration=x": "ix_links_made_of_integration",
    "links?integration=x&order=latest": "ix_links_until_of_integration",
    **{f"links?state={state}": f"ix_links_{state}" for state in ("created", "opened", "verified")},
    **{f"links?state={state}": f"ix_links_{state}" for state in ("finished", "revoked", "expired")},
    "links?state=opened&integration=x": "ix_links_opened_of_integration",
    "links?state=expired&integration=x&order=soonest": "ix_links_expired_of_integration",
    "links?state=finished&integration=x&order=oldest": "ix_links_finished_of_integration",
    "links?user=ada": "ix_links_made_for_user",
    "links?user=ada&order=oldest": "ix_links_made_for_user",
    "links?user=ada&state=created": "ix_links_made_for_user",
    "links?user=ada&integration=x": "ix_links_made_for_user",
    "links?state=asked": "ix_links_requested",
    "links?state=asked&order=oldest": "ix_links_requested",
    "links?state=asked&integration=x": "ix_links_requested_of_integration",
    "users": "ix_users_environment_created_at_id",
    "users?order=a-z": "ix_users_environment_small_username_id",
    "users?user=Ada&order=z-a": "ix_users_environment_small_username_id",
    "installations": "ix_installations_standing",
    "installations?order=oldest": "ix_installations_standing",
    "installations?state=stopped": "ix_installations_state",
    "installations?integration=x": "ix_installations_integration",
    "installations?integration=x&state=running": "ix_installations_integration_state",
    "installations?user=ada": "ix_installations_of_user",
    "runs": "ix_runs_environment_created_at_id",
    "runs?order=oldest": "ix_runs_environment_created_at_id",
    "runs?state=failed": "ix_runs_environment_state_created_at_id",
    "runs?workflow=x": "ix_runs_environment_workflow_id_created_at_id",
    "runs?workflow=x&state=failed&order=oldest": "ix_runs_environment_workflow_id_state_created_at_id",
    "runs?user=ada": "ix_runs_user_id_created_at_id",
    "runs?user=ada&since=20260101&order=oldest": "ix_runs_user_id_created_at_id",
    "runs?user=ada&state=failed": "ix_runs_user_id_state_created_at_id",
    "runs?user=ada&workflow=x": "ix_runs_user_id_workflow_id_created_at_id",
    "runs?user=ada&workflow=x&state=failed": "ix_runs_user_id_workflow_id_state_created_at_id",
    "runs?since=20260101": "ix_runs_environment_created_at_id",
    "events": "ix_events_environment_created_at_id",
    "events?order=oldest": "ix_events_environment_created_at_id",
    "events?kind=link.failed": "ix_events_environment_type_created_at_id",
    "events?state=delivered": "ix_deliveries_environment_state_created_at_id",
    "events?state=given_up&order=oldest": "ix_deliveries_environment_state_created_at_id",
    "events?state=pending&kind=link.failed": "ix_deliveries_environment_state_type_created_at_id",
    "events?endpoint=documented-production": "ix_deliveries_endpoint_id_created_at_id",
    "events?endpoint=documented-production&kind=link.failed": "ix_deliveries_endpoint_id_type_created_at_id",
    "events?endpoint=documented-production&state=delivered": "ix_deliveries_endpoint_id_state_created_at_id",
    "events?endpoint=documented-production&state=delivered&kind=test": (
        "ix_deliveries_endpoint_id_state_type_created_at_id"
    ),
    "audit": "ix_audit_entries_at_id",
    "audit?since=2026-01-01&until=2026-01-02": "ix_audit_entries_at_id",
    "audit?actor=a": "ix_audit_entries_actor_at_id",
    "audit?action=a": "ix_audit_entries_action_at_id",
    "audit?actor=a&action=a&since=2026-01-01&order=oldest": "ix_audit_entries_actor_action_at_id",
    "api-keys": "ix_api_keys_environment_created_at_id",
    "api-keys?order=a-z": "ix_api_keys_environment_name_id",
    "api-keys?state=in_use": "ix_api_keys_in_use",
    "api-keys?state=revoked&order=oldest": "ix_api_keys_revoked",
    "tasks": "ix_tasks_environment_asked_by_created_at_id",
    "endpoints": "ix_endpoints_environment_created_at_id",
    "endpoints?order=z-a": "ix_endpoints_environment_name_id",
    "sessions": "ix_operator_sessions_seen",
    "integrations": "sqlite_autoindex_integrations_2",
}
TABLES = {"audit": "audit_entries", "api-keys": "api_keys", "sessions": "operator_sessions"}
# A table that has a row for each user, link or event of a portal; the others stay small.
LARGE = (
    "users|links|failed_tries|credentials|installations|installation_credentials|child_workflows|events|deliveries|runs"
    "|api_keys|tasks|operator_sessions"
)


@pytest.fixture
def plans(app):
    """The plan of every SELECT that was asked since, by its first table."""
    told = []

    def note(connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT"):
            cursor = connection.connection.driver_connection.cursor()
            rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            told.append((re.search(r"FROM (\w+)", statement)[1], [row[3] for row in rows]))

    engine = app.extensions["database"].engine
    event.listen(engine, "before_cursor_execute", note)
    yield told
    event.remove(engine, "before_cursor_execute", note)


def reads_all(plan: list[str]) -> list[str]:
    return [step for step in plan if re.match(rf"SCAN ({LARGE}|delivery_attempts)\b", step)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_list_reads_or_sorts_a_whole_table(desk, user, plans, question):
    at = urlsafe_b64encode(json.dumps([now().isoformat(), "f" * 24]).encode()).decode().rstrip("=")
    name = urlsafe_b64encode(json.dumps(["ada", "f" * 24]).encode()).decode().rstrip("=")
    is_by_name = question.endswith(("a-z", "z-a")) or question.startswith(("users?user", "integrations"))
    for cursor in ("", name if is_by_name else at):
        plans.clear()
        desk.get(f"/dashboard/{question}{'&' if '?' in question else '?'}{f'cursor={cursor}' if cursor else ''}")
        page = question.partition("?")[0]
        table = "deliveries" if "deliveries" in QUESTIONS[question] else TABLES.get(page, page)
        plan = next(steps for first, steps in plans if first == table and any(QUESTIONS[question] in s for s in steps))
        assert re.search(rf"USING (COVERING )?INDEX {QUESTIONS[question]}( |$)", plan[0]), plan
        assert not any(reads_all(steps) for _, steps in plans), plans
        assert not any("TEMP B-TREE" in step for step in plan), plan


def test_no_question_of_the_overview_reads_a_whole_table(app, plans):
    with app.app_context(), transaction(Environment.production) as session:
        what_needs_attention(session, now())
        figures.count_everything(session, now())
        figures.installations_by_day(session, now())
        search_users(session, "Ada", 8)
        look_up_user(session, "Ada")
        last_failures(session, ["f" * 24, "e" * 24])
        who_waits(session, [Link(id="f" * 24, requested_at=now())])
    assert len(plans) > 13
    for _, plan in plans:
        assert reads_all(plan) == []
        assert all("INDEX" in step or "PRIMARY KEY" in step for step in plan if step.startswith("SEARCH")), plan


def test_what_is_one_user_s_is_found_by_the_user_and_never_by_the_indexes_of_lists(desk, app, link, shop, plans):
    page = InstallPage(app, link)
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token)
    assert page.finish().status == 200
    desk.get(f"/dashboard/users/{link.user_id}")
    assert app.test_client().get("/embedded-install", query_string=link.query).status_code == 410
    lookups = [plan[0] for table, plan in plans if table in ("installations", "links", "credentials")]
    assert len(lookups) > 8
    assert all(re.search(r"\((user_id|id|token_hash)=\?", step) for step in lookups), lookups


FIRST = r'<td data-label="[A-Z]\w+"><a [^>]*>([^<]+)</a>'


def ordered(desk, path: str, cell: str = FIRST) -> list[str]:
    """The first cells of every page, one after the other."""
    seen = []
    while path:
        view = desk.get(path)
        seen += re.findall(cell, view.html)
        found = re.search(r'<a href="([^"]+)">Next page', view.html)
        path = html.unescape(found[1]) if found else ""
    return seen


def test_users_are_sorted_by_name_and_time_over_all_pages(desk, app):
    names = [f"{'b' if n % 2 else 'A'}{n:03}" for n in range(120)]
    with app.app_context(), transaction(Environment.production) as session:
        made = [User(username=name, created_at=now() - timedelta(minutes=n)) for n, name in enumerate(names)]
        session.add_all(made)
    assert ordered(desk, "/dashboard/users") == names
    assert ordered(desk, "/dashboard/users?order=oldest") == names[::-1]
    assert ordered(desk, "/dashboard/users?order=a-z") == sorted(names)
    assert ordered(desk, "/dashboard/users?order=z-a") == sorted(names, reverse=True)
    assert ordered(desk, "/dashboard/users?user=B0&order=z-a") == sorted(
        (name for name in names if name.startswith("b0")), reverse=True
    )


def test_rows_of_the_same_moment_are_each_on_one_page(desk, app):
    at = now()
    with app.app_context(), transaction(Environment.production) as session:
        session.add_all(User(username=f"same{n:03}", created_at=at) for n in range(130))
    seen = ordered(desk, "/dashboard/users")
    assert len(seen) == len(set(seen)) == 130


def test_the_oldest_of_many_keys_is_found_and_can_be_revoked(desk, app):
    with app.app_context(), transaction(Environment.production) as session:
        keys = [
            create_api_key(session, f"key {n:03}", environment=Environment.production, now=now())[0] for n in range(210)
        ]
        for n, key in enumerate(keys):
            key.created_at = now() - timedelta(minutes=n)
        oldest = keys[-1].id
    names = [f"key {n:03}" for n in range(210)]
    assert shown_keys(desk, "/dashboard/api-keys") == names
    assert shown_keys(desk, "/dashboard/api-keys?order=oldest") == names[::-1]
    assert shown_keys(desk, "/dashboard/api-keys?order=z-a") == names[::-1]
    desk.post(f"/dashboard/api-keys/{oldest}/revoke")
    assert shown_keys(desk, "/dashboard/api-keys?state=revoked") == names[-1:]
    assert shown_keys(desk, "/dashboard/api-keys?state=in_use") == names[:-1]
    desk.post("/dashboard/environment", environment="development")
    assert "There are none in development." in desk.get("/dashboard/api-keys").text
    assert "No key is like that. Show all keys." in desk.get("/dashboard/api-keys?state=revoked").text


def shown_keys(desk, path: str) -> list[str]:
    return ordered(desk, path, r'<td data-label="Name">([^<]+)<')


def test_everything_that_somebody_asked_for_is_listed_and_nobody_else_s(desk, app, sign_in):
    with app.app_context(), transaction(Environment.production) as session:
        for n in range(120):
            start_task(
                session, EXPORT, title=f"Task {n:03}", asked_by=desk.email, now=now() - timedelta(minutes=n), params={}
            )
    titles = [f"Task {n:03}" for n in range(120)]
    assert ordered(desk, "/dashboard/tasks") == titles
    assert ordered(desk, "/dashboard/tasks?order=oldest") == titles[::-1]
    assert ordered(sign_in(email="other@vendor.example"), "/dashboard/tasks") == []
    desk.post("/dashboard/environment", environment="development")
    assert ordered(desk, "/dashboard/tasks") == []


def test_endpoints_are_listed_by_age_and_by_name(desk, app):
    with app.app_context(), transaction(Environment.production) as session:
        for n, name in enumerate(("billing", "Archive", "crm")):
            add_endpoint(session, name=name, url="https://vendor.example", kinds=[], now=now() + timedelta(minutes=n))
    by_age = ["Documented endpoint", "billing", "Archive", "crm"]
    assert ordered(desk, "/dashboard/endpoints") == by_age
    assert ordered(desk, "/dashboard/endpoints?order=newest") == by_age[::-1]
    assert ordered(desk, "/dashboard/endpoints?order=a-z") == sorted(by_age)


def test_everywhere_somebody_is_signed_in_is_listed_over_all_pages(desk, app, sign_in):
    at = now()
    sign_in(email="other@vendor.example")
    with app.app_context(), transaction() as session:
        me = session.scalars(sa.select(Operator).where(Operator.email == desk.email)).one()
        for n in range(60):
            row, _ = start_session(session, me, browser=f"browser {n:02}", now=at - timedelta(hours=n + 1))
            row.seen_at = at - timedelta(minutes=60 - n)
    browsers = [f"browser {n:02}" for n in range(60)]
    here = r'<td data-label="Browser">(browser \d\d)'
    assert ordered(desk, "/dashboard/sessions", here) == browsers[::-1]
    assert ordered(desk, "/dashboard/sessions?order=oldest", here) == browsers


def test_an_endpoint_of_the_other_environment_shows_nothing(desk, app, user):
    with app.app_context(), transaction(Environment.production) as session:
        send_test_event(session, find_endpoint(session, documented_id(Environment.production)), "link.failed", now())
    for filters in ("", "&state=pending", "&kind=test", "&state=pending&kind=test"):
        path = f"/dashboard/events?endpoint=documented-production{filters}"
        desk.post("/dashboard/environment", environment="production")
        assert ordered(desk, path) == ["test"]
        desk.post("/dashboard/environment", environment="development")
        assert ordered(desk, path) == []
    assert ordered(desk, "/dashboard/events?state=pending") == []


def test_many_failures_of_an_endpoint_are_counted_as_far_as_they_say(desk, app, user, monkeypatch):
    monkeypatch.setattr(deliveries, "MOST_FAILING", 3)
    with app.app_context(), transaction(Environment.production) as session:
        for _ in range(4):
            announce(session, "installation.finished", {}, environment=Environment.production, now=now())
    change(app, sa.update(Delivery).values(state=DeliveryState.given_up))
    assert "3+ failing" in desk.get("/dashboard/endpoints").text


def test_a_column_s_head_tells_the_order_and_turns_it_round(desk, user, integration, backend):
    backend.get(f"/users/{user}/integrations/{integration}/install-url")
    page = desk.get(f"/dashboard/links?integration={integration}")
    heads = dict(re.findall(r'aria-sort="(\w+)" class="sorts"><a href="[^"]*">(\w+)', page.html))
    assert heads == {"descending": "Made"}
    turned = html.unescape(re.search(r'href="([^"]+)">Made', page.html)[1])
    assert turned == f"/dashboard/links?integration={integration}&order=oldest"
    page = desk.get(turned)
    assert 'aria-sort="ascending"' in page.html
    assert 'name="order" value="oldest"' in page.html
    until = html.unescape(re.search(r'href="([^"]+)">Until', page.html)[1])
    assert until == f"/dashboard/links?integration={integration}&order=latest"
    # Links of a state that time decides are in the order of their end.
    page = desk.get("/dashboard/links?state=created")
    assert re.search(r'aria-sort="ascending" class="sorts"><a [^>]*>Until', page.html)
    assert '<th scope="col">Made</th>' in page.html


def test_links_and_installations_are_filtered_by_integration_state_and_user(
    desk, user, integration, asking, install, backend
):
    other = backend.post("/users", {"username": "bob@shop.example"})["userId"]
    one = install(integration)
    for who, what in ((user, asking.id), (other, integration)):
        backend.get(f"/users/{who}/integrations/{what}/install-url")

    def shown(query: str) -> int:
        return desk.get(f"/dashboard/{query}").html.count("data-state=")

    assert shown("links") == 2
    assert shown(f"links?integration={integration}") == 1
    assert shown(f"links?integration={integration}&user=ada") == 0
    assert shown(f"links?integration={asking.id}&user=Ada&state=created") == 1
    assert shown(f"links?integration={asking.id}&state=opened") == 0
    assert shown("installations?state=running") == 1
    desk.post(f"/dashboard/installations/{one}/deactivate")
    assert shown("installations?state=running") == 0
    assert shown(f"installations?state=stopped&integration={integration}&user=ada") == 1
    assert shown("installations?user=bob") == 0
    assert shown("installations?state=nonsense&integration=") == 1
    assert (
        f'<option value="{asking.id}" selected>Orders to ledger'
        in desk.get(f"/dashboard/links?integration={asking.id}").html
    )


def test_a_filter_by_a_common_beginning_says_how_far_it_looks(desk, backend, integration):
    backend.post("/users/batch", {"users": [{"username": f"ada{n:02}@shop.example"} for n in range(60)]})
    view = desk.get("/dashboard/links?user=ada")
    assert "Many usernames begin with “ada”: this looks at the first 50 of them." in view.text
    assert "Many usernames" not in desk.get("/dashboard/installations?user=ada0").text


def test_what_several_users_have_is_in_one_order_over_all_pages(desk, app, integration):
    at, made = now(), []
    with app.app_context(), transaction(Environment.production) as session:
        users = [User(username=f"ada{n}@shop.example") for n in range(3)]
        session.add_all([*users, User(username="bob")])
        session.flush()
        for n in range(130):  # two of the same moment, of different users
            one = users[n % 3]
            moment = at - timedelta(minutes=n // 2)
            session.add(
                Link(
                    token_hash=f"{n}",
                    user_id=one.id,
                    integration_id=integration,
                    created_at=moment,
                    expires_at=at + timedelta(days=1),
                )
            )
            made.append((moment, one.username))
    for order in ("", "&order=oldest"):
        seen = ordered(desk, f"/dashboard/links?user=ada{order}")
        assert len(seen) == 130
        expected = sorted(made, reverse=not order)
        assert [set(seen[n : n + 2]) for n in range(0, 130, 2)] == [
            {name for _, name in expected[n : n + 2]} for n in range(0, 130, 2)
        ]


def test_among_very_many_links_of_a_user_it_says_how_far_a_filter_looks(desk, app, user, integration):
    at = now()
    with app.app_context(), transaction(Environment.production) as session:
        session.add_all(
            Link(
                token_hash=f"{n}",
                user_id=user,
                integration_id=integration,
                created_at=at - timedelta(minutes=n),
                expires_at=at + timedelta(days=1),
                revoked_at=at if n in (NEWEST - 1, NEWEST) else None,
            )
            for n in range(NEWEST + 1)
        )
    view = desk.get("/dashboard/links?user=ada&state=revoked")
    assert "There are very many links of one user: of each, this looks at the newest 200." in view.text
    assert len(ordered(desk, "/dashboard/links?user=ada&state=revoked")) == 1
    assert len(ordered(desk, "/dashboard/links?user=ada")) == NEWEST + 1
    assert "very many links" not in desk.get("/dashboard/links?user=ada").text


def cursor(*facts: object) -> str:
    return urlsafe_b64encode(json.dumps(facts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "given",
    [
        "x",
        "é",
        "",
        "W10",
        "A" * 5000,
        cursor("2026-01-01T00:00:00", "f" * 24),
        cursor("0001-01-01T00:00:00+23:59", "f" * 24),
        cursor("9999-12-31T23:59:59-23:59", "f" * 24),
        cursor("2026-01-01T00:00:00+00:00", "a\0b"),
        cursor("2026-01-01T00:00:00+00:00", "\ud800"),
        cursor("2026-01-01T00:00:00+00:00", 1),
        cursor(1, 2),
        cursor({}, []),
        "[" * 3000,
    ],
)
def test_a_cursor_that_no_page_gave_is_no_page(desk, given):
    for page in ("links", "users?order=a-z", "audit", "integrations"):
        join = "&" if "?" in page else "?"
        answer = desk.client.get(f"/dashboard/{page}{join}cursor={given}")
        assert answer.status_code in (200, 404), (page, answer.status_code)
        if page == "links":
            assert answer.status_code == 404
            assert "No such page" in answer.text


def test_the_cursor_of_one_order_opens_nothing_of_the_other_environment(desk, user, backend):
    desk.post("/dashboard/environment", environment="development")
    view = desk.get(f"/dashboard/users?order=a-z&cursor={cursor('', '')}")
    assert "ada@shop.example" not in view.text


def test_an_installation_that_lacks_one_credential_of_two_is_named(desk, app, make_link, shop, backend):
    made = make_link(two_apps=True)
    page = InstallPage(app, made)
    page.open()
    page.fill(magento__store_url=shop.url, magento__access_token=shop.token)
    page.fill(sandbox__store_url=shop.url, sandbox__access_token=shop.token)
    assert page.finish().status == 200
    assert "lack a credential" not in desk.get("/dashboard").text
    known = backend.get(f"/users/{made.user_id}/credentials")["data"]
    backend.delete(f"/users/{made.user_id}/credentials/{known[0]['credentialId']}")
    text = desk.get("/dashboard").text
    assert "Installations that lack a credential" in text
    assert "ada@shop.example, Two stores" in text
    with app.app_context(), transaction() as session:
        left = session.scalars(sa.select(InstallationCredential.app)).one()
    gone = {"magento": "Sandbox shop", "sandbox": "Magento"}[left]
    one = backend.get("/installations")["data"][0]["installationId"]
    page = desk.get(f"/dashboard/installations/{one}")
    assert f"{gone}: there is no credential. Send a new link" in page.text
    query = "who=existing&amp;user=ada@shop.example"
    assert re.search(rf'<a href="/dashboard/integrations/[0-9a-f]+/share\?{query}">Send a new link', page.html)
    assert f"There is no credential for {gone}:" in desk.post(f"/dashboard/installations/{one}/activate").text


def test_what_is_only_stopped_lacks_nothing(desk, user, integration, install):
    one = install(integration)
    desk.post(f"/dashboard/installations/{one}/deactivate")
    assert "lack a credential" not in desk.get("/dashboard").text


def test_numbers_are_counted_as_far_as_they_say(desk, app, user, monkeypatch):
    """What is counted as it happens is exact."""
    monkeypatch.setattr(figures, "MOST_COUNTED", MOST_COUNTED)
    with app.app_context(), transaction(Environment.production) as session:
        session.add(Integration(id="i" * 24, name="I", apps=["magento"]))
        session.flush()
        session.add_all(
            Installation(user_id=user, integration_id="i" * 24, installed_at=now()) for _ in range(MOST_COUNTED + 1)
        )
        session.add(InstallationDay(day=now().date(), finished=MOST_COUNTED + 1))
    text = desk.get("/dashboard").text
    assert "Installations1,000+" in text
    assert "in the last 30 days: 1,001" in text
    assert "installed 1,000+ times" in desk.get("/dashboard/integrations").text
    change(app, sa.delete(Installation).where(Installation.user_id == user))
