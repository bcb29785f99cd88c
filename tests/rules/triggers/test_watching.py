"""Schedules and polls, moment by moment: what is due is done once, for who is there, with the clock of the place."""

from __future__ import annotations

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import transaction
from portal.http import Outbound, PrivateNetwork, Request
from portal.runs import rules
from portal.runs.models import Run
from portal.runs.rules import item_of
from portal.sandbox.store import add_order
from portal.triggers import polling, watching
from portal.triggers.models import Watch
from portal.triggers.rules import next_moment, start_children, stop_children
from portal.workflows import checking
from portal.workflows.definition import Trigger
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, workflow
from tests.stage import answer, hang, wait_until

POLLED = workflow("{poll: order_created}", SEND, name="Polled")


def watch(child):
    with transaction() as session:
        return session.get_one(Watch, child.id)


def set_watch(child, **values):
    with transaction() as session:
        session.execute(sa.update(Watch).where(Watch.child_id == child.id).values(**values))


def change(child, what):
    with transaction() as session:
        what(session, session.get_one(ChildWorkflow, child.id))


def moments(trigger, start, count):
    found = []
    for _ in range(count):
        start = next_moment(trigger, start)
        found.append(start)
    return found


@pytest.mark.parametrize(
    ("cron", "start", "hours"),
    [
        ("0 9 * * *", datetime(2026, 10, 24, 0, tzinfo=UTC), [7, 8, 8]),  # clocks go back on 25 October
        ("0 9 * * *", datetime(2026, 3, 28, 0, tzinfo=UTC), [8, 7, 7]),  # and forth on 29 March
        ("30 12 * * *", datetime(2026, 7, 1, 0, tzinfo=UTC), [10, 10, 10]),
    ],
)
def test_nine_o_clock_stays_nine_o_clock_when_clocks_change(cron, start, hours):
    trigger = Trigger(schedule=cron, time_zone="Europe/Berlin")
    assert [moment.hour for moment in moments(trigger, start, 3)] == hours


@pytest.mark.parametrize("cron", ["30 2 * * *", "0 * * * *", "*/15 * * * *", "0 2 29 3 *"])
@pytest.mark.parametrize("start", [datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)])
def test_moments_follow_one_another_over_a_change_of_clocks(cron, start):
    found = moments(Trigger(schedule=cron, time_zone="Europe/Berlin"), start, 12)
    assert found == sorted(set(found))
    assert all(moment.tzinfo == UTC for moment in found)


def test_a_day_has_one_run_at_half_past_two_also_when_that_hour_comes_twice_or_not_at_all():
    trigger = Trigger(schedule="30 2 * * *", time_zone="Europe/Berlin")
    for start in (datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 10, 23, 12, tzinfo=UTC)):
        days = [moment.date() for moment in moments(trigger, start, 4)]
        assert len(set(days)) == len(days)


def test_a_leap_day_comes_and_a_day_that_never_comes_keeps_nobody_from_installing(world, monkeypatch):
    child = world.install(workflow('{schedule: "0 9 29 2 *"}', SEND, name="Leap day"))
    assert (watch(child).next_at.month, watch(child).next_at.day) == (2, 29)
    monkeypatch.setattr(checking, "comes_ever", lambda _schedule: True)  # as it was published before this was asked
    never = world.install(workflow('{schedule: "0 0 30 2 *"}', SEND, name="Never"))
    assert (watch(never).next_at, watch(never).since) == (None, None)


def test_moments_that_were_missed_are_made_up_for_once(world):
    child = world.install(workflow('{schedule: "0 * * * *"}', SEND, name="Hourly"))
    missed = (now() - timedelta(hours=5)).replace(minute=0, second=0, microsecond=0)
    set_watch(child, next_at=missed, since=missed.isoformat())
    assert watching.claim_due("me", now(), 10).children == [child.id]
    for _ in range(2):
        polling.ask_for(child.id)
        set_watch(child, next_at=missed, since=missed.isoformat())  # a crash before the commit
    (run,) = world.runs(child)
    assert (run.trigger, run.state) == ("schedule", "queued")
    polling.ask_for(child.id)
    assert now() < watch(child).next_at <= now() + timedelta(hours=1)


def test_a_pause_misses_moments_once_too(world):
    child = world.install(workflow('{schedule: "0 * * * *"}', SEND, name="Hourly"))
    missed = (now() - timedelta(hours=5)).replace(minute=0, second=0, microsecond=0)
    set_watch(child, next_at=missed, since=missed.isoformat())
    change(child, lambda _session, row: setattr(row, "paused_at", now()))
    polling.ask_for(child.id)
    assert watch(child).next_at is None
    assert world.runs(child) == []
    change(child, lambda session, row: start_children(session, [row], now()))
    polling.ask_for(child.id)
    assert len(world.runs(child)) == 1
    assert watch(child).next_at > now()


