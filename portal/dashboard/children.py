"""One user's copy of a workflow: how it stands, why nothing is happening, and starting, stopping, upgrading it."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from flask import current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session, joinedload

from portal.clock import now
from portal.credentials.models import InstallationCredential
from portal.dashboard.access import audit, dashboard, needs, own
from portal.dashboard.share import show_made
from portal.installations.changing import activate_workflow, deactivate_workflow
from portal.installations.models import Installation
from portal.links.manner import Manner
from portal.links.rules import create_link
from portal.operators.models import Role
from portal.refusals import Unknown
from portal.runs.models import Run
from portal.runs.reading import select_runs
from portal.triggers.explaining import explain
from portal.triggers.rules import upgrade_child
from portal.workflows.models import ChildWorkflow
from portal.workflows.picture import draw

LATEST = 5  # runs on a child's page


class UnknownChild(Unknown):
    """No copy of a workflow by that id."""

    title = "No such workflow"

    def message(self) -> str:
        return "There is no copy of a workflow by this address. The installations list what there is."


def _child(session: Session, child_id: str) -> ChildWorkflow:
    found = session.get(ChildWorkflow, child_id, options=[joinedload(ChildWorkflow.workflow)])
    if found is None:
        raise UnknownChild
    return found


@dashboard.get("/children/<child>")
@needs(Role.viewer)
def child(child: str) -> ResponseReturnValue:
    """Why nothing is happening, or that all is well."""
    with own() as session:
        one = _child(session, child)
        installation = session.get_one(
            Installation,
            one.installation_id,
            options=[joinedload(Installation.user), joinedload(Installation.integration)],
        )
        return render_template(
            "dashboard/child.html",
            one=one,
            installation=installation,
            why=explain(session, one, now()),
            picture=draw(one.workflow_id, one.definition, installation.integration.apps),
            latest=session.scalars(
                select_runs().where(Run.child_id == one.id).order_by(Run.number.desc()).limit(LATEST)
            ).all(),
            catalogue=current_app.extensions["catalogue"],
            at=now(),
        )


@dashboard.post("/children/<child>/<deed>")
@needs(Role.member)
def change_child(child: str, deed: str) -> ResponseReturnValue:
    """Start, stop or upgrade a copy; or make the link that asks its user for what the newest version wants to know."""
    begun: list[str] = []
    with own() as session:
        one = _child(session, child)
        match deed:
            case "activate":
                activate_workflow(session, one, now())
            case "deactivate":
                begun = deactivate_workflow(session, one, now())
            case "upgrade":
                upgrade_child(session, one, now())
            case "ask":
                return ask_for_settings(session, one.installation_id, [one.workflow_id])
            case _:
                return redirect(url_for("dashboard.child", child=child), 303)
        audit(session, f"workflow.{deed}", one.workflow.name, child=child, user=one.user_id, stopped_runs=len(begun))
    return after_stopping(begun, url_for("dashboard.child", child=child))


def after_stopping(begun: Sequence[str], back: str) -> ResponseReturnValue:
    """What was under way when something was stopped; straight `back` when nothing was."""
    if not begun:
        return redirect(back, 303)
    return render_template("dashboard/stopped.html", begun=begun, back=back)


def ask_for_settings(session: Session, installation_id: str, workflow_ids: Sequence[str] | None) -> ResponseReturnValue:
    """Make a link that brings these workflows to their newest versions and asks for what is new in them alone.

    The accounts that are connected stay, as long as they work.
    """
    installation = session.get_one(Installation, installation_id)
    chosen = session.scalars(
        sa.select(InstallationCredential.credential_id).where(InstallationCredential.installation_id == installation_id)
    )
    link, token = create_link(
        session,
        current_app.extensions["keys"].link_keys,
        user=installation.user,
        integration=installation.integration,
        now=now(),
        always_show_credentials=False,
        workflow_ids=workflow_ids,
        manner=Manner(operation="update", is_only_new=True, credential_ids=tuple(chosen)),
    )
    audit(session, "link.create", f"{link.name} for {installation.user.username}", link=link.id, operation="update")
    return show_made(session, link, token)
