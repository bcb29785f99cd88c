"""Links as operators see and change them."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from portal.clock import now
from portal.db import transaction
from portal.links.finding import in_state
from portal.links.models import FailedTry, Link, LinkState
from tests.backend import change, link_in


def test_a_link_tells_its_steps_and_can_be_revoked_and_replaced(desk, user, integration, backend, app):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")
    change(app, sa.insert(FailedTry).values(id="f" * 24, link_id=made["linkId"], app="magento", field="access_token",
                                            reason="x", message="Magento did not accept this.", at=now()))  # fmt: skip
    page = desk.get(f"/dashboard/links/{made['linkId']}")
    assert "Magento, Access token: “Magento did not accept this.”" in page.text
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


MINUTE = timedelta(minutes=1)


@pytest.fixture
def queries(app):
    """The SELECTs that were asked since."""
    asked = []

    def note(_connection, _cursor, statement, *_):
        # The settings are looked at once a second, whoever asks.
        if statement.startswith("SELECT") and "FROM preferences" not in statement:
            asked.append(statement)

    engine = app.extensions["database"].engine
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def test_the_list_says_how_far_each_link_came_and_what_failed_last(desk, user, integration, backend, app):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    at = now() - timedelta(hours=1)
    change(app, sa.update(Link).where(Link.id == made).values(opened_at=at, expires_at=now()))
    for number, said in enumerate(("It was the first.", "It was the last. " + "Very long. " * 30)):
        facts = {"app": "magento", "field": "access_token", "reason": "x", "message": said}
        change(app, sa.insert(FailedTry).values(id=f"{number:024}", link_id=made, at=at + number * MINUTE, **facts))
    page = desk.get("/dashboard/links")
    row = html.unescape(page.html.split("<tbody>")[1])
    assert 'data-state="expired"' in row
    # The link was made only now, for this test; what came last is what counts.
    assert 'data-label="Latest step">made <time' in row
    change(app, sa.update(Link).where(Link.id == made).values(created_at=at - timedelta(hours=1)))
    assert 'data-label="Latest step">opened <time' in desk.get("/dashboard/links").html
    assert "Magento, Access token: “It was the last. Very long." in page.text
    assert "It was the first." not in page.text
    assert len(re.search(r"“It was the last[^”]*”", page.text)[0]) <= 102


def test_the_list_asks_as_many_questions_for_fifty_links_as_for_one(desk, integration, backend, app, queries):
    def make(name):
        one = backend.post("/users", {"username": name})["userId"]
        made = backend.get(f"/users/{one}/integrations/{integration}/install-url")["linkId"]
        change(app, sa.update(Link).where(Link.id == made).values(requested_at=now()))
        change(app, sa.insert(FailedTry).values(id=made, link_id=made, app="magento", field="access_token",
                                                reason="x", message="No.", at=now()))  # fmt: skip

    make("first@shop.example")
    queries.clear()
    desk.get("/dashboard/links")
    few = len(queries)
    for number in range(20):
        make(f"user{number:02}@shop.example")
    queries.clear()
    assert desk.get("/dashboard/links").html.count("“No.”") == 21
    assert len(queries) == few


def test_who_wants_a_new_link_is_marked_and_found_by_a_filter(desk, user, integration, asking, backend, app):
    address = f"/users/{user}/integrations/{integration}/install-url"
    waits, other = backend.get(address)["linkId"], backend.get(address)["linkId"]
    change(app, sa.update(Link).where(Link.id == waits).values(requested_at=now(), expires_at=now()))
    page = desk.get("/dashboard/links")
    assert page.html.count('data-state="wants_a_new_link"') == 1
    found = desk.get("/dashboard/links?state=asked")
    assert waits in found.html
    assert other not in found.html
    assert '<option value="asked" selected>asked for a new one' in found.html
    assert re.search(r'aria-sort="descending" class="sorts"><a [^>]*>Asked', found.html)
    assert waits in desk.get(f"/dashboard/links?state=asked&integration={integration}&user=ada").html
    assert waits not in desk.get(f"/dashboard/links?state=asked&integration={asking.id}").html
    desk.post(f"/dashboard/links/{waits}/replace")
    found = desk.get("/dashboard/links?state=asked")
    assert waits in found.html
    assert "wants a new link" not in found.text


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