def test_an_installation_runs_once_also_when_it_is_renewed(world):
    text = workflow("{installation: true}", SEND, name="Once")
    child = world.install(text)
    (run,) = world.runs(child)
    assert run.trigger == "installation"
    world.install(text, child.user)
    world.install(text, child.user, operation="update")
    change(child, lambda session, row: start_children(session, [row], now()))
    assert world.count(Run, user_id=child.user) == 1


def test_orders_made_before_the_installation_are_not_run_and_later_ones_once(world):
    old = add_order(world.shop.instance, now() - timedelta(minutes=2))
    child = world.install(POLLED)
    polling.ask_for(child.id)
    assert world.runs(child) == []
    made = [add_order(world.shop.instance, now() + timedelta(seconds=1))["entity_id"] for _ in range(3)]
    for _ in range(3):
        polling.ask_for(child.id)
    assert taken(world, child) == made
    assert old["entity_id"] not in made
    assert watch(child).error is None


def test_what_was_seen_is_asked_about_once_and_not_item_by_item(world):
    child = world.install(POLLED)
    made = [add_order(world.shop.instance)["entity_id"] for _ in range(5)]
    polling.ask_for(child.id)
    assert world.count(Run, child_id=child.id) == len(made)
    written = []
    engine = world.app.extensions["database"].engine
    sa.event.listen(engine, "before_cursor_execute", lambda *facts: written.append(facts[2]))
    polling.ask_for(child.id)
    assert any("seen_items" in statement for statement in written)
    assert not [statement for statement in written if statement.startswith("INSERT")]


def orders(numbers, at="2099-01-01 00:00:00"):
    return json.dumps({"items": [{"entity_id": number, "created_at": at} for number in numbers]}).encode()


def polled(world, body):
    """A child of a provider that answers each poll with this."""
    world.provider.behave = answer(200, body)
    return world.install(POLLED, values={"store_url": world.provider.url, "access_token": "t"})


def taken(world, child):
    return [item_of(world.app.extensions["keys"], run)["entity_id"] for run in world.runs(child)]


def get_through(child):
    """Let the runs of a child be over."""
    with transaction() as session:
        session.execute(sa.update(Run).where(Run.child_id == child.id).values(state="succeeded", ended_at=now()))


def test_a_large_page_is_recorded_a_hundred_items_at_a_time_and_others_write_in_between(world):
    child = polled(world, orders(range(250)))
    recorded, seen = [0], []
    engine = world.app.extensions["database"].engine

    def count(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("INSERT INTO runs"):
            recorded[-1] += len(parameters) if isinstance(parameters, list) else 1
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", count)
    sa.event.listen(engine, "commit", lambda _connection: recorded.append(0))
    polling.ask_for(child.id)
    assert [number for number in recorded if number] == [100, 100, 50]
    assert taken(world, child) == list(range(250))
    seen.clear()
    world.provider.calls.clear()
    polling.ask_for(child.id)
    assert len([statement for statement in seen if "seen_items" in statement]) == len(world.provider.calls)
    assert not [statement for statement in seen if statement.startswith("INSERT")]
    assert watch(child).error is None


def test_a_page_of_many_times_what_was_asked_for_is_not_taken(world):
    child = polled(world, orders(range(1001)))
    polling.ask_for(child.id)
    assert watch(child).failures == 1
    assert watch(child).error == (
        "Sandbox shop answered with 1,001 items where 100 were asked for, so none was taken: "
        "let its declaration ask for {page_size}."
    )
    assert world.runs(child) == []


def test_an_app_that_never_comes_to_an_end_is_asked_when_there_is_room_again(world, monkeypatch):
    monkeypatch.setattr(rules, "MOST_AHEAD", 250)
    child = polled(world, b"")
    pages = itertools.count()

    def ever_more(handler):
        first = next(pages) * 100
        answer(200, orders(range(first, first + 100)))(handler)

    world.provider.behave = ever_more
    polling.ask_for(child.id)
    assert taken(world, child) == list(range(300))
    seen = watch(child)
    assert (seen.error, seen.failures, seen.claimed_by) == (None, 0, None)
    assert now() < seen.next_at < now() + timedelta(seconds=15)
    asked = len(world.provider.calls)
    polling.ask_for(child.id)
    assert len(world.provider.calls) == asked
    stood = watch(child)
    assert (stood.walk_from, stood.page, stood.since) == (seen.walk_from, seen.page, seen.since)
    get_through(child)
    polling.ask_for(child.id)
    assert len(taken(world, child)) == 600


def test_a_page_that_there_was_no_room_for_is_read_again_to_its_end(world, monkeypatch):
    monkeypatch.setattr(rules, "MOST_AHEAD", 150)
    child = polled(world, orders(range(350)))
    polling.ask_for(child.id)
    assert taken(world, child) == list(range(200))
    assert watch(child).since is None
    assert watch(child).start is not None
    for _ in range(3):
        get_through(child)
        polling.ask_for(child.id)
    assert taken(world, child) == list(range(350))
    assert watch(child).since is not None


def test_two_nodes_never_ask_for_the_same_child_at_once(world):
    children = [world.install(POLLED) for _ in range(12)]
    at, taken = now() + timedelta(seconds=1), []
    gate = threading.Barrier(4)

    def node(name):
        with world.app.app_context():
            gate.wait()
            taken.extend(watching.claim_due(name, at, 12).children)

    threads = [threading.Thread(target=node, args=[str(number)]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(child.id for child in children)
    watching.release_own(watch(children[0]).claimed_by)
    assert watch(children[0]).claimed_by is None
    assert watch(children[0]).next_at <= now()


def test_what_was_asked_before_a_child_was_stopped_or_began_anew_is_dropped(world):
    child = world.install(POLLED)
    item = b'{"items": [{"entity_id": 1, "created_at": "2099-01-01 00:00:00"}]}'
    world.provider.behave = answer(200, item)

    def meanwhile(handler):
        with world.app.app_context():
            change(child, lambda session, row: stop_children(session, [row], now()))
            change(child, lambda session, row: start_children(session, [row], now()))
        answer(200, item)(handler)

    child = world.install(POLLED, values={"store_url": world.provider.url, "access_token": "t"})
    world.provider.behave = meanwhile
    polling.ask_for(child.id)
    assert world.runs(child) == []
    assert watch(child).start is None
    world.provider.behave = answer(200, item)
    polling.ask_for(child.id)
    assert len(world.runs(child)) == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"", "answered 500"),
        (200, b"<html>", "no JSON"),
        (200, b"{}", "without the list"),
        (200, b'{"items": [{}]}', "without the key"),
        (404, b"", "answered 404"),
    ],
)
def test_why_nothing_comes_is_told_and_asking_slows_down(world, status, body, said):
    child = world.install(POLLED, values={"store_url": world.provider.url, "access_token": "t"})
    world.provider.behave = answer(status, body)
    for _ in range(3):
        polling.ask_for(child.id)
    seen = watch(child)
    assert said in seen.error
    assert seen.failures == 3
    assert seen.next_at > now() + timedelta(minutes=3)
    world.provider.behave = answer(200, b'{"items": []}')
    polling.ask_for(child.id)
    assert (watch(child).error, watch(child).failures) == (None, 0)


