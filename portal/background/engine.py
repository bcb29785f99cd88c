"""Starting and stopping the engine in this process, its tables, and its hourly housekeeping."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig
from dbos._serialization import DefaultSerializer
from dbos._sys_db import SystemDatabase
from flask import Flask

from portal import db
from portal.background.work import (
    APPLICATION,
    HOURLY,
    LOOPS,
    MINUTELY,
    QUEUES,
    Queue,
    _running_in,
    client_for,
    durable,
    enqueue,
    step,
)
from portal.clock import now
from portal.db import transaction
from portal.settings import Settings

# A restart with changed code must still finish what the last run began: the version never changes.
VERSION = "1"
KEPT = timedelta(days=7)  # how long the engine's own records of finished work stay
_BATCH = 500

HOUSE = Queue("house", at_once=1, per_partition=1, polling=5.0)
WATCH = Queue("watch", at_once=1, per_partition=1, polling=5.0)


def _config(engine: sa.Engine, settings: Settings | None = None) -> DBOSConfig:
    return {
        "name": APPLICATION,
        "system_database_engine": engine,
        "system_database_url": engine.url.render_as_string(hide_password=False),
        "application_version": VERSION,
        "executor_id": settings.executor_id if settings else "local",
        "enable_otlp": False,
        "log_level": "WARNING",
        "run_migrations": True,
        "notification_listener_polling_interval_sec": 1.0,
        "use_listen_notify": False,
        "max_executor_threads": 64,
    }


def migrate(engine: sa.Engine) -> None:
    """Make or update the engine's own tables."""
    url = engine.url.render_as_string(hide_password=False)
    system = SystemDatabase.create(
        system_database_url=url,
        engine_kwargs={},
        engine=engine,
        schema="dbos",
        serializer=DefaultSerializer(),
        executor_id=None,
        use_listen_notify=False,
    )
    system.run_migrations()


def launch(app: Flask, settings: Settings) -> None:
    """Run the background engine in this process until `stop`; what a crash interrupted is taken up again."""
    logging.getLogger("dbos").setLevel(logging.WARNING)
    engine = app.extensions["database"].engine
    _running_in.append(app)
    try:
        DBOS(config=_config(engine, settings))
        DBOS.launch()
        for queue in QUEUES.values():
            DBOS.register_queue(
                queue.name,
                worker_concurrency=queue.at_once,
                partition_concurrency=1 if queue.is_in_order else None,
                partition_worker_concurrency=None if queue.is_in_order else queue.per_partition,
                polling_interval_sec=queue.polling or settings.engine_polling * queue.slower,
                on_conflict="always_update",
            )
        with app.app_context():
            _enqueue_housekeeping(now(), delay=60)
            _enqueue_watch(now(), delay=1)
        for loop in LOOPS:
            _start_loop(app, loop)
    except BaseException:
        stop()
        raise


_loops: list[tuple[threading.Thread, threading.Event]] = []


def _start_loop(app: Flask, loop: Callable[[threading.Event], None]) -> None:
    ended = threading.Event()

    def go_on() -> None:
        with app.app_context():
            loop(ended)

    thread = threading.Thread(target=go_on, name=loop.__name__, daemon=True)
    _loops.append((thread, ended))
    thread.start()


def stop() -> None:
    """End the engine in this process; what is under way is taken up at the next start."""
    for _, ended in _loops:
        ended.set()
    for thread, _ in _loops:
        thread.join(timeout=2)
    _loops.clear()
    DBOS.destroy()
    if _running_in:
        _running_in.pop()


def is_running() -> bool:
    """Whether the engine runs in this process."""
    return bool(_running_in)


@contextmanager
def running(app: Flask, settings: Settings) -> Iterator[None]:
    """The engine, for the length of a block."""
    launch(app, settings)
    try:
        yield
    finally:
        stop()


@durable(HOUSE)
def keep_house(hour: str) -> None:
    """Do the hourly chores, then ask for the next hour's."""
    tidy_up()
    ask_for_next(hour)


@step
def tidy_up() -> None:
    """Every hourly chore."""
    _do_each([*HOURLY, _forget_finished_work])


def _do_each(chores: Sequence[Callable[[], None]]) -> None:
    # One that fails doesn't keep the others from being done.
    for chore in chores:
        try:
            chore()
        except Exception:
            logging.getLogger(__name__).exception("the chore %s failed", chore.__name__)


@durable(WATCH)
def keep_watch(minute: str) -> None:
    """Look after what is due each minute, then ask for the next one."""
    look_after()
    ask_for_next_minute(minute)


@step
def look_after() -> None:
    """Every chore of the minute."""
    _do_each(MINUTELY)


@step
def ask_for_next_minute(minute: str) -> None:
    """Enqueue the next minute's chores, once; after a pause the next one is that of now, not one missed."""
    _enqueue_watch(max(datetime.fromisoformat(minute), now()) + timedelta(minutes=1), delay=60)


@step
def ask_for_next(hour: str) -> None:
    """Enqueue the next hour's chores, once."""
    _enqueue_housekeeping(datetime.fromisoformat(hour) + timedelta(hours=1), delay=3600)


def _enqueue_housekeeping(moment: datetime, delay: float) -> None:
    hour = moment.replace(minute=0, second=0, microsecond=0).isoformat()
    with transaction() as session:
        enqueue(
            session,
            keep_house,
            hour,
            queue=HOUSE,
            partition="house",
            delay=delay,
            workflow_id=f"house-{hour}",
        )


def _enqueue_watch(moment: datetime, delay: float) -> None:
    # The minute names the work: processes that start at different seconds soon keep one watch together.
    minute = moment.replace(second=0, microsecond=0).isoformat()
    with transaction() as session:
        enqueue(session, keep_watch, minute, queue=WATCH, partition="watch", delay=delay, workflow_id=f"watch-{minute}")


def _forget_finished_work() -> None:
    client = client_for(db.engine())
    before = (now() - KEPT).isoformat()
    while True:
        old = client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=before,
            limit=_BATCH,
            load_input=False,
            load_output=False,
        )
        if not old:
            return
        client.delete_workflows([workflow.workflow_id for workflow in old])
