"""Runs with the real engine: in their order, step after step, with what came of each."""

from __future__ import annotations

import json
import threading

import pytest

from portal.clock import now
from portal.db import transaction
from portal.runs import failing, rules, turns
from portal.runs.counting import count_runs
from portal.runs.errors import ItemTooDeep, ItemTooLarge, NotRunning
from portal.runs.models import Run
from portal.runs.rules import Item, record_items, rerun
from portal.triggers.rules import stop_children
from portal.workflows.definition import LARGEST_VALUE
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, answers, workflow
from tests.stage import wait_until

MANUAL = workflow("{manual: true}", SEND)


def give(child, *items):
    """Record items for a child, as a trigger does; the ids of their runs."""
    with transaction() as session:
        row = session.get_one(ChildWorkflow, child.id)
        return [run.id for run in record_items(session, row, [Item(i) for i in items], trigger="event", now=now())]


def stop(child):
    with transaction() as session:
        return stop_children(session, [session.get_one(ChildWorkflow, child.id)], now())


def counted(child):
    with transaction() as session:
        return count_runs(session, child.workflow)


def test_a_run_sends_its_item_and_keeps_what_came_of_it(world):
    child = world.install(MANUAL)
    world.ingest.next = [answers(201, b'{"taken": true}')]
    run = world.ran(child, {"order": 7})
    (asked,) = world.ingest.of(child.user)
    assert asked.json == {"order": 7}
    (step,) = run.steps
    assert (run.state, run.actions, step.state, step.attempts) == ("succeeded", 1, "succeeded", 1)
    assert json.loads(step.output) == {"status": 201, "body": {"taken": True}}
    assert json.loads(step.input)["body"] == {"order": 7}
    assert run.started_at <= step.started_at <= step.stopped_at <= run.ended_at


def test_items_run_in_their_order_also_while_one_is_tried_again(world):
    child = world.install(workflow("{manual: true}", SEND, name="In order"))
    tried = []

    def refuse_the_third_for_a_while(asked):
        tried.append(asked.json)
        return (500 if asked.json == 3 and tried.count(3) < 3 else 200), b"{}", {}

    world.ingest.behaves_for[child.user] = refuse_the_third_for_a_while
    give(child, 1, 2, 3, 4, 5)
    give(child, 6)
    runs = world.settled(child, 6)
    assert tried == [1, 2, 3, 3, 3, 4, 5, 6]
    assert {run.state for run in runs} == {"succeeded"}
    assert len({asked.key for asked in world.ingest.of(child.user)}) == 6
    assert runs[2].steps[0].attempts == 3
    assert runs[2].error is None


def test_what_fails_for_good_is_told_and_the_next_item_goes_on(world):
    child = world.install(MANUAL)
    world.ingest.next = [answers(404, b'{"no": "such place"}')]
    give(child, 1, 2)
    first, second = world.settled(child, 2)
    assert (first.state, first.error, first.error_block) == ("failed", "127.0.0.1 answered 404.", "Send it")
    assert json.loads(first.steps[0].output) == {"status": 404, "body": {"no": "such place"}}
    assert second.state == "succeeded"
    (told,) = world.events("run.failed", child.user)
    assert (told["executionId"], told["block"], told["workflowId"]) == (first.id, "Send it", child.workflow)


def test_what_fails_for_a_day_is_given_up(world, monkeypatch):
    child = world.install(MANUAL)
    world.ingest.behaves_for[child.user] = answers(500)
    monkeypatch.setattr(failing, "GIVEN_UP_AFTER", failing.WAITS[0])
    run = world.ran(child, 1)
    assert (run.state, run.error) == ("failed", "127.0.0.1 answered 500. It was tried for a day.")
    assert run.steps[0].attempts == len(world.ingest.of(child.user)) >= 2
    assert run.attempts == run.steps[0].attempts


def test_a_retry_after_is_kept_to(world):
    child = world.install(MANUAL)
    world.ingest.next = [answers(429, Retry_After="86000")]
    run = world.reaches(world.run(child, 1), "retrying")
    assert 80_000 < (run.next_at - now()).total_seconds() < 110_000
    assert run.error == "127.0.0.1 answered 429."
    stop(child)


