"""The engine looks into its queues cheaply, and still finds whatever waits there."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from dbos._sys_db import SystemDatabase
from flask import Flask

from portal.background import Queue, durable, enqueue, looking, step
from portal.background.engine import running
from portal.db import engine, transaction
from tests.stage import wait_until

IN_ORDER = Queue("looked-in-order", at_once=2, per_partition=1, is_in_order=True)
AT_ONCE = Queue("looked-at-once", at_once=2, per_partition=2)
LOOKS = {"start_queued_partitioned_workflows": IN_ORDER, "get_queue_partitions": AT_ONCE}
done: list[str] = []


@durable(IN_ORDER)
def tick(word: str) -> None:
    write(word)


@durable(AT_ONCE)
def tock(word: str) -> None:
    write(word)


@step
def write(word: str) -> None:
    done.append(word)


@pytest.fixture(autouse=True)
def _anew() -> None:
    done.clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the engine's own looks were taken: the name of the look and of the queue, for each."""
    made: list[str] = []
    for name in (*LOOKS, "get_queue"):
        # Fails when a new version of the engine has no such thing: then `looking` needs another way.
        real = getattr(SystemDatabase, name)

        def counted(system, queue, *args, _name=name, _real=real, **kwargs):
            made.append(f"{_name} {getattr(queue, 'name', queue)}")
            return _real(system, queue, *args, **kwargs)

        monkeypatch.setattr(SystemDatabase, name, counted)
    return made


@pytest.mark.parametrize(("look", "queue"), LOOKS.items(), ids=str)
def test_an_empty_queue_is_asked_for_cheaply_and_a_full_one_as_ever(app: Flask, calls: list[str], look, queue) -> None:
    probes: list[str] = []
    with running(app, app.config["PORTAL_SETTINGS"]):
        sa.event.listen(engine(), "before_cursor_execute", lambda *event: probes.append(str(event[3])))
        del calls[:]
        wait_until(lambda: len([given for given in list(probes) if queue.name in given]) > 20)
        assert not [call for call in calls if call.startswith(look)]
        assert len([call for call in calls if call == f"get_queue {queue.name}"]) <= 1

        with transaction() as session:
            for number in range(5):
                enqueue(
                    session,
                    "tick" if queue.is_in_order else "tock",
                    str(number),
                    queue=queue,
                    partition="one",
                    delay=0 if number < 3 else 0.05,
                    workflow_id=f"{queue.name}-{number}",
                )
        wait_until(lambda: len(done) == 5)

    assert f"{look} {queue.name}" in calls
    if queue.is_in_order:
        assert done[:3] == ["0", "1", "2"]


def test_the_look_is_answered_by_an_index_alone(app: Flask) -> None:
    plans: list[str] = []

    def explain(connection, cursor, statement, parameters, *_):
        if statement.startswith("SELECT 1"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in cursor.fetchall())

    with running(app, app.config["PORTAL_SETTINGS"]):
        is_waiting = looking._is_waiting(looking.system())
        sa.event.listen(engine(), "before_cursor_execute", explain)
        assert not is_waiting("no such queue")
        sa.event.remove(engine(), "before_cursor_execute", explain)

    assert all("COVERING INDEX idx_workflow_status_in_flight" in plan for plan in plans)
    assert plans


def test_settings_of_a_queue_are_read_again_after_a_while(app: Flask, calls: list[str], monkeypatch) -> None:
    monkeypatch.setattr(looking, "KEPT", 0.05)
    with running(app, app.config["PORTAL_SETTINGS"]):
        wait_until(lambda: calls.count(f"get_queue {AT_ONCE.name}") > 3)
