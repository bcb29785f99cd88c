"""Many runs at once: stopped, handed over and swept without a statement for each. No engine runs beside these tests."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.clock import now
from portal.db import engine, transaction
from portal.runs import sweeping
from portal.runs.logs import Counts, count_runs
from portal.runs.models import Run
from portal.runs.rules import Item, record_items
from portal.triggers.rules import stop_children
from portal.workflows.models import ChildWorkflow
from tests.runtime import SEND, Ingest, end, make_world, workflow

FLOW = workflow("{event: go}", SEND, name="Backlog")


@pytest.fixture
def world(instance, shop, provider):
    """The test is inside its context."""
    ingest = Ingest()
    made = make_world(instance, shop, provider, ingest)
    with made.app.app_context():
        yield made
    end(made)
    ingest.shutdown()
    ingest.server_close()


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
