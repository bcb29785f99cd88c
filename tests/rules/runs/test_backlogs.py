"""Many runs at once: stopped, handed over and swept without a statement for each. No engine runs beside these tests."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import engine, transaction
from portal.runs import failing, forgetting, logs, sweeping, turns
from portal.runs.counting import Counts, count_runs
from portal.runs.models import Run
from portal.runs.rules import Item, record_items
from portal.triggers.rules import stop_children
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, quiet_world, workflow

FLOW = workflow("{event: go}", SEND, name="Backlog")


@pytest.fixture
def world(instance, shop, provider):
    """The test is inside its context."""
    with quiet_world(instance, shop, provider) as made:
        yield made


@pytest.fixture
def child(world):
    """A child with forty runs, of which the first has begun."""
    made = world.install(FLOW)
    with transaction() as session:
        row = session.get_one(ChildWorkflow, made.id)
        first, *_ = record_items(session, row, [Item(number) for number in range(40)], trigger="event", now=now())
        first.state, first.started_at, first.error, first.actions = "retrying", now(), "It answered 500.", 2
        first.next_at = now() + timedelta(hours=1)
    return made


@contextmanager
def statements():
    """What is said to the database inside the block, with its values."""
    said = []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    sa.event.listen(engine(), "before_cursor_execute", note)
    yield said
    sa.event.remove(engine(), "before_cursor_execute", note)


def how_many(said, begin):
    return len([statement for statement, _ in said if statement.startswith(begin)])


def test_a_backlog_is_stopped_at_once_and_counted(world, child):
    with statements() as said, transaction() as session:
        begun = stop_children(session, [session.get_one(ChildWorkflow, child.id)], now())
    assert how_many(said, "UPDATE runs") == 1
    assert how_many(said, "UPDATE workflow_days") <= 2
    runs = world.runs(child)
    assert begun == [runs[0].id]
    assert {(run.state, run.is_finished, run.is_parked, run.next_at) for run in runs} == {
        ("cancelled", True, False, None)
    }
    assert [run.error for run in runs[:2]] == ["It answered 500.", "The workflow was stopped."]
    with transaction() as session:
        assert count_runs(session, child.workflow) == Counts(runs=40, errors=0, actions=2)


def test_a_backlog_is_handed_over_at_once(world, child):
    with statements() as said:
        again = world.install(FLOW, child.user)
    assert how_many(said, "UPDATE runs") <= 4
    assert len([values for statement, values in said if statement[:6] == "INSERT" and "run_leg" in values]) == 1
    first, *others = world.runs(again)
    assert (first.state, first.leg, first.is_parked, first.next_at) == ("queued", 2, False, None)
    assert {(run.state, run.leg, run.is_parked) for run in others} == {("queued", 2, True)}
    assert len(others) == 39


def test_dropped_runs_are_looked_for_in_batches_by_the_index_of_what_is_under_way(world, child, monkeypatch):
    monkeypatch.setattr(sweeping, "BATCH", 15)
    asked = []
    with statements() as said:
        sweeping.take_up_dropped(now() + timedelta(hours=2), lambda legs: asked.append(legs) or set())
    assert [len(legs) for legs in asked] == [15, 15, 10]
    assert sorted(leg.split("-")[2] for legs in asked for leg in legs) == sorted(run.id for run in world.runs(child))
    with engine().connect() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all() for query, values in said]
    assert all("ix_runs_unfinished" in plan[0][3] for plan in plans)
    assert not [step for plan in plans for step in plan if "TEMP B-TREE" in step[3]]
    assert world.count(Run, child_id=child.id, leg=1) == 40


def test_a_run_that_finds_no_place_asks_for_one_less_and_less_often(world, monkeypatch):
    monkeypatch.setattr(failing.random, "uniform", lambda least, _most: least)
    made = world.install(FLOW)
    run, at, waits = world.run(made, 1), now(), []

    def put_off(is_try):
        with transaction() as session:
            row = session.get_one(Run, run)
            assert turns.claim_leg(session, run, row.leg, at)
            wait = None if is_try else timedelta(seconds=1)
            facts = {"wait": wait, "is_try": is_try, "block_name": "Send it", "now": at}
            return failing.put_off(session, session.get_one(Run, run), 0, "Why.", **facts)

    for _ in range(8):
        due = put_off(is_try=False)
        waits.append((due - at).total_seconds())
        at = due
    assert waits == [1, 1, 2, 4, 8, 16, 30, 30]
    assert (world.see(run).attempts, world.see(run).error) == (0, None)
    due = put_off(is_try=True)
    assert due - at == failing.WAITS[0]
    assert (world.see(run).attempts, world.see(run).failing_since) == (1, at), "the day begins with the first try"


def test_the_legs_of_a_user_s_runs_are_named_a_bounded_number_at_a_time(world, child, monkeypatch):
    monkeypatch.setattr(logs, "MOST_LEGS", 1000)
    with transaction() as session:
        session.execute(sa.update(Run).where(Run.child_id == child.id).values(leg=300, ended_at=now()))
    with transaction() as session:
        batch = logs.ended_runs(session, child.user)
        assert (len(batch.ids), len(batch.legs)) == (3, 900)
        session.execute(sa.update(Run).where(Run.child_id == child.id).values(leg=3000))
        batch = logs.ended_runs(session, child.user)
        assert (len(batch.ids), len(batch.legs)) == (1, 3000), "one at the least"
    assert forgetting.erase_logs(child.user).runs == 40