def test_a_delay_holds_up_no_other_item_and_the_run_goes_on_after_it(world):
    text = workflow("{manual: true}", '{filter: "${ trigger.waits }"}', "{delay: 1s}", SEND, name="Waiting")
    child = world.install(text.replace("- {filter", "- {name: Only some, filter"))
    slow = world.install(workflow("{manual: true}", "{delay: 1s}", SEND, name="Slow"))
    first, second = give(slow, 1, 2)
    world.reaches(first, "waiting")
    world.reaches(second, "waiting")
    assert [run.state for run in world.settled(slow, 2)] == ["succeeded"] * 2
    assert [asked.json for asked in world.ingest.of(slow.user)] == [1, 2]
    assert world.ran(child, {"waits": False}).state == "filtered"


def test_a_delay_at_the_end_ends_the_run(world):
    child = world.install(workflow("{manual: true}", SEND, "{delay: 1s}", name="Delay last"))
    run = world.ran(child, 1)
    assert (run.state, [step.state for step in run.steps]) == ("succeeded", ["succeeded", "waiting"])


def test_loops_filters_and_maps_work_together(world):
    text = workflow(
        "{manual: true}",
        '{name: Paid, for_each: {in: "${ trigger.orders }", steps: ['
        '{name: Only paid, filter: "${ item.paid }"}, '
        '{name: Short, map: {id: "${ item.id }", place: "${ index }"}}, '
        '{name: Send one, request: {post: "${ ingest }", body: "${ steps.short }"}}]}}',
        '{name: All, map: {sent: "${ length(steps.paid) }"}}',
        name="Loops",
    )
    child = world.install(text)
    run = world.ran(child, {"orders": [{"id": n, "paid": n != 2} for n in range(4)]})
    assert (run.state, run.actions) == ("succeeded", 3)
    assert [asked.json for asked in world.ingest.of(child.user)] == [
        {"id": 0, "place": 0},
        {"id": 1, "place": 1},
        {"id": 3, "place": 3},
    ]
    assert len({asked.key for asked in world.ingest.of(child.user)}) == 3
    assert json.loads(run.steps[-1].output) == {"sent": 3}
    paths = [step.path for step in run.steps]
    assert paths[:4] == ["0", "0.0.0", "0.0.1", "0.0.2"]
    assert "0.2.1" not in paths
    assert len(set(paths)) == len(paths) == 1 + 4 + 3 * 2 + 1


def test_another_user_s_runs_go_on_while_one_hangs(world):
    stuck, free = world.install(MANUAL), world.install(MANUAL)
    world.ingest.behaves_for[stuck.user] = world.ingest.hang
    hanging = give(stuck, *range(5))
    wait_until(lambda: len(world.ingest.of(stuck.user)) == 1)
    give(free, *range(20))
    world.settled(free, 20)
    assert [asked.json for asked in world.ingest.of(free.user)] == list(range(20))
    assert len(world.ingest.of(stuck.user)) == 1
    assert stop(stuck) == hanging[:1]


def test_what_is_stopped_while_a_request_is_under_way_ends_there(world):
    child = world.install(workflow("{manual: true}", SEND, SEND.replace("Send it", "Again"), name="Two"))
    reached, go = threading.Event(), threading.Event()

    def wait(asked):
        reached.set()
        go.wait(20)
        return 200, b"{}", {}

    world.ingest.behaves_for[child.user] = wait
    begun, queued = give(child, 1, 2)
    assert reached.wait(20)
    assert stop(child) == [begun]
    go.set()
    wait_until(lambda: world.see(queued).is_finished and world.see(begun).is_finished)
    assert {world.see(begun).state, world.see(queued).state} == {"cancelled"}
    other = world.install(MANUAL)
    world.ran(other)  # the engine has gone on by then
    assert len(world.ingest.of(child.user)) == 1
    assert counted(child).runs == 2
    with transaction() as session, pytest.raises(NotRunning):
        rules.start_run(session, session.get_one(ChildWorkflow, child.id), 1, trigger="manual", now=now())


def test_runs_are_counted_not_guessed(world):
    text = workflow("{manual: true}", '{name: Some, filter: "${ trigger.yes }"}', SEND, name="Counted")
    child = world.install(text)
    for item in ({"yes": True}, {"yes": True}, {"yes": False}):
        world.ran(child, item)
    world.ingest.next = [answers(400)]
    world.ran(child, {"yes": True})
    got = counted(child)
    assert (got.runs, got.errors, got.actions) == (4, 1, 2)


def test_a_rerun_begins_with_the_same_item_and_another_key(world):
    child = world.install(MANUAL)
    world.ingest.next = [answers(400)]
    failed = world.ran(child, {"order": 1})
    with transaction() as session:
        again = rerun(session, session.get_one(Run, failed.id), now()).id
    run = world.ended(again)
    assert (run.state, run.rerun_of, run.number) == ("succeeded", failed.id, 2)
    first, second = world.ingest.of(child.user)
    assert first.json == second.json == {"order": 1}
    assert first.key != second.key


