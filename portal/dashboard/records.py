"""The lists and what stands behind each row: links, users, installations."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import InstrumentedAttribute, joinedload

from portal.attention import who_waits
from portal.clock import now
from portal.credentials.rules import credentials_of, drop_drafts
from portal.dashboard.access import audit, dashboard, needs, own, require_proof
from portal.dashboard.children import after_stopping, ask_for_settings
from portal.dashboard.lists import Column, by_name, by_time, chosen, listing, named_integrations, people_named
from portal.dashboard.share import share_anew, show_made
from portal.dashboard.titles import link_title
from portal.db import wipe_deleted
from portal.installations.changing import (
    activate_installation,
    deactivate_installation,
    delete_user,
    find_installation,
    uninstall,
    upgrade_installation,
)
from portal.installations.finding import InstallationState, select_installations
from portal.installations.models import Installation
from portal.installations.rules import standing_children
from portal.links.errors import WorkflowsGone
from portal.links.finding import (
    NEWEST,
    ends_of_newest,
    is_for,
    last_failures,
    moments_to_sort_by,
    select_links,
)
from portal.links.models import FailedTry, Link, LinkOrigin, LinkState
from portal.links.replacing import find_successor, replace_link
from portal.links.rules import find_by_id, revoke_link
from portal.operators.models import Role
from portal.refusals import Refusal
from portal.runs.forgetting import erase_logs
from portal.runs.models import Run
from portal.runs.reading import select_runs
from portal.triggers.explaining import asked_by_upgrade
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


class NotTyped(Refusal):
    """The username that confirms a deletion wasn't typed as it is."""


def _require_typed(name: str, one: User) -> None:
    if request.form.get(name, "").strip() != one.username:
        raise NotTyped


# Links

ASKED = "asked"  # stands among the states of the filter: whose user asked for a new link


@dashboard.get("/links")
@needs(Role.viewer)
def links() -> ResponseReturnValue:
    """Every link, by state, integration and user, with how far it came and what failed last."""
    at = now()
    state, has_asked = chosen(LinkState, "state"), request.args.get("state") == ASKED
    with own() as session:
        people = people_named(session)
        integration_id = request.args.get("integration") or None
        statement = select_links(at, state=state, integration_id=integration_id, has_asked=has_asked)
        is_narrowed = state is not None or has_asked or integration_id is not None
        ends = ends_of_newest(session, people.ids) if is_narrowed and people.ids else {}
        found = listing(
            session,
            statement,
            then=Link.id,
            columns=[
                _column(moment, state)
                for moment in moments_to_sort_by(state, has_asked, are_one_s=people.ids is not None)
            ],
            filters=("user", "state", "integration"),
            among=people.among(lambda one: is_for(one, ends.get(one))),
        )
        return render_template(
            "dashboard/links.html",
            found=found,
            people=people,
            failures=last_failures(session, [one.id for one in found.rows]),
            waiting=who_waits(session, found.rows),
            states=[*LinkState, (ASKED, "asked for a new one")],
            integrations=named_integrations(session),
            newest=NEWEST if ends else None,
            at=at,
        )


def _column(moment: InstrumentedAttribute[Any], state: LinkState | None) -> Column:
    if moment is Link.created_at or moment is Link.requested_at:
        return by_time(moment)
    goes_on = state in (LinkState.created, LinkState.opened, LinkState.verified)
    return Column(moment, up="soonest", down="latest", is_first_down=not goes_on)


@dashboard.get("/links/<link>")
@needs(Role.viewer)
def link(link: str) -> ResponseReturnValue:
    """One link: its steps, what failed, what can be done."""
    with own() as session:
        found = find_by_id(session, link)
        tries = session.scalars(
            sa.select(FailedTry).where(FailedTry.link_id == found.id).order_by(FailedTry.at.desc()).limit(20)
        ).all()
        after = find_successor(session, found)
        return render_template("dashboard/link.html", one=found, tries=tries, after=after, at=now())


@dashboard.post("/links/<link>/revoke")
@needs(Role.member)
def revoke(link: str) -> ResponseReturnValue:
    """Take a link back."""
    with own() as session:
        found = find_by_id(session, link)
        revoke_link(session, found, now())
        drop_drafts(session, found.id)
        audit(session, "link.revoke", f"{link_title(found)} for {found.user.username}", link=found.id)
    return redirect(url_for("dashboard.link", link=link), 303)


