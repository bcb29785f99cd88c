"""A user's logs that are erased are gone: from our tables, from the engine's, and from the files below them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import sqlalchemy as sa

from portal.clock import now
from portal.db import engine, transaction
from portal.runs import forgetting, logs
from portal.runs.counting import count_runs
from portal.runs.forgetting import erase_logs, forget_old_logs
from portal.runs.models import Run, RunStep, WorkflowDay
from portal.runs.rules import rerun
from tests.runtime import SEND, answers, workflow
from tests.stage import wait_until

MANUAL = workflow("{manual: true}", SEND)
DELAYED = workflow(
    "{manual: true}", SEND, "{name: Wait, delay: 1s}", SEND.replace("Send it", "And again"), name="Later"
)


def records(*runs):
    """How many records of their legs the engine has, by run: workflows and what their steps gave."""
    with engine().connect() as connection:
        names = connection.scalars(
            sa.text(
                "SELECT workflow_uuid FROM workflow_status WHERE workflow_uuid LIKE 'run-%'"
                " UNION ALL SELECT workflow_uuid FROM operation_outputs WHERE workflow_uuid LIKE 'run-%'"
            )
        ).all()
    counted = Counter(name.split("-")[2] for name in names)
    return {run: counted[run] for run in runs if counted[run]}


def legs(*runs):
    """How many legs of these runs the engine knows, once none of them is under way."""

    def known():
        with engine().connect() as connection:
            return [
                row
                for row in connection.execute(sa.text("SELECT workflow_uuid, status FROM workflow_status")).all()
                if row[0].startswith("run-") and row[0].split("-")[2] in runs
            ]

    wait_until(lambda: all(status == "SUCCESS" for _, status in known()))
    return len(known())


def steps_of(*runs):
    with transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(RunStep).where(RunStep.run_id.in_(runs)))


def days_of(child):
    with transaction() as session:
        return count_runs(session, child.workflow)


def age(runs, days):
    """Let these runs have been so many days ago."""
    with transaction() as session:
        session.execute(sa.update(Run).where(Run.id.in_(runs)).values(created_at=now() - timedelta(days=days)))


def test_all_of_a_user_s_runs_are_gone_and_another_user_s_are_not(world):
    child = world.install(MANUAL)
    later, other = world.install(DELAYED, child.user), world.install(MANUAL)
    world.ingest.next = [answers(500), answers(200), answers(404)]
    retried, failed = world.ran(child, 1).id, world.ran(child, 2).id
    with transaction() as session:
        again = rerun(session, session.get_one(Run, failed), now()).id
    world.ended(again)
    delayed, theirs = world.ran(later, 3).id, world.ran(other, 4).id
    mine = [retried, failed, again, delayed]
    known, said, counts = legs(*mine), steps_of(*mine), (days_of(child), days_of(later))
    assert legs(theirs) == 1
    assert known > len(mine), "runs that were delayed have more legs than one"
    kept = records(theirs)
    receipt = erase_logs(child.user)
    assert (receipt.user_id, receipt.runs, receipt.steps, receipt.engine_records) == (child.user, 4, said, known)
    assert world.count(Run, user_id=child.user) == steps_of(*mine) == 0
    assert records(*mine) == {}
    assert records(theirs) == kept != {}
    assert (world.count(Run, user_id=other.user), steps_of(theirs)) == (1, 1)
    assert (days_of(child), days_of(later)) == counts
    assert world.ran(child, 5).state == "succeeded"


def test_erasing_again_finds_nothing(world):
    child = world.install(MANUAL)
    legs(world.ran(child).id)
    assert erase_logs(child.user).runs == 1
    again = erase_logs(child.user)
    assert (again.runs, again.steps, again.engine_records) == (0, 0, 0)


def test_the_receipt_counts_the_engine_s_records_that_were_there(world):
    child = world.install(MANUAL)
    run = world.ran(child).id
    legs(run)
    forgetting.forget_work([f"run-{1:012d}-{run}-1"])  # as the engine does after some days
    assert (erase_logs(child.user).engine_records, world.count(Run, user_id=child.user)) == (0, 0)


def test_runs_under_way_go_on_and_log_what_they_do_from_then_on(world):
    child = world.install(workflow("{manual: true}", SEND, SEND.replace("Send it", "And again"), name="Goes on"))
    world.ingest.next = [answers(200), world.ingest.hang]
    run = world.run(child, {"order": 1})
    wait_until(lambda: len(world.ingest.of(child.user)) == 2)
    assert [step.name for step in world.steps(run)] == ["Send it"]
    receipt = erase_logs(child.user)
    assert (receipt.runs, receipt.steps) == (0, 1)
    assert world.steps(run) == []
    world.ingest.closing.set()
    try:
        ended = world.ended(run)
    finally:
        world.ingest.closing.clear()
    assert ended.state == "succeeded"
    assert [step.name for step in ended.steps] == ["And again"]
    assert len(world.ingest.of(child.user)) == 2


def test_a_run_that_ended_a_moment_ago_leaves_the_engine_in_order(world, caplog):
    child = world.install(MANUAL)
    runs = []
    for number in range(20):
        runs.append(world.ran(child, number).id)
        erase_logs(child.user)
    wait_until(lambda: records(*runs) == {})
    assert world.ran(child, 20).state == "succeeded"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_what_the_logs_said_is_nowhere_in_the_files(world):
    child, other = world.install(MANUAL), world.install(MANUAL)
    world.ingest.behaves_for[child.user] = answers(200, b'{"said": "planted-3f9c2e"}')
    for number in range(30):
        world.run(child, {"note": "planted-3f9c2e " * (number * 7 % 90)})
        world.run(other, {"note": "kept-88ab1c " * (number * 11 % 90)})
    mine = [run.id for run in world.settled(child, 30)]
    legs(*mine, *[run.id for run in world.settled(other, 30)])
    assert b"planted-3f9c2e" in world.dump()
    assert erase_logs(child.user).runs == 30
    dump = world.dump()
    assert b"planted-3f9c2e" not in dump
    assert [run for run in mine if run.encode() in dump] == []
    assert b"kept-88ab1c" in dump


def test_logs_that_became_old_are_wiped_from_the_log_of_writes_too(world):
    child = world.install(MANUAL)
    run = world.ran(child, {"note": "aged-51d07b"}).id
    legs(run)
    age([run], 1000)
    assert b"aged-51d07b" in world.dump()
    forget_old_logs()
    assert b"aged-51d07b" not in world.dump()


def test_a_reader_who_takes_long_doesn_t_keep_logs_from_being_erased(world):
    child = world.install(MANUAL)
    run = world.ran(child, {"note": "read-7710ce"}).id
    legs(run)
    with engine().connect() as reader:
        rows = reader.execution_options(stream_results=True).exec_driver_sql("SELECT id FROM runs").yield_per(1)
        rows.fetchone()
        assert erase_logs(child.user).runs == 1
        rows.close()
    assert world.count(Run, user_id=child.user) == 0
    forget_old_logs()
    assert b"read-7710ce" not in world.dump()


def test_logs_of_more_than_a_batch_are_erased_in_batches(world, monkeypatch):
    monkeypatch.setattr(logs, "BATCH", 3)
    child = world.install(MANUAL)
    runs = [world.run(child, number) for number in range(8)]
    world.settled(child, 8)
    known = legs(*runs)
    receipt = erase_logs(child.user)
    assert (receipt.runs, receipt.steps, receipt.engine_records) == (8, 8, known)
    assert world.count(Run, user_id=child.user) == steps_of(*runs) == 0
    assert records(*runs) == {}


def test_old_logs_are_forgotten_in_batches_and_what_is_under_way_stays(world, monkeypatch):
    monkeypatch.setattr(logs, "BATCH", 2)
    taken, forget_once = [], forgetting.forget_old_runs_once
    monkeypatch.setattr(forgetting, "forget_old_runs_once", lambda days: taken.append(forget_once(days)) or taken[-1])
    child, waiting = world.install(MANUAL), world.install(workflow("{manual: true}", "{delay: 1h}", SEND, name="Waits"))
    old = [world.run(child, number) for number in range(5)]
    world.settled(child, 5)
    young = world.ran(child, 6).id
    under_way = world.reaches(world.run(waiting), "waiting").id
    days, counts = world.app.config["PORTAL_SETTINGS"].run_log_days, days_of(child)
    age([*old, under_way], days + 1)
    age([young], days - 1)
    forget_old_logs()
    assert taken == [2, 2, 1, 0]
    assert steps_of(*old) == 0
    assert {run.id for run in world.runs(child)} == {young}
    assert [run.id for run in world.runs(waiting)] == [under_way]
    assert steps_of(young, under_way) == 2
    assert days_of(child) == counts
    assert world.count(WorkflowDay, workflow_id=child.workflow) == 1
