"""Links as operators see and change them."""

from __future__ import annotations

import re
from datetime import timedelta

import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.links.models import FailedTry, Link, LinkState
from portal.links.rules import in_state
from tests.backend import change, link_in


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