@dashboard.post("/links/<link>/replace")
@needs(Role.member)
def replace(link: str) -> ResponseReturnValue:
    """A new link for the same user and the same things; the old one, or what replaced it since, is revoked.

    Where nothing of what it was for is left, on to the Share dialog, filled in.
    """
    keys = current_app.extensions["keys"].link_keys
    with own() as session:
        old = find_by_id(session, link)
        try:
            made = replace_link(session, keys, old, now())
        except WorkflowsGone:
            return redirect(share_anew(old), 303)
        if made.revoked:
            drop_drafts(session, made.revoked.id)
        audit(session, "link.replace", f"{link_title(old)} for {old.user.username}", link=made.link.id, replaced=old.id)
        return show_made(session, made.link, made.token, gone=made.gone)


# Users


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
    return _user_page(user)


def _user_page(name: str, mistyped: str = "") -> str:
    """`mistyped` is the field in which the username was to be typed once more, and wasn't."""
    with own() as session:
        one = find_user(session, name)
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
            runs=session.scalars(
                select_runs().where(Run.user_id == one.id).order_by(Run.created_at.desc()).limit(5)
            ).all(),
            at=now(),
        )


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
    try:
        with own() as session:
            one = find_user(session, user)
            _require_typed("confirm", one)
            receipt = {"userId": one.id, "username": one.username, "deletedAt": now().isoformat()}
            exports = delete_user(session, one, now())
            audit(session, "user.delete", one.username, user=one.id)
    except NotTyped:
        return _user_page(user, "confirm"), 422
    if exports:
        wipe_deleted(is_thorough=True)
    return render_template("dashboard/deleted.html", receipt=receipt)


@dashboard.post("/users/<user>/delete-logs")
def delete_logs(user: str) -> ResponseReturnValue:
    """Erase what was logged of a user's runs; wants the username typed, and a sign-in that isn't long ago."""
    require_proof()
    try:
        with own() as session:
            one = find_user(session, user)
            _require_typed("confirm-logs", one)
            audit(session, "user.delete_logs", one.username, user=one.id)
    except NotTyped:
        return _user_page(user, "confirm-logs"), 422
    erasure = erase_logs(one.id)
    with own() as session:
        audit(session, "user.logs_deleted", one.username, user=one.id, runs=erasure.runs, steps=erasure.steps)
    return render_template("dashboard/logs_deleted.html", one=one, erasure=erasure)


# Installations


@dashboard.get("/installations")
@needs(Role.viewer)
def installations() -> ResponseReturnValue:
    """What is installed, for whom, by state, integration and user."""
    state = chosen(InstallationState, "state")
    with own() as session:
        people = people_named(session)
        statement = select_installations(
            is_enabled=None if state is None else state is InstallationState.running,
            integration_id=request.args.get("integration") or None,
        )
        found = listing(
            session,
            statement,
            by=Installation.installed_at,
            then=Installation.id,
            filters=("user", "state", "integration"),
            among=people.among(lambda one: Installation.user_id == one),
        )
        return render_template(
            "dashboard/installations.html",
            found=found,
            people=people,
            states=list(InstallationState),
            integrations=named_integrations(session),
        )


@dashboard.get("/installations/<installation>")
@needs(Role.viewer)
def installation(installation: str) -> ResponseReturnValue:
    """One installation: accounts, workflows and their versions."""
    with own() as session:
        find_installation(session, installation)
        one = session.scalars(select_installations().where(Installation.id == installation)).unique().one()
        standing = standing_children(session, one.id)
        asks = [
            (child.workflow.name, asked) for child in standing if (asked := asked_by_upgrade(child, child.workflow))
        ]
        is_behind = any(child.version_id != child.workflow.newest.id for child in standing)
        return render_template("dashboard/installation.html", one=one, asks=asks, is_behind=is_behind)


@dashboard.post("/installations/<installation>/<deed>")
@needs(Role.member)
def change_installation(installation: str, deed: str) -> ResponseReturnValue:
    """Start, stop, upgrade or remove what is installed."""
    begun: list[str] = []
    back = url_for("dashboard.installation", installation=installation)
    with own() as session:
        one = find_installation(session, installation)
        match deed:
            case "activate":
                activate_installation(session, one, now())
            case "deactivate":
                begun = deactivate_installation(session, one, now())
            case "upgrade":
                upgrade_installation(session, one, now())
            case "ask":
                return ask_for_settings(session, one.id, [c.workflow_id for c in standing_children(session, one.id)])
            case "remove":
                begun = uninstall(session, one, now())
                back = url_for("dashboard.installations")
            case _:
                return redirect(back, 303)
        audit(session, f"installation.{deed}", installation, user=one.user_id, stopped_runs=len(begun))
    return after_stopping(begun, back)
