"""Starting and stopping the engine in this process, and its tables."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig
from dbos._serialization import DefaultSerializer
from dbos._sys_db import SystemDatabase
from flask import Flask

from portal.background import chores  # noqa: F401 - importing is what declares the chores
from portal.background.looking import look_before_asking
from portal.background.nodes import give_name_up, take_name
from portal.background.work import APPLICATION, LOOPS, QUEUES, RUNNING_IN
from portal.faults import note
from portal.settings import Settings

# A restart with changed code must still finish what the last run began, and any node what another one left: the version
# never changes.
VERSION = "1"


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
    """Run the background engine in this process until `stop`; what a crash interrupted is taken up again.

    Raises `MissingSetting` when another process is the node that the settings name.
    """
    logging.getLogger("dbos").setLevel(logging.WARNING)
    engine = app.extensions["database"].engine
    RUNNING_IN.append(app)
    try:
        with app.app_context():
            take_name(settings)  # before the engine takes up what was begun under it
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
        look_before_asking()
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
            while not ended.is_set():
                try:
                    loop(ended)
                except Exception as error:  # it goes on, whatever it stumbled over
                    note(error)
                    ended.wait(1)
                else:
                    break

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
    if RUNNING_IN:
        with RUNNING_IN.pop().app_context():
            give_name_up()


def is_running() -> bool:
    """Whether the engine runs in this process."""
    return bool(RUNNING_IN)


@contextmanager
def running(app: Flask, settings: Settings) -> Iterator[None]:
    """The engine, for the length of a block."""
    launch(app, settings)
    try:
        yield
    finally:
        stop()
