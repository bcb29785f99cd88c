"""Declaring durable work and enqueueing it inside the caller's own transaction."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, EnqueueOptions
from dbos._error import DBOSMaxStepRetriesExceeded as StepFailed
from flask import Flask
from sqlalchemy.orm import Session

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["Queue", "StepFailed", "durable", "enqueue", "hourly", "minutely", "patiently", "step"]

APPLICATION = "portal"
PATIENCE = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds
_AT_ONCE = 1000  # names in one statement: a database takes only so many


@dataclass(frozen=True)
class Queue:
    """Where work waits. At most `at_once` runs in one process, `per_partition` of them for one partition.

    With `is_in_order` a partition runs one at a time on all nodes together, in the order of enqueueing. Each look into
    a queue costs as much as a page: `polling` is the seconds between two, where the setting's would be a waste, and
    `slower` how many of the setting's times go by.
    """

    name: str
    at_once: int
    per_partition: int
    is_in_order: bool = False
    polling: float | None = None
    slower: int = 1


QUEUES: dict[str, Queue] = {}
HOURLY: list[Callable[[], None]] = []
LOOPS: list[Callable[[threading.Event], None]] = []
MINUTELY: list[Callable[[], None]] = []
RUNNING_IN: list[Flask] = []  # the application whose engine runs in this process, if any
_clients: WeakKeyDictionary[sa.Engine, DBOSClient] = WeakKeyDictionary()


def durable(queue: Queue) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Declare a workflow that survives a crash: order and decisions only; each effect is a `step`."""

    def declare(function: Callable[P, None]) -> Callable[P, None]:
        QUEUES[queue.name] = queue
        return DBOS.workflow(name=function.__name__)(function)

    return declare


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Declare one effect of a workflow; it runs with the app's context and must be safe to repeat."""

    @functools.wraps(function)
    def in_app(*args: P.args, **kwargs: P.kwargs) -> R:
        with RUNNING_IN[-1].app_context():
            return function(*args, **kwargs)

    # What a step does is safe to repeat, so a passing fault (a locked database) is ridden out.
    return DBOS.step(name=function.__name__, retries_allowed=True, interval_seconds=0.5, max_attempts=8)(in_app)


def patiently(do: Callable[[], R]) -> R:
    """What `do` gives, tried again while the database is busy.

    For the end of a step that has had an effect outside, such as a request: the step as a whole would be repeated
    otherwise, and the effect with it.
    """
    for wait in PATIENCE:
        try:
            return do()
        except (sa.exc.OperationalError, sa.exc.TimeoutError):
            if not RUNNING_IN:  # the engine ends
                raise
            time.sleep(wait)
    return do()


def hourly(function: Callable[[], None]) -> Callable[[], None]:
    """Declare housekeeping that is done once an hour, with the app's context; it must be safe to repeat."""
    HOURLY.append(function)
    return function


def continuous(function: Callable[[threading.Event], None]) -> Callable[[threading.Event], None]:
    """Declare work that goes on, in a thread with the app's context, while the engine runs: until the event is set."""
    LOOPS.append(function)
    return function


def minutely(function: Callable[[], None]) -> Callable[[], None]:
    """Declare what is looked after once a minute, with the app's context; it must be quick, and safe to repeat."""
    MINUTELY.append(function)
    return function


def client_for(engine: sa.Engine) -> DBOSClient:
    """The client that writes to this database; made once."""
    if engine not in _clients:
        _clients[engine] = DBOSClient(system_database_engine=engine, application_name=APPLICATION, lazy=True)
    return _clients[engine]


def ended_work(names: Sequence[str]) -> set[str]:
    """Those of these workflows that are over, or that the engine doesn't know."""
    from portal.db import engine

    known = client_for(engine()).list_workflows(workflow_ids=list(names), load_input=False, load_output=False)
    under_way = {one.workflow_id for one in known if one.status in ("ENQUEUED", "PENDING", "DELAYED")}
    return set(names) - under_way


def forget_work(names: Sequence[str]) -> int:
    """Delete the engine's records of these workflows; how many of them it knew."""
    from portal.db import engine

    client, known = client_for(engine()), 0
    for first in range(0, len(names), _AT_ONCE):
        some = list(names[first : first + _AT_ONCE])
        known += _count_once_idle(client, some)
        client.delete_workflows(some)
    return known


def _count_once_idle(client: DBOSClient, names: list[str]) -> int:
    # What has just done its last step wants a moment to end; deleted before, it would fail in the engine's log.
    for _ in range(100):
        found = client.list_workflows(workflow_ids=names, load_input=False, load_output=False)
        if all(one.status != "PENDING" for one in found):
            break
        time.sleep(0.02)
    return len(found)


def enqueue(
    session: Session,
    workflow: Callable[..., None] | str,
    *args: Any,
    queue: Queue,
    partition: str,
    delay: float = 0,
    workflow_id: str,
) -> None:
    """Enqueue `workflow(*args)` as a part of the session's transaction; it runs `delay` seconds after the commit.

    The same `workflow_id` again changes nothing, so enqueueing is safe to repeat.
    """
    engine = session.get_bind()
    assert isinstance(engine, sa.Engine)
    options: EnqueueOptions = {
        "workflow_name": workflow if isinstance(workflow, str) else workflow.__name__,
        "queue_name": queue.name,
        "workflow_id": workflow_id,
        "queue_partition_key": partition,
    }
    if delay > 0:
        options["delay_seconds"] = delay
    client_for(engine).enqueue_in_transaction(session, options, *args)
