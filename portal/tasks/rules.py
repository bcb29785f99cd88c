"""How long work is started, done batch by batch, looked up and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.background import Queue, enqueue
from portal.ids import new_id
from portal.refusals import Unknown
from portal.tasks.models import Task, TaskPart, TaskState

TASKS = Queue("tasks", at_once=4, per_partition=2, slower=10)
KEPT = timedelta(days=1)
BROKEN = "Something broke on our side, and it was tried several times. Please start it again."

Batch = Callable[[Session, Task, datetime], bool]


class UnknownTask(Unknown):
    """No such work, or somebody else asked for it, or it is forgotten."""

    title = "There is nothing here any more"

    def message(self) -> str:
        return (
            "What runs in the background is kept for a day after its end, for the one who asked. Please start it again."
        )


@dataclass(frozen=True)
class Kind:
    """A kind of long work: what does one batch of it, and the role that it needs."""

    batch: Batch
    needs: str


@dataclass(frozen=True)
class File:
    """The file that the work leaves behind."""

    name: str
    content_type: str


KINDS: dict[str, Kind] = {}


def long_work(name: str, *, needs: str) -> Callable[[Batch], Batch]:
    """Declare a kind of long work; see the package for how the function is called."""

    def declare(batch: Batch) -> Batch:
        KINDS[name] = Kind(batch, needs)
        return batch

    return declare


def start_task(
    session: Session,
    kind: str,
    *,
    title: str,
    asked_by: str,
    now: datetime,
    params: Mapping[str, Any] | None = None,
    file: File | None = None,
) -> Task:
    """Enqueue a piece of long work in the session's environment, as a part of its transaction."""
    assert kind in KINDS
    task = Task(
        id=new_id(),
        kind=kind,
        title=title[:300],
        asked_by=asked_by,
        params=dict(params or {}),
        cursor={},
        done=0,
        state=TaskState.waiting,
        file_name=file.name if file else None,
        content_type=file.content_type if file else None,
        created_at=now,
    )
    session.add(task)
    session.flush()
    enqueue(session, "run_task", task.id, queue=TASKS, partition=kind, workflow_id=f"task-{task.id}")
    return task


def find_task(session: Session, task_id: str, asked_by: str) -> Task:
    """The work with this id, for the one who asked for it. Raises `UnknownTask`."""
    task = session.get(Task, task_id)
    if task is None or task.asked_by != asked_by or task.kind not in KINDS:
        raise UnknownTask
    return task


def select_tasks(asked_by: str) -> sa.Select[Task]:
    """What somebody asked for in the session's environment."""
    return sa.select(Task).where(Task.asked_by == asked_by, Task.kind.in_(list(KINDS)))


def add_part(session: Session, task: Task, text: str) -> None:
    """Append to the file that the work leaves behind."""
    if text:
        last = session.scalar(sa.select(sa.func.max(TaskPart.number)).where(TaskPart.task_id == task.id))
        session.add(TaskPart(task_id=task.id, number=(last or 0) + 1, text=text))
        session.flush()


def part_of(session: Session, task_id: str, number: int) -> str | None:
    """One part of the file, 1 being the first; None after the last."""
    part = session.get(TaskPart, (task_id, number))
    return part.text if part else None


def do_batch(session: Session, task_id: str, now: datetime) -> bool:
    """Do the next batch and say whether there is more. Safe to repeat: what has ended is left alone."""
    task = session.get(Task, task_id, with_for_update=True)
    if task is None or not task.is_under_way:
        return False
    task.state = TaskState.running
    if KINDS[task.kind].batch(session, task, now):
        return True
    task.state, task.ended_at = TaskState.done, now
    return False


def give_up(session: Session, task_id: str, sentence: str, now: datetime) -> None:
    """End a piece of work that can't go on, with the reason in words; what it wrote is dropped. Safe to repeat."""
    task = session.get(Task, task_id)
    if task is not None and task.is_under_way:
        task.state, task.error, task.ended_at = TaskState.failed, sentence[:500], now
        session.execute(sa.delete(TaskPart).where(TaskPart.task_id == task_id))


def forget_old(session: Session, now: datetime) -> None:
    """Delete what ended a day ago, with its file, and what never came to an end within three. Safe to repeat."""
    is_old = sa.or_(Task.ended_at < now - KEPT, Task.created_at < now - 3 * KEPT)
    forget_tasks(session, session.scalars(sa.select(Task.id).where(Task.created_at < now - KEPT, is_old)).all())


def forget_tasks(session: Session, ids: Sequence[str]) -> None:
    """Delete work with its files. What is under way ends with the batch that it is at. Safe to repeat."""
    session.execute(sa.delete(TaskPart).where(TaskPart.task_id.in_(ids)).execution_options(synchronize_session=False))
    session.execute(sa.delete(Task).where(Task.id.in_(ids)).execution_options(synchronize_session=False))
