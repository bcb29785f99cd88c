"""Long work is done batch by batch, survives a crash, and leaves its file for a day."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from portal.background.engine import running
from portal.background.work import client_for
from portal.clock import now
from portal.db import engine, transaction
from portal.environments import Environment
from portal.refusals import Refusal
from portal.tasks.models import Task, TaskPart, TaskState
from portal.tasks.rules import (
    File,
    UnknownTask,
    add_part,
    do_batch,
    find_task,
    forget_old,
    long_work,
    part_of,
    select_tasks,
    start_task,
)
from portal.users.models import User

ROOT = Path(__file__).parents[3]
ASKED_BY = "ada@vendor.example"


@long_work("tests.count", needs="member")
def count_up(session: Session, task: Task, now: datetime) -> bool:
    """Counts to ten, three at a time, and writes it down."""
    task.total = 10
    begin = task.cursor.get("next", 1)
    numbers = range(begin, min(begin + 3, 11))
    add_part(session, task, "".join(f"{number} " for number in numbers))
    task.done += len(numbers)
    task.cursor = {"next": numbers[-1] + 1}
    if "kill" in task.params and begin == 4 and os.environ.get("DIES"):
        session.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return task.done < 10


@long_work("tests.refuse", needs="member")
def refuse(session: Session, task: Task, now: datetime) -> bool:
    """Can't be done."""
    add_part(session, task, "half a file")
    raise Refusal("There is no ladder: bring one first.")


@long_work("tests.look", needs="member")
def look_around(session: Session, task: Task, now: datetime) -> bool:
    """Says whom it sees."""
    task.outcome = ", ".join(session.scalars(sa.select(User.username).order_by(User.username)))
    return False


@pytest.fixture(autouse=True)
def _inside(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def start(kind: str = "tests.count", environment: Environment = Environment.production, **params: object) -> str:
    with transaction(environment) as session:
        return start_task(
            session, kind, title="Count", asked_by=ASKED_BY, now=now(), params=params, file=File("n.txt", "text/plain")
        ).id


def state(task_id: str) -> Task:
    with transaction() as session:
        return session.get_one(Task, task_id)


def written(task_id: str) -> str:
    with transaction() as session:
        parts = sa.select(TaskPart.text).where(TaskPart.task_id == task_id).order_by(TaskPart.number)
        return "".join(session.scalars(parts))


def ended(task_id: str) -> None:
    """Wait until the engine is done with it."""
    client_for(engine()).retrieve_workflow(f"task-{task_id}").get_result(polling_interval_sec=0.02)


def test_each_batch_moves_the_progress_and_adds_to_the_file() -> None:
    task = start()
    seen = []
    is_more = True
    while is_more:
        with transaction(Environment.production) as session:
            is_more = do_batch(session, task, now())
        seen.append((state(task).done, state(task).state))
    assert seen == [(n, TaskState.running) for n in (3, 6, 9)] + [(10, TaskState.done)]
    assert written(task) == "1 2 3 4 5 6 7 8 9 10 "
    with transaction(Environment.production) as session:
        assert do_batch(session, task, now()) is False
        assert (part_of(session, task, 1), part_of(session, task, 5)) == ("1 2 3 ", None)


def test_a_batch_that_breaks_leaves_nothing_behind() -> None:
    task = start()

    def break_down() -> None:
        with transaction(Environment.production) as session:
            do_batch(session, task, now())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_down()
    assert (state(task).done, written(task)) == (0, "")


def test_the_engine_does_it_and_a_refusal_is_its_end_in_words(app: Flask) -> None:
    counting, refused = start(), start("tests.refuse")
    with running(app, app.config["PORTAL_SETTINGS"]):
        ended(counting)
        ended(refused)
    assert (state(counting).state, state(counting).done, written(counting)[-3:]) == (TaskState.done, 10, "10 ")
    assert (state(refused).state, state(refused).error) == (TaskState.failed, "There is no ladder: bring one first.")
    assert written(refused) == ""


def test_it_sees_only_the_environment_of_the_one_who_asked(app: Flask) -> None:
    for environment in Environment:
        with transaction(environment) as session:
            session.add(User(username=f"user of {environment}"))
    task = start("tests.look", Environment.development)
    with running(app, app.config["PORTAL_SETTINGS"]):
        ended(task)
    assert state(task).outcome == "user of development"


def test_it_is_there_for_the_one_who_asked_in_that_environment_alone() -> None:
    task = start()
    with transaction(Environment.production) as session:
        assert [one.id for one in session.scalars(select_tasks(ASKED_BY))] == [task]
        assert find_task(session, task, ASKED_BY).id == task
        assert session.scalars(select_tasks("eve@vendor.example")).all() == []
        with pytest.raises(UnknownTask):
            find_task(session, task, "eve@vendor.example")
    with transaction(Environment.development) as session, pytest.raises(UnknownTask):
        find_task(session, task, ASKED_BY)


def test_a_day_after_its_end_it_is_forgotten_with_its_file() -> None:
    over, waiting = start(), start()
    is_more = True
    while is_more:
        with transaction(Environment.production) as session:
            is_more = do_batch(session, over, now())
    with transaction() as session:
        forget_old(session, now() + timedelta(hours=23))
    assert written(over)
    with transaction() as session:
        forget_old(session, now() + timedelta(hours=25))
        assert session.get(Task, over) is None
        assert session.get(Task, waiting)
    assert written(over) == ""
    with transaction() as session:
        forget_old(session, now() + timedelta(days=4))
        assert session.get(Task, waiting) is None


ENGINE = """
import sys, threading
import portal.durable
from portal import create_app
from portal.background.engine import running
from portal.settings import read_settings
import importlib.util
spec = importlib.util.spec_from_file_location("kinds", sys.argv[2])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
app = create_app(read_settings(instance=sys.argv[1], engine_polling=0.01))
with running(app, app.config["PORTAL_SETTINGS"]):
    threading.Event().wait(60)
"""


def test_a_process_that_is_killed_in_the_middle_repeats_nothing(app: Flask) -> None:
    task = start(kill=True)
    command = [sys.executable, "-c", ENGINE, app.instance_path, __file__]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "DIES": "1"}, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (state(task).state, state(task).done) == (TaskState.running, 3)
    with running(app, app.config["PORTAL_SETTINGS"]):
        ended(task)
    assert (state(task).state, written(task)) == (TaskState.done, "1 2 3 4 5 6 7 8 9 10 ")
