"""Work is enqueued with the caller's transaction, done once, and tidied away afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

import portal.durable  # noqa: F401 - declares the durable work
from portal.background import Queue, chores, durable, enqueue, is_running, launch, migrate, step, stop
from portal.background import engine as engine_module
from portal.background.chores import look_after, tidy_up
from portal.background.engine import running
from portal.background.work import client_for
from portal.clock import now
from portal.db import engine, transaction
from tests.stage import wait_until

TRIALS = Queue("trials", at_once=4, per_partition=2)
PATIENCE = 20.0
done: list[str] = []
started = threading.Semaphore(0)
gate = threading.Event()


@durable(TRIALS)
def note(word: str) -> None:
    write_down(word)


@step
def write_down(word: str) -> None:
    done.append(f"{word} in {current_app.name}")


@durable(TRIALS)
def stumble(word: str) -> None:
    fail_once(word)


@step
def fail_once(word: str) -> None:
    done.append(word)
    if done.count(word) == 1:
        raise RuntimeError("a passing fault")


@durable(TRIALS)
def wait_at_the_gate() -> None:
    stand_there()


@step
def stand_there() -> None:
    started.release()
    gate.wait(PATIENCE)


@pytest.fixture(autouse=True)
def _anew() -> None:
    done.clear()
    gate.clear()


@pytest.fixture
def engine_runs(app: Flask) -> Iterator[None]:
    """The engine runs in this process."""
    with running(app, app.config["PORTAL_SETTINGS"]):
        yield


def ask(workflow: Callable[..., None], *args: str, name: str, delay: float = 0, partition: str = "one") -> None:
    with transaction() as session:
        enqueue(session, workflow, *args, queue=TRIALS, partition=partition, delay=delay, workflow_id=name)


def ended(name: str) -> None:
    """Wait until this work is done."""
    client_for(engine()).retrieve_workflow(name).get_result(polling_interval_sec=0.02)


def waiting(workflow: str) -> dict[str, str]:
    """What is known of this kind of work: its id and status."""
    return {known.workflow_id: known.status for known in client_for(engine()).list_workflows(name=workflow)}


def test_work_is_enqueued_when_the_transaction_commits_and_not_when_it_rolls_back(app: Flask) -> None:
    def ask_and_fail() -> None:
        with transaction() as session:
            enqueue(session, note, "never", queue=TRIALS, partition="one", workflow_id="rolled-back")
            raise ZeroDivisionError

    ask(note, "kept", name="committed")
    with pytest.raises(ZeroDivisionError):
        ask_and_fail()

    assert waiting("note") == {"committed": "ENQUEUED"}


def test_work_that_waited_for_an_engine_is_done_in_the_apps_context_when_one_starts(app: Flask) -> None:
    ask(note, "early", name="early")
    assert not is_running()

    with running(app, app.config["PORTAL_SETTINGS"]):
        assert is_running()
        ended("early")

    assert done == ["early in portal"]
    assert not is_running()


@pytest.mark.usefixtures("engine_runs")
def test_the_same_name_again_changes_nothing(app: Flask) -> None:
    ask(note, "first", name="the-one")
    ask(note, "second", name="the-one")
    ended("the-one")
    ask(note, "third", name="the-one")
    ask(note, "last", name="another")
    ended("another")

    assert done == ["first in portal", "last in portal"]


@pytest.mark.usefixtures("engine_runs")
def test_delayed_work_waits_and_holds_up_nobody(app: Flask) -> None:
    ask(note, "tomorrow", name="delayed", delay=86_400)
    ask(note, "soon", name="soon", delay=0.1)
    ended("soon")

    assert done == ["soon in portal"]
    assert waiting("note")["delayed"] == "DELAYED"


@pytest.mark.usefixtures("engine_runs")
def test_a_step_rides_out_a_passing_fault(app: Flask) -> None:
    ask(stumble, "ouch", name="stumbling")
    ended("stumbling")

    assert done == ["ouch", "ouch"]


@pytest.mark.usefixtures("engine_runs")
def test_a_crowd_for_one_endpoint_leaves_room_for_the_others(app: Flask) -> None:
    for number in range(6):
        ask(wait_at_the_gate, name=f"crowd-{number}", partition="busy")
    assert all(started.acquire(timeout=PATIENCE) for _ in range(TRIALS.per_partition))

    ask(note, "me", name="other", partition="quiet")
    ended("other")

    assert sorted(waiting("wait_at_the_gate").values()) == ["ENQUEUED"] * 4 + ["PENDING"] * 2
    gate.set()
    for number in range(6):
        ended(f"crowd-{number}")


def test_the_engine_can_start_again_and_asks_for_its_chores_once(app: Flask) -> None:
    for _ in range(2):
        launch(app, app.config["PORTAL_SETTINGS"])
        wait_until(lambda: "DELAYED" in waiting("keep_house").values())
        stop()
    stop()

    assert set(waiting("keep_house").values()) == {"DELAYED"}
    assert len(waiting("keep_house")) <= 2  # two, when the hour turned in between


def test_an_engine_that_can_not_start_says_so_and_leaves_nothing_running(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_start_loop", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        launch(app, app.config["PORTAL_SETTINGS"])

    assert not is_running()


@pytest.mark.usefixtures("engine_runs")
def test_a_chore_that_fails_does_not_keep_the_others_from_being_done(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("a broken broom")

    def sweep() -> None:
        done.append("swept")

    monkeypatch.setattr(chores, "HOURLY", [broken, sweep])

    tidy_up()

    assert done == ["swept"]


def test_chores_are_asked_for_again_after_the_database_was_busy(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def busy_at_first(*args: object, **kwargs: object) -> None:
        asked.append("asked")
        if len(asked) <= 4:
            raise TimeoutError("the database is busy with other writers")
        enqueue(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(chores, "ASKING", 0.02)
    monkeypatch.setattr(chores, "enqueue", busy_at_first)
    with running(app, app.config["PORTAL_SETTINGS"]):
        wait_until(lambda: bool(waiting("keep_watch")) and bool(waiting("keep_house")), seconds=PATIENCE)


def test_chores_that_a_dead_node_took_along_do_not_hold_up_the_next(app: Flask) -> None:
    chores._ask_for_watch(now() - timedelta(minutes=1))
    with engine().begin() as connection:
        connection.execute(sa.text("UPDATE workflow_status SET status = 'PENDING', executor_id = 'dead'"))
    with running(app, app.config["PORTAL_SETTINGS"]):
        wait_until(lambda: "SUCCESS" in waiting("keep_watch").values(), seconds=PATIENCE)

    assert "PENDING" in waiting("keep_watch").values()


def test_chores_are_done_once_however_often_and_by_whomever_they_are_asked_for(app: Flask) -> None:
    minute = now().replace(second=0, microsecond=0) + timedelta(hours=1)
    with running(app, app.config["PORTAL_SETTINGS"]):
        for second in (1, 20, 59):
            chores._ask_for_watch(minute + timedelta(seconds=second))

    assert list(waiting("keep_watch")).count(f"watch-{minute.isoformat()}") == 1


def test_a_loop_goes_on_after_a_fault(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbling(ended: threading.Event) -> None:
        done.append("begun")
        if len(done) == 1:
            raise RuntimeError("a passing fault")
        ended.wait()

    monkeypatch.setattr(engine_module, "LOOPS", [stumbling])
    with running(app, app.config["PORTAL_SETTINGS"]):
        wait_until(lambda: len(done) == 2, seconds=PATIENCE)


@pytest.mark.usefixtures("engine_runs")
def test_what_is_looked_after_each_minute_is_done_whatever_fails(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "MINUTELY", [lambda: 1 / 0, lambda: done.append("looked")])

    look_after()

    assert done == ["looked"]


def test_records_of_finished_work_are_forgotten_after_a_week_and_no_other(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(app, app.config["PORTAL_SETTINGS"]):
        ask(note, "now", name="finished")
        ask(note, "later", name="delayed", delay=86_400)
        ended("finished")

    def tidy(later: timedelta) -> None:
        monkeypatch.setattr(chores, "now", lambda: now() + later)
        chores._forget_finished_work()

    tidy(timedelta(days=6))
    assert set(waiting("note")) == {"finished", "delayed"}
    tidy(timedelta(days=8))
    assert set(waiting("note")) == {"delayed"}


def test_making_the_tables_twice_changes_nothing(app: Flask) -> None:
    ask(note, "kept", name="kept")

    migrate(engine())

    assert waiting("note") == {"kept": "ENQUEUED"}
