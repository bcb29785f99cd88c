"""Long work without the engine: what waits is done here and now, batch by batch as the engine does it."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Flask

from portal.clock import now
from portal.db import transaction
from portal.tasks.models import Task, TaskState
from portal.tasks.rules import do_batch


def do_long_work(app: Flask, *, batches: int = 10_000) -> None:
    """Do what waits, at most so many batches of each."""
    under_way = (TaskState.waiting, TaskState.running)
    with app.app_context():
        with transaction() as session:
            waiting = session.execute(sa.select(Task.id, Task.environment).where(Task.state.in_(under_way))).all()
        for task_id, environment in waiting:
            is_more, left = True, batches
            while is_more and left:
                with transaction(environment) as session:
                    is_more = do_batch(session, task_id, now())
                left -= 1
