"""What happens to a link is told by its events: each once, in words, never with a value that was typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.clock import now
from portal.db import transaction
from portal.environments import Environment
from portal.events.kinds import KINDS
from portal.events.models import Endpoint, Event, documented_id
from portal.links.models import Link, LinkOrigin
from portal.links.rules import find_by_id, mark_opened, note_failure, request_new_link, revoke_link, spend
from portal.links.watching import tell_abandoned, tell_expiring
from tests.stage import MakeLink

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _takes_all(app: Flask) -> None:
    """The documented endpoint takes every kind."""
    with app.app_context(), transaction() as session:
        session.get_one(Endpoint, documented_id(Environment.production)).kinds = list(KINDS)


@pytest.fixture
def told(app: Flask) -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """What was told: kind and body, in order."""

    def read() -> list[tuple[str, dict[str, Any]]]:
        with app.app_context(), transaction() as session:
            events = session.scalars(sa.select(Event).order_by(Event.created_at)).all()
            return [(event.type, json.loads(event.payload)) for event in events]

    return read


@pytest.fixture
def do(app: Flask) -> Callable[..., Any]:
    """Call a rule in a transaction of its own."""

    def run(rule: Callable[..., Any], *args: Any, **facts: Any) -> Any:
        with app.app_context(), transaction(Environment.production) as session:
            return rule(session, *args, **facts)

    return run


def kinds(told: Callable[[], list[tuple[str, dict[str, Any]]]]) -> list[str]:
    return [kind for kind, _ in told()]


def fail(session: Any, link_id: str, at: datetime, reason: str = "No.") -> None:
    link = find_by_id(session, link_id)
    note_failure(
        session, link, app="magento", field="access_token", title="Access token", reason="unauthorized",
        message=reason, now=at,
    )  # fmt: skip


def ask(session: Any, link_id: str, at: datetime) -> None:
    request_new_link(session, find_by_id(session, link_id), at)


def test_that_a_link_was_opened_is_told_the_first_time_alone(make_link: MakeLink, do, told) -> None:
    made = make_link()
    do(mark_opened, made.id, now())
    do(mark_opened, made.id, now())
    ((kind, body),) = told()
    assert (kind, body["type"], body["linkId"], body["userId"]) == ("link.opened", "link.opened", made.id, made.user_id)


def test_a_link_that_is_finished_at_once_was_opened_as_well(make_link: MakeLink, do, told) -> None:
    made = make_link()
    do(lambda session: spend(session, find_by_id(session, made.id), press="p", now=now()))
    assert kinds(told) == ["link.opened"]
    do(tell_abandoned, now() + DAY)
    do(tell_expiring, now() + 7 * DAY)
    assert kinds(told) == ["link.opened"]


def test_a_failure_is_told_with_its_field_and_reason_in_words(make_link: MakeLink, do, told) -> None:
    made = make_link()
    do(fail, made.id, now(), "Magento did not accept this access token.")
    assert kinds(told) == ["link.opened", "link.failed"]
    body = told()[1][1]
    assert set(body) == set(KINDS["link.failed"].example) | {"type"}
    assert (body["fieldTitle"], body["message"]) == ("Access token", "Magento did not accept this access token.")


def test_asking_for_a_new_link_is_told_once_a_day(make_link: MakeLink, do, told) -> None:
    made, at = make_link(), now()
    do(lambda session: revoke_link(session, find_by_id(session, made.id), at))
    for later in (timedelta(0), timedelta(hours=23), timedelta(hours=25)):
        do(ask, made.id, at + later)
    assert kinds(told) == ["link.requested", "link.requested"]
    assert told()[0][1]["state"] == "revoked"


def test_an_opened_link_is_abandoned_half_an_hour_after_the_last_action_and_once(make_link: MakeLink, do, told) -> None:
    made, at = make_link(), now()
    do(mark_opened, made.id, at)
    do(fail, made.id, at + 20 * MINUTE, "The store is down.")
    do(tell_abandoned, at + 49 * MINUTE)
    assert "link.abandoned" not in kinds(told)
    for later in (50, 51, 200):
        do(tell_abandoned, at + later * MINUTE)
    do(mark_opened, made.id, at + 300 * MINUTE)
    do(tell_abandoned, at + 400 * MINUTE)
    assert kinds(told).count("link.abandoned") == 1
    body = told()[-1][1]
    assert set(body) == set(KINDS["link.abandoned"].example) | {"type"}
    assert body["lastFailure"] == "The store is down."


def test_who_acts_between_the_look_and_the_telling_has_not_abandoned_it(
    make_link: MakeLink, app: Flask, do, told, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, at = make_link(), now()
    do(mark_opened, made.id, at)
    with app.app_context(), transaction() as session:
        seen = find_by_id(session, made.id)
        do(mark_opened, made.id, at + 29 * MINUTE)
        monkeypatch.setattr("portal.links.watching._due", lambda *_: [seen])
        tell_abandoned(session, at + 30 * MINUTE)
    assert "link.abandoned" not in kinds(told)


def test_a_link_is_announced_as_ending_a_day_before_and_once(make_link: MakeLink, do, told) -> None:
    made, at = make_link(), now()
    do(tell_expiring, at + 5 * DAY)
    assert told() == []
    do(tell_expiring, at + 6 * DAY + MINUTE)
    do(tell_expiring, at + 6 * DAY + 2 * MINUTE)
    ((kind, body),) = told()
    assert (kind, body["linkId"], body["opened"]) == ("link.expiring", made.id, False)
    assert set(body) == set(KINDS["link.expiring"].example) | {"type"}


def test_nobody_is_warned_of_what_is_short_revoked_or_over(make_link: MakeLink, do, told) -> None:
    at = now()
    make_link(life=DAY)
    revoked = make_link(username="bob@shop.example")
    do(lambda session: revoke_link(session, find_by_id(session, revoked.id), at))
    make_link(username="eve@shop.example", life=2 * DAY)
    do(tell_expiring, at + 3 * DAY)  # as after days without a running engine
    assert told() == []


@pytest.mark.parametrize("origin", [origin for origin in LinkOrigin if origin is not LinkOrigin.link])
def test_openings_of_the_modal_tell_nothing(make_link: MakeLink, do, told, origin: LinkOrigin) -> None:
    made, at = make_link(origin=origin), now()
    do(mark_opened, made.id, at)
    do(fail, made.id, at)
    do(ask, made.id, at)
    do(tell_abandoned, at + DAY)
    do(tell_expiring, at + 6 * DAY + MINUTE)
    assert told() == []


def test_several_processes_that_look_at_once_tell_each_link_once(make_link: MakeLink, app: Flask, do, told) -> None:
    at = now()
    for number in range(5):
        do(mark_opened, make_link(username=f"user{number}").id, at)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: (do(tell_abandoned, at + DAY), do(tell_expiring, at + 6.5 * DAY)), range(8)))
    assert kinds(told).count("link.abandoned") == 5
    assert kinds(told).count("link.expiring") == 5


def test_looking_for_what_is_due_reads_no_other_link(app: Flask) -> None:
    with app.app_context(), transaction() as session:
        for mark in (Link.quiet_since, Link.warn_at):
            looked = sa.select(Link.id).where(mark <= now()).order_by(mark).limit(200)
            text = str(looked.compile(session.get_bind(), compile_kwargs={"literal_binds": False}))
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (str(now()), 200, 0)).all()
            assert f"ix_links_{mark.key}" in str(plan)
            assert "SCAN" not in str(plan)
