"""Install links over the API: every option, every address, and no token anywhere but in the answer."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.links.models import FailedTry, Link
from tests.backend import data


def test_a_link_is_made_with_all_options_and_shown_without_its_token(backend, user, integration):
    made = backend.post(
        "/links",
        {
            "userId": "ada@shop.example",
            "integrationId": integration,
            "expiresIn": "12h",
            "redirectUrl": "https://vendor.example/back",
            "alwaysShowCredentials": False,
            "preFilledValues": {"magento": {"store_url": "https://shop.example"}},
            "locale": "de-CH",
        },
    )
    shown = backend.get(f"/links/{made['linkId']}")["data"]
    assert shown["state"] == "created"
    assert (shown["userId"], shown["username"]) == (user, "ada@shop.example")
    assert (shown["redirectUrl"], shown["locale"]) == ("https://vendor.example/back", "de-CH")
    assert shown["alwaysShowCredentials"] is False
    token = re.search(r"token=([^&]+)", made["url"])[1]
    assert token not in str(shown)
    assert token not in data(backend.app)
    page = backend.app.test_client().get(made["url"]).text
    assert 'value="https://shop.example"' in page


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"magento": {"access_token": "t"}}, 400, "is a secret: only the end user types it"),
        ({"magento": {"nothing": "t"}}, 404, "nothing that is asked for has a field of this name"),
        ({"magento": {"store_url": "nonsense url"}}, 400, "store_url"),
    ],
)
def test_values_that_can_not_be_given_with_a_link_are_refused(backend, user, integration, given, status, said):
    body = {"userId": user, "integrationId": integration, "preFilledValues": given}
    assert backend.refusal("POST", "/links", body)[0] == status
    assert said in backend.refusal("POST", "/links", body)[1]


@pytest.mark.parametrize(("port", "status"), [("9", 201), ("65535", 201), ("65536", 400), ("0", 400), ("99999", 400)])
def test_the_way_back_has_a_port_that_there_is(backend, user, integration, port, status):
    body = {"userId": user, "integrationId": integration, "redirectUrl": f"https://vendor.example:{port}/back"}
    assert backend.call("POST", "/links", json=body).status_code == status


@pytest.mark.parametrize("life", ["0d", "400d", "soon", "-1", ""])
def test_a_life_that_no_link_can_have_is_refused(backend, user, integration, life):
    status, said = backend.refusal("GET", f"/users/{user}/integrations/{integration}/install-url?expiresIn={life}")
    assert status == 400
    assert "expiresIn" in said


@pytest.mark.parametrize(
    "address",
    [
        "/users/{u}/integrations/{i}/install-url",
        "/integrations/{i}/install-url?userId={u}",
        "/install-url?userId={u}&integrationId={i}",
    ],
)
@pytest.mark.parametrize("front", ["", "/2023-01", "/2024-03", "/2031-12"])
def test_a_link_is_made_at_every_documented_address(backend, user, integration, address, front):
    made = backend.get(front + address.format(u=user, i=integration))
    assert set(made) == {"url", "linkId", "expiresAt"}


@pytest.mark.parametrize("address", ["/users/", "/Users", "/USERS/", "/2024-03//users", "/2024-03/users/"])
def test_addresses_may_be_written_in_other_ways(backend, address):
    assert backend.get(address) == {"data": []}


def test_an_unknown_address_is_answered_in_words(backend):
    for address in ("/nothing", "/2024-03/nothing", "/2024-13/users"):
        status, said = backend.refusal("GET", address)
        assert (status, said) == (404, "There is nothing at this address. GET /openapi.json lists what there is.")


def test_a_link_tells_how_far_it_has_come_and_what_failed_last(backend, user, integration, app):
    link_id = backend.get(f"/users/{user}/integrations/{integration}/install-url")["linkId"]
    with app.app_context(), transaction() as session:
        at = now()
        for message, field, seconds in (("First.", None, 0), ("Last.", "access_token", 1)):
            facts = {"app": "magento", "field": field, "reason": "x", "message": message}
            session.add(FailedTry(link_id=link_id, at=at + timedelta(seconds=seconds), **facts))
        session.execute(sa.update(Link).where(Link.id == link_id).values(opened_at=at))
    shown = backend.get(f"/links/{link_id}")["data"]
    assert shown["state"] == "opened"
    assert shown["lastFailure"]["message"] == "Last."
    assert shown["lastFailure"]["field"] == "access_token"
    assert backend.get(f"/links?userId={user}")["data"] == [shown]


def test_a_revoked_link_can_not_be_used(backend, user, integration):
    made = backend.get(f"/users/{user}/integrations/{integration}/install-url")
    assert backend.post(f"/links/{made['linkId']}/revoke")["data"]["state"] == "revoked"
    assert backend.post(f"/links/{made['linkId']}/revoke")["data"]["state"] == "revoked"
    assert backend.app.test_client().get(made["url"]).status_code == 410
