"""Looks into the engine's own table of work that cost little: who works, and whether anything waits at all.

The names of the engine that are used here are no part of its public face. Its version is pinned, and a test fails
when they go.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from dbos._dbos import _get_dbos_instance
from dbos._sys_db import SystemDatabase

KEPT = 10.0  # seconds that the settings of a queue are taken as known

# The condition of the engine's small index of what isn't over, in its own words: SQLite uses it only then.
_IN_FLIGHT = sa.text("status IN ('ENQUEUED', 'PENDING')")


def system() -> SystemDatabase:
    """The engine's access to its tables, in a process that runs it."""
    return _get_dbos_instance()._sys_db


def working_nodes() -> set[str]:
    """The names of all nodes that have work under way, or had when they died."""
    work = system().tables.workflow_status
    named = sa.select(work.c.executor_id).distinct().where(_IN_FLIGHT, sa.text("status = 'PENDING'"))
    with system().engine.connect() as connection:
        return {name for name in connection.scalars(named) if name}


def look_before_asking() -> None:
    """Let the engine's looks into its queues ask first whether anything waits there.

    Each look builds statements anew that take 3 ms, some twenty times a second, and nearly always finds nothing.
    What waits is found as before, with all that queues can be told about order, limits and partitions.
    """
    found, waits = system(), _is_waiting(system())
    claim, partitions = found.start_queued_partitioned_workflows, found.get_queue_partitions

    @functools.wraps(claim)
    def claim_if_any(queue: Any, *args: Any, **kwargs: Any) -> list[str]:
        return claim(queue, *args, **kwargs) if waits(queue.name) else []

    @functools.wraps(partitions)
    def partitions_if_any(queue_name: str) -> list[str]:
        return partitions(queue_name) if waits(queue_name) else []

    for name, function in (
        ("start_queued_partitioned_workflows", claim_if_any),
        ("get_queue_partitions", partitions_if_any),
        ("get_queue", _kept(found.get_queue)),
    ):
        setattr(found, name, function)


def _is_waiting(found: SystemDatabase) -> Callable[[str], bool]:
    work = found.tables.workflow_status
    any_waits: sa.Select[tuple[int]] = (
        sa.select(sa.literal_column("1"))
        .select_from(work)
        .where(_IN_FLIGHT, sa.text("status = 'ENQUEUED'"), work.c.queue_name == sa.bindparam("queue"))
        .limit(sa.literal_column("1"))
    )

    def waits(queue_name: str) -> bool:
        with found.engine.connect() as connection:
            return connection.execute(any_waits, {"queue": queue_name}).first() is not None

    return waits


def _kept(read: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[str, tuple[float, Any]] = {}

    @functools.wraps(read)
    def read_now_and_then(name: str, **kwargs: Any) -> Any:
        if kwargs:
            return read(name, **kwargs)
        until, queue = known.get(name, (0.0, None))
        if queue is None or time.monotonic() > until:
            queue = read(name)
            known[name] = (time.monotonic() + KEPT, queue)
        return queue

    return read_now_and_then
