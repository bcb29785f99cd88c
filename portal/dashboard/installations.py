"""Installations: the list, what stands behind each, starting, stopping, upgrading and removing it."""

from __future__ import annotations

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.clock import now
from portal.dashboard.access import audit, dashboard, needs, own
from portal.dashboard.children import after_stopping, ask_for_settings
from portal.dashboard.lists import chosen, listing, named_integrations, people_named
from portal.installations.changing import (
    activate_installation,
    deactivate_installation,
    find_installation,
    uninstall,
    upgrade_installation,
)
from portal.installations.finding import InstallationState, select_installations
from portal.installations.models import Installation
from portal.installations.rules import standing_children
from portal.operators.models import Role
from portal.triggers.explaining import asked_by_upgrade


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
