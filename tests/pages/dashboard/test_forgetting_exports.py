"""With a user go the exports of everything about them: asked for, under way, and done."""

from __future__ import annotations

import sqlalchemy as sa

from portal.db import transaction
from portal.tasks.models import Task, TaskPart
from tests.long_work import do_long_work


def tasks(app):
    with app.app_context(), transaction() as session:
        parts = session.scalar(sa.select(sa.func.count()).select_from(TaskPart))
        return sorted(session.scalars(sa.select(Task.title))), parts


def files(instance):
    return b"".join(path.read_bytes() for path in instance.glob("portal.sqlite3*"))


def export(desk, user):
    return desk.post(f"/dashboard/users/{user}/export").response.request.path


def test_an_export_that_is_done_goes_with_its_user_and_nothing_of_it_is_left_in_the_files(
    desk, user, app, instance, install, integration
):
    install(integration)
    done = export(desk, user)
    do_long_work(app)
    assert b"Ada Buyer" in files(instance)
    desk.post(f"/dashboard/users/{user}/delete", confirm="ada@shop.example")
    assert tasks(app) == ([], 0)
    assert desk.client.get(f"{done}/file").status_code == 404
    assert "ada@shop.example" not in desk.get("/dashboard/tasks").text
    assert b"Ada Buyer" not in files(instance)


def test_one_that_waits_or_is_under_way_ends_with_nothing(backend, desk, user, app, install, integration):
    install(integration)
    export(desk, user)
    do_long_work(app, batches=2)
    export(desk, user)
    assert tasks(app)[1] > 0
    backend.delete(f"/users/{user}")
    do_long_work(app)
    assert tasks(app) == ([], 0)


def test_what_others_asked_for_stays(backend, desk, user, app):
    other = backend.post("/users", {"username": "bob@shop.example"})["userId"]
    export(desk, other)
    export(desk, user)
    desk.post("/dashboard/events", since="1d")
    do_long_work(app)
    backend.delete(f"/users/{user}")
    titles, parts = tasks(app)
    assert [title[:11] for title in titles] == ["All data of", "Failed deli"]
    assert "bob@" in titles[0]
    assert parts > 0
