"""What becomes of runs when their child is paused, goes on, is renewed, upgraded, stopped or taken away."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.credentials.models import Credential
from portal.db import transaction
from portal.environments import Environment
from portal.installations.changing import activate_workflow, delete_credential, delete_user, remove_workflow
from portal.integrations.declaration import parse_declaration
from portal.integrations.rules import apply_declaration
from portal.runs import stopping, sweeping
from portal.runs.counting import count_runs
from portal.runs.models import Run, SeenItem
from portal.runs.rules import Item, record_items, rerun
from portal.triggers.rules import start_children, stop_children, upgrade_child
from portal.users.models import User
from portal.workflows.errors import NewFieldsAsked
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, answers, workflow
from tests.stage import answer, wait_until

ASK = '{name: Ask, app: sandbox, request: {get: "/V1/orders/${ trigger }"}}'
ASKING = workflow("{event: asked}", ASK, SEND, name="Asking")


def give(child, *items, keyed=False):
    with transaction() as session:
        row = session.get_one(ChildWorkflow, child.id)
        made = [Item(item, str(item) if keyed else None) for item in items]
        return [run.id for run in record_items(session, row, made, trigger="event", now=now())]


def values(world, token="right"):
    return {"store_url": world.provider.url, "access_token": token}


@pytest.fixture
def refused(world):
    """A child whose credential the app has just refused, with three items waiting."""
    world.provider.behave = lambda handler: answer(
        200 if handler.headers["Authorization"] == "Bearer right" else 401, b'{"order": 1}'
    )(handler)
    child = world.install(ASKING, values=values(world, "wrong"))
    first, *_ = give(child, 1, 2, 3, keyed=True)
    world.reaches(first, "paused")
    wait_until(lambda: world.runs(child)[1].is_parked)
    return child


def credential(child):
    with transaction() as session:
        return session.get_one(Credential, child.credential)


def test_a_refused_credential_pauses_what_runs_with_it_and_is_told_once(world, refused):
    row = world.child(refused)
    assert row.paused_at
    assert row.is_active
    assert "no longer accepts the credential (it answered 401)" in row.paused_because
    assert credential(refused).broken_at
    give(refused, 4, keyed=True)
    with transaction() as session:  # somebody starts it again, and nothing has been mended
        start_children(session, [session.get_one(ChildWorkflow, refused.id)], now())
    wait_until(lambda: len(world.provider.calls) and world.runs(refused)[0].leg > 1)
    world.reaches(world.runs(refused)[0].id, "paused")
    (told,) = world.events("credential.broken", refused.user)
    assert (told["app"], told["credentialId"]) == ("sandbox", refused.credential)
    assert world.ingest.of(refused.user) == []


def test_a_new_link_for_the_same_account_goes_on_where_it_stood(world, refused):
    child = world.install(ASKING, refused.user, values=values(world))
    assert child.id != refused.id
    runs = world.settled(child, 3)
    assert {run.state for run in runs} == {"succeeded"}
    assert [asked.json for asked in world.ingest.of(child.user)] == [1, 2, 3]
    assert give(child, 2, 3, keyed=True) == []
    give(child, 4, keyed=True)
    world.settled(child, 4)
    assert [run.number for run in world.runs(child)] == [1, 2, 3, 4]
    assert world.runs(refused) == []


@pytest.mark.parametrize("other", ["account", "address"])
def test_another_account_begins_afresh(world, refused, other):
    account = "Another store" if other == "account" else "Luma Store"
    address = world.shop.url if other == "address" else world.provider.url
    world.install(
        ASKING, refused.user, account=account, values={"store_url": address, "access_token": world.shop.token}
    )
    assert {run.state for run in world.runs(refused)} == {"cancelled"}
    assert world.ingest.of(refused.user) == []


def test_another_account_in_the_same_place_begins_afresh_too(world, refused):
    child = world.install(ASKING, refused.user, values=values(world), account="Another store", operation="edit")
    assert child.id == refused.id
    assert {run.state for run in world.runs(child)} == {"cancelled"}
    (again,) = give(child, 1, keyed=True)
    assert world.ended(again).state == "succeeded"


def test_the_same_account_in_the_same_place_goes_on(world, refused):
    child = world.install(ASKING, refused.user, values=values(world), operation="edit")
    assert child.id == refused.id
    assert [run.state for run in world.settled(child, 3)] == ["succeeded"] * 3
    assert world.child(child).paused_at is None


def test_a_refusal_of_the_old_credential_leaves_the_new_one_whole(world):
    asked, go = threading.Event(), threading.Event()

    def behave(handler):
        if handler.headers["Authorization"] == "Bearer right":
            return answer(200)(handler)
        asked.set()
        go.wait(20)
        return answer(401)(handler)

    world.provider.behave = behave
    child = world.install(ASKING, values=values(world, "wrong"))
    (run,) = give(child, 1)
    assert asked.wait(20)
    renewed = world.install(ASKING, child.user, values=values(world), operation="edit")
    go.set()
    assert world.ended(run).state == "succeeded"
    assert world.child(renewed).paused_at is None
    assert credential(renewed).broken_at is None


def test_a_delay_is_waited_for_also_by_who_takes_the_place(world):
    text = workflow("{manual: true}", "{delay: 1h}", SEND, name="Hour")
    child = world.install(text)
    run = world.reaches(world.run(child, 1), "waiting")
    again = world.install(text, child.user)
    (moved,) = world.runs(again)
    assert (moved.id, moved.state, moved.next_at) == (run.id, "waiting", run.next_at)


def test_what_has_begun_is_finished_as_it_began_and_the_rest_in_the_new_way(world):
    one = SEND.replace("Send it", "One")
    two = '{name: Two, request: {post: "${ ingest }", body: {two: "${ trigger }"}}}'
    new = '{name: New, request: {post: "${ ingest }", body: {new: "${ trigger }"}}}'
    child = world.install(workflow("{event: go}", one, two, name="Upgraded"))
    world.ingest.next = [answers(200), answers(429, Retry_After="3600")]
    first, second = give(child, 1, 2)
    world.reaches(first, "retrying")
    apply(world, workflow("{event: go}", new, name="Upgraded"))
    with transaction() as session:
        upgrade_child(session, session.get_one(ChildWorkflow, child.id), now())
    with transaction() as session:  # the hour is over
        run = session.get_one(Run, first)
        stopping.go_on(session, run)
    world.settled(child, 2)
    assert [asked.json for asked in world.ingest.of(child.user)] == [1, {"two": 1}, {"two": 1}, {"new": 2}]
    assert [world.see(run).version for run in (first, second)] == [1, 2]


def apply(world, text):
    with transaction() as session:
        apply_declaration(session, parse_declaration(text, world.app.extensions["catalogue"], source="t"), now())


def test_an_upgrade_that_asks_for_new_fields_is_refused_and_changes_nothing(world):
    child = world.install(workflow("{event: go}", SEND, name="Asks"))
    apply(world, workflow("{event: go}", SEND, fields="[{name: f, title: Ledger, required: true}]", name="Asks"))
    with pytest.raises(NewFieldsAsked, match="Ledger"), transaction() as session:
        upgrade_child(session, session.get_one(ChildWorkflow, child.id), now())
    assert world.ran(child, 1).version == 1
    again = world.install(
        workflow("{event: go}", SEND, fields="[{name: f, title: Ledger, required: true}]", name="Asks"),
        child.user,
        answers={"f": "x"},
        operation="update",
    )
    assert (again.id, world.ran(again, 2).version) == (child.id, 2)


def test_deleting_the_credential_stops_what_runs_with_it(world):
    child = world.install(workflow("{manual: true}", "{delay: 1h}", SEND, name="Hour"))
    run = world.reaches(world.run(child, 1), "waiting")
    with transaction() as session:
        delete_credential(session, session.get_one(Credential, child.credential), now())
    assert world.see(run.id).state == "cancelled"
    assert not world.child(child).is_active


def test_deleting_the_user_takes_runs_along_also_those_under_way(world):
    child = world.install(workflow("{manual: true}", SEND, SEND.replace("Send it", "Again"), name="Two"))
    reached, go = threading.Event(), threading.Event()

    def wait(_asked):
        reached.set()
        go.wait(20)
        return 200, b"{}", {}

    world.ingest.behaves_for[child.user] = wait
    world.run(child, 1)
    assert reached.wait(20)
    with transaction(Environment.production) as session:
        delete_user(session, session.get_one(User, child.user), now())
    go.set()
    other = world.install(workflow("{manual: true}", SEND))
    world.ran(other)
    assert world.count(Run, user_id=child.user) == 0
    assert len(world.ingest.of(child.user)) == 1


def test_a_failed_run_is_run_again_by_the_child_that_took_the_place(world):
    text = workflow("{manual: true}", SEND, name="Renewed")
    child = world.install(text)
    world.ingest.next = [answers(400)]
    failed = world.ran(child, "item")
    again = world.install(text, child.user)
    with transaction() as session:
        made = rerun(session, session.get_one(Run, failed.id), now())
        assert made.child_id == again.id
    assert world.ended(made.id).state == "succeeded"
    with transaction() as session:
        remove_workflow(session, session.get_one(ChildWorkflow, again.id), now())


def test_a_child_that_was_stopped_begins_anew(world):
    child = world.install(workflow("{event: go}", SEND, name="Again"))
    with transaction() as session:
        stop_children(session, [session.get_one(ChildWorkflow, child.id)], now())
    assert give(child, 1) == []
    with transaction() as session:
        activate_workflow(session, session.get_one(ChildWorkflow, child.id), now())
    (run,) = give(child, 2)
    assert world.ended(run).state == "succeeded"


def sweep(ended, hours=0):
    """Take up what was dropped, with an engine that says this; how many runs it was."""
    return sweeping.take_up_dropped(now() + timedelta(hours=hours, minutes=1), ended)


def waiting(world):
    """A child with a run that waits for an hour; the two."""
    child = world.install(workflow("{manual: true}", "{delay: 1h}", SEND, name="Hour"))
    return child, world.reaches(world.run(child, 1), "waiting").id


def test_a_run_that_was_taken_for_nothing_else_is_taken_up_again(world):
    child, run = waiting(world)
    assert sweep(lambda _legs: set(), hours=2) == 0
    assert sweep(set, hours=2) >= 1  # as if the engine had lost each of them
    assert world.ended(run).state == "succeeded"
    assert json.loads(world.ingest.of(child.user)[0].body) == 1


def test_what_was_parked_for_nobody_is_taken_up_again(world):
    _, run = waiting(world)
    with transaction() as session:
        session.execute(sa.update(Run).where(Run.id == run).values(is_parked=True, state="queued"))
    sweep(set)
    assert world.ended(run).state == "succeeded"


@pytest.mark.parametrize("what", ["end", "another leg", "pause"])
def test_what_happens_to_a_run_while_the_engine_is_asked_stays_as_it_is(world, what):
    child, run = waiting(world)

    def meanwhile(legs):
        with transaction() as session:
            found = session.get_one(Run, run)
            if what == "end":
                stopping.stop_run(session, found, now())
            elif what == "another leg":
                found.leg += 1
            else:
                found.state = "paused"
        return set(legs)

    before = world.see(run)
    sweep(meanwhile, hours=2)
    after = world.see(run)
    assert (after.state, after.leg) == {
        "end": ("cancelled", before.leg),
        "another leg": ("waiting", before.leg + 1),
        "pause": ("paused", before.leg),
    }[what]
    assert world.ingest.of(child.user) == []


def test_what_is_over_stays_over(world):
    _, run = waiting(world)
    with transaction() as session:
        stopping.stop_run(session, session.get_one(Run, run), now())
    sweep(set, hours=2)
    assert (world.see(run).state, world.see(run).is_finished) == ("cancelled", True)


def backlog(world, count, *steps, name):
    """A child with a run that is tried again in an hour, and others behind it; its file."""
    text = workflow("{event: go}", *steps, SEND, name=name)
    child = world.install(text)
    world.ingest.behaves_for[child.user] = answers(429, Retry_After="3600")
    first, *_ = give(child, *range(count), keyed=True)
    world.reaches(first, "retrying")
    wait_until(lambda: all(run.is_parked for run in world.runs(child)[1:]))
    return text, child


def test_the_runs_of_several_workflows_that_are_stopped_together_are_counted_for_each(world):
    pair = [backlog(world, 3, name=name)[1] for name in ("One of two", "Two of two")]
    with transaction() as session:
        begun = stop_children(session, [session.get_one(ChildWorkflow, child.id) for child in pair], now())
    assert sorted(begun) == sorted(world.runs(child)[0].id for child in pair)
    with transaction() as session:
        assert [count_runs(session, child.workflow).runs for child in pair] == [3, 3]


def test_a_backlog_is_handed_over_and_gone_through_in_order(world):
    text, child = backlog(world, 40, name="Handed over")
    world.ingest.behaves_for[child.user] = answers(200)
    again = world.install(text, child.user)
    assert [run.state for run in world.settled(again, 40)] == ["succeeded"] * 40
    assert [asked.json for asked in world.ingest.of(child.user)] == [0, *range(40)]


def test_runs_at_a_delay_are_handed_over_and_go_on_when_it_is_over(world):
    text = workflow("{event: go}", "{delay: 2s}", SEND, name="Delays")
    child = world.install(text)
    for run in give(child, *range(3)):
        world.reaches(run, "waiting")
    again = world.install(text, child.user)
    assert [run.state for run in world.settled(again, 3)] == ["succeeded"] * 3
    assert sorted(asked.json for asked in world.ingest.of(child.user)) == [0, 1, 2]


def test_what_was_seen_is_seen_for_good(world):
    child = world.install(workflow("{event: go}", SEND, name="Seen"))
    (run,) = give(child, "a", keyed=True)
    world.ended(run)
    assert give(child, "a", keyed=True) == []
    assert world.count(SeenItem, child_id=child.id) == 1