@pytest.mark.parametrize(
    "date",
    ["Fri, 31 Dec 9999 23:59:59 -2300", "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 01 Jan 0100 00:00:00 +2300", "soon"],
)
def test_a_clock_at_an_end_of_the_calendar_is_not_reckoned_with(world, date):
    def behave(handler):
        handler.send_response_only(200)
        handler.send_header("Date", date)
        handler.send_header("Content-Length", "13")
        handler.end_headers()
        handler.wfile.write(b'{"items": []}')

    child = world.install(POLLED, values={"store_url": world.provider.url, "access_token": "t"})
    world.provider.behave = behave
    for _ in range(2):
        polling.ask_for(child.id)
    assert (watch(child).error, watch(child).failures) == (None, 0)
    assert watch(child).asked_at


def test_people_are_not_turned_away_while_polls_keep_a_host_busy(world):
    world.provider.behave = hang
    at = {"store_url": world.provider.url, "access_token": "t"}
    children = [world.install(POLLED, values=at) for _ in range(8)]

    def ask(child):
        with world.app.app_context():
            polling.ask_for(child.id)

    with ThreadPoolExecutor(9) as threads:
        polls = [threads.submit(ask, child) for child in children]
        wait_until(lambda: len(world.provider.calls) == 8)
        person = threads.submit(world.app.extensions["outbound"].send, Request("GET", world.provider.url))
        wait_until(lambda: person.done() or len(world.provider.calls) == 9)
        assert not person.done(), person.exception()
        world.provider.closing.set()
        assert all(poll.exception() is None for poll in polls)


def test_a_poll_that_finds_no_place_comes_again_soon_and_has_not_failed(world, monkeypatch):
    child = world.install(POLLED, values={"store_url": world.provider.url, "access_token": "t"})
    full = Outbound(private=PrivateNetwork.parse("127.0.0.1"), per_host=0)
    monkeypatch.setitem(world.app.extensions, "background_outbound", full)
    polling.ask_for(child.id)
    seen = watch(child)
    assert (seen.error, seen.failures, seen.claimed_by) == (None, 0, None)
    assert seen.next_at < now() + timedelta(seconds=5)


def test_a_refused_poll_pauses_the_child_and_tells_once(world):
    child = world.install(POLLED, values={"store_url": world.provider.url, "access_token": "t"})
    world.provider.behave = answer(401)
    polling.ask_for(child.id)
    polling.ask_for(child.id)
    assert world.child(child).paused_at
    assert watch(child).next_at is None
    assert len(world.events("credential.broken", child.user)) == 1
    assert len(world.provider.calls) == 1
