"""Events over the API, and what happens to others while a provider is slow."""

from __future__ import annotations

import threading

from portal.web import turns
from tests.stage import answer, hang, wait_until


def test_an_event_is_listed_with_its_delivery_and_told_again(backend, user, integration, install):
    install(integration)
    (event,) = backend.get(f"/events?userId={user}")["data"]
    assert event["body"]["userId"] == user
    assert [one["state"] for one in event["deliveries"]] == ["pending"]
    again = backend.post(f"/events/{event['eventId']}/redeliver")
    assert again["eventId"] == event["eventId"]
    assert len(backend.get("/events")["data"][0]["deliveries"]) == 2


def test_while_a_provider_hangs_other_calls_go_on(backend, user, provider):
    """A credential's test waits for its provider outside of the turn: the others don't wait for it."""
    provider.behave = hang
    given = {"type": "magento", "data": {"store_url": provider.url, "access_token": "t"}}
    refusals = []

    def connect():
        refusals.append(backend.refusal("POST", "/headless/credentials", {"userId": user, "credential": given}))

    waiting = threading.Thread(target=connect)
    waiting.start()
    wait_until(lambda: bool(provider.calls))
    assert not turns._lock.locked()
    assert backend.get(f"/users/{user}")["userId"] == user
    assert not refusals
    provider.closing.set()
    waiting.join(20)
    assert refusals[0][0] == 400


def test_a_provider_that_fails_is_explained(backend, user, provider):
    provider.behave = answer(503)
    given = {"type": "magento", "data": {"store_url": provider.url, "access_token": "t"}}
    status, said = backend.refusal("POST", "/headless/credentials", {"userId": user, "credential": given})
    assert status == 400
    assert "Magento" in said
