"""Looks into the engine's own table of work: who works.

The names of the engine that are used here are no part of its public face. Its version is pinned, and a test fails
when they go.
"""

from __future__ import annotations

import sqlalchemy as sa
from dbos._dbos import _get_dbos_instance
from dbos._sys_db import SystemDatabase

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
