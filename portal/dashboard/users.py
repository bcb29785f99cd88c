"""Users: the list, what there is of each, taking it along and deleting it."""

from __future__ import annotations

import sqlalchemy as sa
from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session, joinedload

from portal.clock import now
from portal.credentials.rules import credentials_of
from portal.dashboard.access import audit, dashboard, needs, own, require_proof
from portal.dashboard.lists import by_name, by_time, listing, named_integrations
from portal.db import wipe_deleted
from portal.installations.changing import delete_user
from portal.installations.finding import select_installations
from portal.installations.models import Installation
from portal.links.models import Link, LinkOrigin
from portal.operators.models import Role
from portal.runs.forgetting import erase_logs
from portal.runs.models import Run
from portal.runs.reading import select_runs
from portal.users.export import start_export
from portal.users.models import User
from portal.users.rules import (
    BadFullName,
    BadUsername,
    UsernameTaken,
    begins_with,
    create_user,
    find_user,
    spelling_of,
)


@dashboard.get("/users")
@needs(Role.viewer)
def users(problems: dict[str, str] | None = None) -> str:
    """Every user, or those whose name begins with what was typed: these by name, as their index has them.

    With `problems`, by field, when a user could not be made here.
    """
    statement, columns = sa.select(User), [by_time(User.created_at), by_name(User.small_username)]
    with own() as session:
        if name := request.args.get("user", "").strip():
            statement, columns = (
                statement.where(begins_with(spelling_of(session, name))),
                [by_name(User.small_username)],
            )
        found = listing(session, statement, then=User.id, columns=columns, filters=("user",))
        return render_template("dashboard/users.html", found=found, problems=problems or {}, typed=request.form)


@dashboard.post("/users")
@needs(Role.member)
def add_user() -> ResponseReturnValue:
    """Make a user."""
    try:
        with own() as session:
            made = create_user(
                session, request.form.get("username", ""), now=now(), full_name=request.form.get("full_name") or None
            )
            audit(session, "user.create", made.username)
    except BadFullName as problem:
        return users({"full_name": problem.message()}), 422
    except (BadUsername, UsernameTaken) as problem:
        return users({"username": problem.message()}), 422
    return redirect(url_for("dashboard.user", user=made.id), 303)


@dashboard.get("/users/<user>")
@needs(Role.viewer)
def user(user: str) -> ResponseReturnValue:
    """One user: what is installed, whose accounts are connected (never their secrets), links."""
    with own() as session:
        return _page(session, find_user(session, user))


def _page(session: Session, one: User, mistyped: str = "") -> str:
    """`mistyped` is the field in which the username was to be typed once more, and wasn't."""
    newest = (
        sa.select(Link)
        .where(Link.user_id == one.id, Link.origin == LinkOrigin.link)
        .options(joinedload(Link.integration))
    )
    return render_template(
        "dashboard/user.html",
        one=one,
        mistyped=mistyped,
        typed=request.form,
        credentials=credentials_of(session, one.id),
        installations=session.scalars(select_installations().where(Installation.user_id == one.id)).all(),
        links=session.scalars(newest.order_by(Link.created_at.desc()).limit(10)).all(),
        integrations=named_integrations(session),
        runs=session.scalars(select_runs().where(Run.user_id == one.id).order_by(Run.created_at.desc()).limit(5)).all(),
        at=now(),
    )


def _is_typed(field: str, one: User) -> bool:
    """Whether the username was typed once more, as it is, to confirm a deletion."""
    return request.form.get(field, "").strip() == one.username


@dashboard.post("/users/<user>/export")
@needs(Role.member)
def export(user: str) -> ResponseReturnValue:
    """Everything that is stored about a user, as one JSON document, without secrets; written in the background."""
    with own() as session:
        one = find_user(session, user)
        task = start_export(
            session, one, title=f"All data of {one.username}", asked_by=g.session.operator.email, now=now()
        )
        audit(session, "user.export", one.username)
    return redirect(url_for("dashboard.task", task=task.id), 303)


@dashboard.post("/users/<user>/delete")
def erase(user: str) -> ResponseReturnValue:
    """Forget a user; wants the username typed, and a sign-in that isn't long ago."""
    require_proof()
    with own() as session:
        one = find_user(session, user)
        if not _is_typed("confirm", one):
            return _page(session, one, "confirm"), 422
        receipt = {"userId": one.id, "username": one.username, "deletedAt": now().isoformat()}
        exports = delete_user(session, one, now())
        audit(session, "user.delete", one.username, user=one.id)
    if exports:
        wipe_deleted(is_thorough=True)
    return render_template("dashboard/deleted.html", receipt=receipt)


@dashboard.post("/users/<user>/delete-logs")
def delete_logs(user: str) -> ResponseReturnValue:
    """Erase what was logged of a user's runs; wants the username typed, and a sign-in that isn't long ago."""
    require_proof()
    with own() as session:
        one = find_user(session, user)
        if not _is_typed("confirm-logs", one):
            return _page(session, one, "confirm-logs"), 422
        audit(session, "user.delete_logs", one.username, user=one.id)
    erasure = erase_logs(one.id)
    with own() as session:
        audit(session, "user.logs_deleted", one.username, user=one.id, runs=erasure.runs, steps=erasure.steps)
    return render_template("dashboard/logs_deleted.html", one=one, erasure=erasure)
