"""Long work that survives a crash: one step a batch."""

from __future__ import annotations

from portal.background import StepFailed, durable, hourly, step
from portal.clock import now
from portal.db import transaction
from portal.refusals import Refusal
from portal.tasks import rules
from portal.tasks.models import Task


@durable(rules.TASKS)
def run_task(task_id: str) -> None:
    """Batch after batch until nothing is left."""
    try:
        while do_batch(task_id):
            pass
    except StepFailed:
        give_up(task_id)


@step
def do_batch(task_id: str) -> bool:
    """The next batch, in the environment of the one who asked; a refusal ends the work with its sentence."""
    with transaction() as session:
        task = session.get(Task, task_id)
        environment = task.environment if task else None
    try:
        with transaction(environment) as session:
            return rules.do_batch(session, task_id, now())
    except Refusal as refusal:
        with transaction() as session:
            rules.give_up(session, task_id, refusal.message(), now())
        return False


@step
def give_up(task_id: str) -> None:
    """Say that it can't be done: what a batch does broke each time that it was tried."""
    with transaction() as session:
        rules.give_up(session, task_id, rules.BROKEN, now())


@hourly
def forget_old_tasks() -> None:
    """Forget what ended a day ago."""
    with transaction() as session:
        rules.forget_old(session, now())
