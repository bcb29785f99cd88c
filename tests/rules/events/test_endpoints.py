"""Which events go to which endpoints: by kind, in one environment, as long as they take anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from portal.background.work import client_for
from portal.db import engine, transaction
from portal.environments import Environment
from portal.events.endpoints import (
    add_endpoint,
    all_endpoints,
    choose_kinds,
    find_endpoint,
    pause_endpoint,
    remove_endpoint,
    resume_endpoint,
)
from portal.events.errors import BadEndpoint, EndpointSilent, EndpointStays, UnknownDelivery, UnknownEndpoint
from portal.events.kinds import KINDS
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Event, documented_id
from portal.events.models import Endpoint as EndpointRow
from portal.events.redelivering import BATCH, Failures, parse_since, redeliver_some, start_redelivery
from portal.events.rules import (
    Outcome,
    announce,
    record_attempt,
    redeliver,
    redeliver_one,
    send_test_event,
)
from portal.tasks.models import Task, TaskState
from portal.tasks.rules import do_batch

from .conftest import Endpoint, answers, attempt_made

DEVELOPMENT, PRODUCTION = Environment.development, Environment.production
URL = "https://vendor.example/hooks"
LINK = {"linkId": "l1", "userId": "u1", "integrationId": "i1"}


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    """A transaction over the development environment."""
    with transaction(DEVELOPMENT) as open_session:
        yield open_session


def add(session: Session, noon: datetime, *kinds: str, url: str = URL, name: str = "Billing") -> EndpointRow:
    return add_endpoint(session, name=name, url=url, kinds=kinds or ["link.opened"], now=noon)


def tell(session: Session, noon: datetime, kind: str = "link.opened") -> Event | None:
    return announce(session, kind, LINK, environment=DEVELOPMENT, now=noon)


def fail(session: Session, delivery: Delivery, at: datetime, number: int = 1) -> None:
    record_attempt(session, delivery.id, number, Outcome(at, 500, None, 1, "no"), at)


def deliveries(session: Session, url: str = URL) -> list[Delivery]:
    return list(session.scalars(sa.select(Delivery).where(Delivery.url == url).order_by(Delivery.created_at)))


def test_each_environment_has_the_documented_endpoint_from_the_start_and_it_takes_one_kind(session: Session) -> None:
    (one,) = all_endpoints(session)
    assert (one.id, one.url, one.kinds, one.is_enabled) == (
        "documented-development", None, ["installation.finished"], True
    )  # fmt: skip


def test_an_event_goes_to_each_endpoint_that_takes_its_kind_and_begins_with_its_type(
    session: Session, noon: datetime
) -> None:
    for number in (1, 2):
        add(session, noon, "link.opened", "link.failed", url=f"{URL}/{number}")
    add(session, noon, "link.failed", url=f"{URL}/3")
    event = tell(session, noon)
    assert event
    session.refresh(event)
    assert {delivery.url for delivery in event.deliveries} == {f"{URL}/1", f"{URL}/2"}
    assert event.payload == '{"type":"link.opened","linkId":"l1","userId":"u1","integrationId":"i1"}'
    assert event.user_id == "u1"


def test_what_nobody_takes_is_not_stored_but_a_finished_installation_is(session: Session, noon: datetime) -> None:
    assert tell(session, noon) is None
    kept = tell(session, noon, "installation.finished")
    assert kept and kept.deliveries == []
    assert session.scalar(sa.select(sa.func.count()).select_from(Event)) == 1


def test_the_other_environment_s_endpoints_hear_nothing_and_can_not_be_found(app: Flask, noon: datetime) -> None:
    with transaction(PRODUCTION) as session:
        other = add(session, noon).id
    with transaction(DEVELOPMENT) as session:
        assert tell(session, noon) is None
        with pytest.raises(UnknownEndpoint):
            find_endpoint(session, other)
        with pytest.raises(UnknownEndpoint):
            find_endpoint(session, documented_id(PRODUCTION))


def test_a_paused_endpoint_gets_nothing_and_what_waited_for_it_is_given_up(session: Session, noon: datetime) -> None:
    endpoint = add(session, noon)
    tell(session, noon)
    assert pause_endpoint(session, endpoint, noon) == 1
    session.expire_all()
    (waiting,) = deliveries(session)
    assert (waiting.state, waiting.next_attempt_at) == (DeliveryState.given_up, None)
    assert tell(session, noon) is None
    with pytest.raises(EndpointSilent):
        redeliver_one(session, waiting.id, noon)
    with pytest.raises(EndpointSilent):
        send_test_event(session, endpoint, "link.opened", noon)
    resume_endpoint(session, endpoint)
    assert tell(session, noon)


def test_a_removed_endpoint_leaves_its_deliveries_on_record(session: Session, noon: datetime) -> None:
    endpoint = add(session, noon)
    event = tell(session, noon)
    assert event
    remove_endpoint(session, endpoint, noon)
    session.expire_all()
    (left,) = deliveries(session)
    assert (left.endpoint_id, left.url, left.state) == (None, URL, DeliveryState.given_up)
    with pytest.raises(EndpointSilent):
        redeliver_one(session, left.id, noon)


def test_the_documented_endpoint_can_not_be_removed(session: Session, noon: datetime) -> None:
    with pytest.raises(EndpointStays):
        remove_endpoint(session, find_endpoint(session, documented_id(DEVELOPMENT)), noon)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "vendor.example/hooks",
        "javascript:alert(1)",
        "ftp://vendor.example/",
        "https://",
        "https://user:password@vendor.example/",
        "https://vendor.example@evil.example/",
        "https://vendor.example/#fragment",
        "https://vendor.example/a b",
        "https://vendor.example/\r\nX-More: 1",
        "https://vendor.example/\u202e",
        "https://vendor.example:99999/",
        "https://[::1/",
        'https://vendor.example/"><script>',
        "https://vendor.example/" + "a" * 2000,
    ],
)
def test_an_address_that_is_none_or_hides_something_is_refused(session: Session, noon: datetime, url: str) -> None:
    with pytest.raises(BadEndpoint):
        add(session, noon, url=url)


def test_a_private_address_is_taken_since_an_operator_chose_it(session: Session, noon: datetime) -> None:
    assert add(session, noon, url="http://10.0.0.7:8080/hooks?a=b").url == "http://10.0.0.7:8080/hooks?a=b"


def test_kinds_that_are_none_and_names_that_hide_are_refused(session: Session, noon: datetime) -> None:
    with pytest.raises(BadEndpoint):
        add(session, noon, "link.exploded")
    for name in ("", " ", "a\nb", "x" * 121):
        with pytest.raises(BadEndpoint):
            add(session, noon, name=name)
    endpoint = add(session, noon)
    choose_kinds(session, endpoint, ["run.failed", "link.opened"])
    assert endpoint.kinds == ["link.opened", "run.failed"]
    choose_kinds(session, endpoint, [])
    assert endpoint.kinds == []


def test_one_delivery_is_done_again_alone_and_an_event_with_all(session: Session, noon: datetime) -> None:
    for number in (1, 2):
        add(session, noon, url=f"{URL}/{number}")
    event = tell(session, noon)
    assert event
    redeliver_one(session, deliveries(session, f"{URL}/1")[0].id, noon)
    assert [len(deliveries(session, f"{URL}/{n}")) for n in (1, 2)] == [2, 1]
    assert len(redeliver(session, event.id, noon)) == 2
    assert [len(deliveries(session, f"{URL}/{n}")) for n in (1, 2)] == [3, 2]


def test_a_delivery_of_the_other_environment_is_not_there(app: Flask, noon: datetime) -> None:
    with transaction(DEVELOPMENT) as session:
        add(session, noon)
        tell(session, noon)
        (one,) = deliveries(session)
    with transaction(PRODUCTION) as session, pytest.raises(UnknownDelivery):
        redeliver_one(session, one.id, noon)


def test_all_that_failed_since_then_is_done_again_once_and_nothing_else(session: Session, noon: datetime) -> None:
    hour = timedelta(hours=1)
    endpoint = add(session, noon)
    for number in range(4):
        tell(session, noon + number * hour)
    early, given_up, waiting, fresh = deliveries(session)
    early.state = given_up.state = DeliveryState.given_up
    fail(session, waiting, noon + 3 * hour)
    assert fresh.state is DeliveryState.pending
    failures = Failures(noon + hour / 2, noon + 4 * hour, endpoint.id)

    found, started = redeliver_some(session, failures, None, noon + 5 * hour, why="w")

    assert ([one.id for one in found], started) == ([given_up.id, waiting.id], 2)
    assert [one.created_at for one in deliveries(session)][4:] == [noon + 5 * hour]
    found, started = redeliver_some(session, failures, None, noon + 5 * hour, why="w")
    assert ([one.id for one in found], started) == ([waiting.id], 1)  # its attempt is enqueued once all the same
    session.commit()
    enqueued = {work.workflow_id for work in client_for(engine()).list_workflows(name="deliver")}
    assert {name for name in enqueued if name.endswith("-w")} == {f"deliver-{waiting.id}-2-w"}


def test_bulk_work_goes_on_over_its_batches_and_counts(session: Session, noon: datetime) -> None:
    endpoint = add(session, noon)
    number = 2 * BATCH + 1
    for n in range(number):
        tell(session, noon + timedelta(seconds=n))
    pause_endpoint(session, endpoint, noon)
    resume_endpoint(session, endpoint)
    later = noon + timedelta(hours=1)
    task = start_redelivery(session, since=noon, endpoint_id=None, title="All", asked_by="a", now=later)
    counts = []
    while do_batch(session, task.id, later):
        counts.append((task.done, task.total))
    assert counts == [(BATCH, number), (2 * BATCH, number)]
    assert (task.state, task.outcome) == (TaskState.done, f"Deliveries on their way again: {number}.")
    assert len(deliveries(session)) == 2 * number


def test_bulk_work_says_what_it_left(session: Session, noon: datetime) -> None:
    endpoint = add(session, noon)
    tell(session, noon)
    pause_endpoint(session, endpoint, noon)
    task: Task = start_redelivery(
        session, since=noon, endpoint_id=None, title="All", asked_by="a", now=noon + timedelta(hours=1)
    )
    assert do_batch(session, task.id, noon) is False
    assert task.outcome and "their endpoint is paused or has no address: 1." in task.outcome


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90m", datetime(2026, 3, 2, 10, 30, tzinfo=UTC)),
        ("5d", datetime(2026, 2, 25, 12, 0, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T10:15", datetime(2026, 3, 1, 10, 15, tzinfo=UTC)),
        ("2026-03-01T10:15+02:00", datetime(2026, 3, 1, 8, 15, tzinfo=UTC)),
    ],
)
def test_since_when_is_read(noon: datetime, text: str, meant: datetime) -> None:
    assert parse_since(text, noon) == meant


def test_every_endpoint_gets_its_own_delivery_signed_for_its_own_address(
    live: Flask, endpoint: Endpoint, other_endpoint: Endpoint
) -> None:
    at = datetime.now(UTC)
    with transaction(PRODUCTION) as session:
        for one in (endpoint, other_endpoint):
            add_endpoint(session, name="x", url=one.url, kinds=["link.opened"], now=at)
        event = announce(session, "link.opened", LINK, environment=PRODUCTION, now=at)
        assert event
    first, second = endpoint.wait_for(1), other_endpoint.wait_for(1)
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == event.id
    assert first.headers["x-alloy-signature"] != second.headers["x-alloy-signature"]


def test_a_test_event_is_sent_once_and_its_headers_and_answer_are_kept(live: Flask, endpoint: Endpoint) -> None:
    endpoint.will(answers(500, b"not today"))
    with transaction(PRODUCTION) as session:
        row = add_endpoint(session, name="t", url=endpoint.url, kinds=[], now=datetime.now(UTC))
        event = send_test_event(session, row, "installation.finished", datetime.now(UTC))
        (delivery,) = session.scalars(sa.select(Delivery.id).where(Delivery.event_id == event.id))
    kept = attempt_made(delivery)
    sent = endpoint.wait_for(1)
    assert json.loads(sent.body)["type"] == "test"
    assert json.loads(sent.body)["example"] == dict(KINDS["installation.finished"].example)
    with transaction() as session:
        attempt = session.get_one(DeliveryAttempt, kept.id)
        assert (attempt.status, attempt.answer) == (500, "not today")
        assert attempt.headers
        assert {name.lower(): value for name, value in attempt.headers.items()}.items() <= sent.headers.items()
        assert session.get_one(Delivery, delivery).state is DeliveryState.given_up
