"""The engine hands an event to a real endpoint, whatever that endpoint does."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import structlog
from flask import Flask
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from portal.background import enqueue
from portal.background.work import client_for
from portal.db import engine, transaction
from portal.events import durable
from portal.events.models import DeliveryState, Event
from portal.events.rules import DELIVERIES, redeliver
from portal.http import Outbound, PrivateNetwork

from .conftest import Endpoint, answers, attempt_made, listen_alone, says, state, tell

TEXT = '{"userId":"u1","shop":"Café 🛍 \u2028","credentials":{"magento":"c1"},"numbers":[1,2.5,{"n":1e+21}]}'


@pytest.fixture
def hurried(live: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal waits for endpoints 0.4 s instead of 15 s."""
    monkeypatch.setitem(live.extensions, "outbound", Outbound(private=PrivateNetwork.parse(""), ceiling=0.4))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits are no time at all."""
    monkeypatch.setattr("portal.events.schedule.WAITS", (timedelta(0),) * 8)


def test_the_endpoint_gets_the_stored_bytes_with_the_type_and_the_signatures(live: Flask, endpoint: Endpoint) -> None:
    delivery = tell(endpoint.url)

    request = endpoint.wait_for(1)

    assert request.body == TEXT.encode()
    assert request.path == "/hooks/portal?vendor=1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "install-portal"
    assert re.fullmatch("([0-9a-f]{2}){256,}", request.headers["x-alloy-signature"])
    assert request.headers["webhook-id"] == state(delivery).event_id
    for secret in live.extensions["keys"].webhook_secrets:
        Webhook(secret).verify(request.body, request.headers)
    kept = attempt_made(delivery)
    assert (kept.status, kept.problem, kept.answer) == (204, None, "")
    assert state(delivery).state is DeliveryState.delivered


@pytest.mark.usefixtures("at_once")
def test_an_endpoint_that_fails_three_times_gets_the_same_event_a_fourth_time(live: Flask, endpoint: Endpoint) -> None:
    endpoint.will(answers(500), answers(404, b"who?"), answers(503))

    delivery = tell(endpoint.url)

    requests = [endpoint.wait_for(number) for number in (1, 2, 3, 4)]
    assert len({(r.body, r.headers["webhook-id"], r.headers["x-alloy-signature"]) for r in requests}) == 1
    assert [attempt_made(delivery, n).status for n in (1, 2, 3, 4)] == [500, 404, 503, 204]
    assert attempt_made(delivery, 2).answer == "who?"
    assert state(delivery).state is DeliveryState.delivered


@pytest.mark.parametrize("as_date", [False, True])
def test_an_endpoint_that_asks_for_time_gets_it(live: Flask, endpoint: Endpoint, as_date: bool) -> None:
    before = datetime.now(UTC)
    asked = format_datetime(before + timedelta(hours=1), usegmt=True) if as_date else "3600"
    endpoint.will(answers(429, Retry_After=asked))

    delivery = tell(endpoint.url)

    assert attempt_made(delivery).status == 429
    due = state(delivery).next_attempt_at
    assert due is not None
    assert timedelta(minutes=59) < due - before < timedelta(minutes=61)


def test_a_redirect_is_a_failure_and_is_not_followed(live: Flask, endpoint: Endpoint) -> None:
    endpoint.will(answers(307, Location="/elsewhere"))

    delivery = tell(endpoint.url)

    assert attempt_made(delivery).status == 307
    assert state(delivery).state is DeliveryState.pending
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("location", ["http://[", "http://\xff\xfe", "//", "gopher://x", ""])
def test_a_redirect_to_nowhere_is_a_failure_and_the_event_is_posted_once(
    live: Flask, endpoint: Endpoint, location: str
) -> None:
    endpoint.will(answers(307, Location=location))

    delivery = tell(endpoint.url)

    assert attempt_made(delivery).status == 307
    assert state(delivery).state is DeliveryState.pending
    assert len(endpoint.received) == 1


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_an_endpoint_that_never_ends_its_answer_has_failed(live: Flask, endpoint: Endpoint, behaviour: str) -> None:
    endpoint.will(getattr(endpoint, behaviour))

    delivery = tell(endpoint.url)

    attempt = attempt_made(delivery)
    assert (attempt.status, attempt.problem, attempt.answer) == (None, "timeout", None)
    assert attempt.latency_ms >= 400
    assert state(delivery).state is DeliveryState.pending


def test_of_a_huge_answer_the_first_kilobyte_is_kept(live: Flask, endpoint: Endpoint) -> None:
    endpoint.will(answers(400, b"0123456789abcdef" * 1_000_000))

    attempt = attempt_made(tell(endpoint.url))

    assert (attempt.status, attempt.answer) == (400, "0123456789abcdef" * 64)


def test_an_answer_that_is_no_text_is_kept_as_far_as_it_can_be_read(live: Flask, endpoint: Endpoint) -> None:
    endpoint.will(answers(500, b"a\x00b\xff\xedc"))

    assert attempt_made(tell(endpoint.url)).answer == "a\ufffdb\ufffd\ufffdc"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff" * 50,
        b"HTTP/1.1 what 200 OK\r\n\r\n",
        b"HTTP/1.1 99999 Lots\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_garbage_is_a_failure_that_is_tried_again(live: Flask, endpoint: Endpoint, raw: bytes) -> None:
    endpoint.will(says(raw))

    delivery = tell(endpoint.url)

    attempt = attempt_made(delivery)
    assert (attempt.status, attempt.problem) == (None, "broken")
    assert state(delivery).state is DeliveryState.pending
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("status", [100, 103, 199, 600, 999])
def test_a_strange_status_is_kept_as_a_failure(live: Flask, endpoint: Endpoint, status: int) -> None:
    endpoint.will(says(f"HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n".encode()))

    delivery = tell(endpoint.url)

    assert attempt_made(delivery).status in (status, None)
    assert state(delivery).state is DeliveryState.pending


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[bad", "http://no-such-host.invalid/", "ftp://x/y", "x"]
)
def test_an_address_that_can_not_be_reached_is_a_failure_too(live: Flask, url: str) -> None:
    delivery = tell(url)

    attempt = attempt_made(delivery)
    assert attempt.status is None
    assert attempt.problem in ("refused", "no_such_host", "broken")
    assert state(delivery).next_attempt_at is not None


@pytest.mark.usefixtures("at_once")
def test_giving_up_is_recorded_and_logged(live: Flask, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.events.schedule.GIVEN_UP_AFTER", timedelta(0))
    endpoint.will(answers(500))
    with capture_logs() as logs:
        monkeypatch.setattr(durable, "log", structlog.get_logger())
        delivery = tell(endpoint.url)
        attempt_made(delivery)

    assert state(delivery).state is DeliveryState.given_up
    assert state(delivery).ended_at is not None
    (line,) = logs
    assert (line["log_level"], line["event"], line["delivery"]) == ("warning", "delivery given up", delivery)


def test_a_redelivery_sends_the_same_event_again(live: Flask, endpoint: Endpoint, other_endpoint: Endpoint) -> None:
    delivery = tell(endpoint.url)
    first = endpoint.wait_for(1)
    attempt_made(delivery)

    with transaction() as session:
        listen_alone(session, other_endpoint.url)
        (again,) = redeliver(session, first.headers["webhook-id"], datetime.now(UTC))

    second = other_endpoint.wait_for(1)
    assert (second.body, second.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    assert second.headers["x-alloy-signature"] != first.headers["x-alloy-signature"]
    attempt_made(again.id)
    with transaction() as session:
        assert len(session.get_one(Event, again.event_id).deliveries) == 2


def test_an_endpoint_that_hangs_does_not_hold_up_another(
    live: Flask, endpoint: Endpoint, other_endpoint: Endpoint
) -> None:
    endpoint.will(*[endpoint.hang] * 40)
    waiting = [tell(endpoint.url) for _ in range(40)]
    endpoint.wait_for(12)

    delivery = tell(other_endpoint.url)

    assert attempt_made(delivery).status == 204
    assert len(endpoint.received) == 12
    endpoint.closing.set()  # it wakes up
    assert all(attempt_made(one) for one in waiting)


def test_an_attempt_that_is_recorded_is_not_sent_again(live: Flask, endpoint: Endpoint) -> None:
    delivery = tell(endpoint.url)
    attempt_made(delivery)

    with transaction() as session:
        enqueue(
            session, "deliver", delivery, 1, queue=DELIVERIES, partition="x", workflow_id=f"deliver-{delivery}-1-again"
        )
    client_for(engine()).retrieve_workflow(f"deliver-{delivery}-1-again").get_result(polling_interval_sec=0.02)

    assert len(endpoint.received) == 1
