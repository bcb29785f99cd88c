"""Long work in the background: how far it is, and the file that it leaves behind. For the one who asked."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, g, render_template, stream_with_context
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from sqlalchemy.orm import Session

from portal.dashboard.access import NotAllowed, dashboard, needs, own
from portal.dashboard.fragments import render_fragment
from portal.dashboard.lists import listing
from portal.operators.models import Role
from portal.tasks.models import Task, TaskState
from portal.tasks.rules import KINDS, UnknownTask, find_task, part_of, select_tasks


def _mine(session: Session, task_id: str) -> Task:
    found = find_task(session, task_id, g.session.operator.email)
    if not g.session.operator.role.includes(Role(KINDS[found.kind].needs)):
        raise NotAllowed
    return found


@dashboard.get("/tasks")
@needs(Role.member)
def tasks() -> ResponseReturnValue:
    """What the operator asked for lately."""
    with own() as session:
        found = listing(session, select_tasks(g.session.operator.email), by=Task.created_at, then=Task.id)
        return render_template("dashboard/tasks.html", found=found)


@dashboard.get("/tasks/<task>")
@needs(Role.member)
def task(task: str) -> ResponseReturnValue:
    """How far one is. Looks again by itself while there is something to wait for."""
    with own() as session:
        one = _mine(session, task)
        if htmx.htmx:
            return render_fragment("dashboard/task.html", "progress", one=one)
        return render_template("dashboard/task.html", one=one)


@dashboard.get("/tasks/<task>/file")
@needs(Role.member)
def task_file(task: str) -> ResponseReturnValue:
    """The file, part by part."""
    with own() as session:
        one = _mine(session, task)
    if one.state is not TaskState.done or one.file_name is None:
        raise UnknownTask
    response = Response(stream_with_context(_parts(one.id)), content_type=one.content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{one.file_name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _parts(task_id: str) -> Iterator[str]:
    number = 1
    while True:
        with own() as session:  # one part at a time: the file may be larger than memory
            text = part_of(session, task_id, number)
        if text is None:
            return
        yield text
        number += 1