def test_an_item_that_is_too_large_is_refused_or_becomes_a_run_that_failed(world):
    child = world.install(MANUAL)
    large = "x" * LARGEST_VALUE
    with transaction() as session, pytest.raises(ItemTooLarge):
        rules.start_run(session, session.get_one(ChildWorkflow, child.id), large, trigger="manual", now=now())
    give(child, large, 2)
    first, second = world.settled(child, 2)
    assert (first.state, second.state) == ("failed", "succeeded")
    assert "bytes" in first.error
    assert counted(child).errors >= 1


@pytest.mark.parametrize(
    ("item", "said"), [("x" * LARGEST_VALUE, "bytes"), (json.loads("[" * 102 + "]" * 102), "nested more than")]
)
def test_an_item_that_no_run_can_begin_with_is_told_like_any_other_failure(world, item, said):
    child = world.install(workflow("{event: order_made}", SEND, name="Told"))
    (run,) = give(child, item)
    (told,) = world.events("run.failed", child.user)
    assert (told["executionId"], told["workflowId"], told["integrationId"]) == (run, child.workflow, child.integration)
    assert said in told["message"]
    assert (told["block"], world.see(run).error_block) == ("order made", "order made")


def test_steps_that_give_too_much_fail_with_the_mend(world):
    big = '{name: Big, map: {text: "${ trigger.text }"}}'
    names = [big.replace("Big", f"Big {n}") for n in range(6)]
    child = world.install(workflow("{manual: true}", *names, SEND, name="Too much"))
    run = world.ran(child, {"text": "x" * 200_000})
    assert (run.state, run.error) == (
        "failed",
        "The steps of this run gave more than 1000 kB in all: keep less with `map`.",
    )
    twice = workflow("{manual: true}", '{name: Twice, map: {a: "${ trigger }", b: "${ trigger }"}}', name="Twice")
    assert world.ran(world.install(twice), "x" * 200_000).error == "It gave more than 256 kB: pick less of it."


def test_a_loop_that_is_too_long_fails_with_the_mend(world, monkeypatch):
    step = '{name: Each, for_each: {in: "${ trigger }", most: 3, steps: [{name: Same, map: {n: "${ item }"}}]}}'
    child = world.install(workflow("{manual: true}", step, name="Long loop"))
    assert world.ran(child, [1, 2, 3]).state == "succeeded"
    assert "The list has 4 items, this step takes 3" in world.ran(child, [1, 2, 3, 4]).error
    assert "`in` gave no list" in world.ran(child, {"a": 1}).error
    assert world.ran(child, []).state == "succeeded"
    monkeypatch.setattr(turns, "MOST_PROGRESS", 3)
    stopped = world.ran(child, [1, 2, 3])
    assert (stopped.state, stopped.error_block) == ("failed", "Same")
    assert "It took more than 3 steps" in stopped.error


@pytest.mark.parametrize(
    "item",
    [
        "\ud800 lone",
        "zero \0",
        {"\udfff": 1},
        json.loads("[" * 300 + "]" * 300),
        json.loads('{"a":' * 450 + "1" + "}" * 450),
    ],
    ids=["surrogate", "zero", "key", "deep list", "deep mapping"],
)
def test_no_item_however_odd_keeps_the_next_one_from_running(world, item):
    child = world.install(MANUAL)
    give(child, item, "fine")
    runs = world.settled(child, 2)
    assert runs[0].state in ("succeeded", "failed")
    assert runs[1].state == "succeeded"
    assert world.ingest.of(child.user)[-1].json == "fine"


def test_an_answer_that_is_odd_ends_its_run_and_no_other(world):
    child = world.install(MANUAL)
    odd = [
        b'"\\ud800"',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"a":' * 700 + b"1" + b"}" * 700,
        b"x" * 300_000,
        b"NaN",
        b'"\\u0000"',
    ]
    world.ingest.next = [answers(200, body) for body in odd]
    give(child, *range(len(odd) + 1))
    runs = world.settled(child, len(odd) + 1)
    assert [run.state for run in runs] == ["succeeded"] * len(runs)


def test_data_that_is_nested_too_deep_is_refused(world):
    child = world.install(MANUAL)
    with transaction() as session, pytest.raises(ItemTooDeep):
        rules.start_run(
            session,
            session.get_one(ChildWorkflow, child.id),
            json.loads("[" * 102 + "]" * 102),
            trigger="manual",
            now=now(),
        )
