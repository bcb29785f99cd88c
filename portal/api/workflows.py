"""Integrations and their workflows, as one user has them; starting, stopping, upgrading, removing a user's copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from flask import current_app
from pydantic import Field, model_validator
from sqlalchemy.orm import Session, selectinload

from portal.api.access import audit, open_to_users, own, the_user, user_if_named
from portal.api.hooks import resource
from portal.api.shapes import Body, Moment, OfUser, Ref, Reply, UserQuery, either, optional
from portal.clock import now
from portal.installations.changing import (
    activate_workflow,
    children_of,
    deactivate_workflow,
    find_child,
    remove_workflow,
)
from portal.installations.finding import who_has
from portal.integrations.models import Integration
from portal.integrations.rules import find_integration_or_app
from portal.triggers.rules import upgrade_child
from portal.users.models import User
from portal.workflows.blocks import blocks_of
from portal.workflows.models import ChildWorkflow, Workflow
from portal.workflows.rules import find_workflow, versions_of

workflows = resource("workflows", __name__, tag="Integrations and workflows")


class BlockFacts(Reply):
    """One box of a workflow."""

    name: str
    id: str
    type: str
    icon: str | None


class WorkflowOfIntegration(Reply):
    """A workflow, and how the user has it."""

    workflow_id: str
    name: str
    installed: bool
    active: bool
    version: int
    installed_version: int | None = optional("The version that the user's copy runs.")
    blocks: list[BlockFacts]


class WorkflowFacts(WorkflowOfIntegration):
    """The same, by itself."""

    integration_id: str
    created_at: Moment
    updated_at: Moment


class IntegrationFacts(Reply):
    """An integration, and how the user has it. `app` is its (first) app, `apps` are all of them."""

    integration_id: str
    app: str
    apps: list[str]
    name: str
    icon: str
    installed: bool
    workflows: list[WorkflowOfIntegration]


class IntegrationList(Reply):
    """Every integration."""

    data: list[IntegrationFacts]


class OneIntegration(Reply):
    """One integration."""

    data: IntegrationFacts


class WorkflowList(Reply):
    """Every workflow."""

    data: list[WorkflowFacts]


class OneWorkflow(Reply):
    """One workflow."""

    data: WorkflowFacts


class WorkflowListQuery(UserQuery):
    """Whose, and of which integration (id, name or app)."""

    integration: Ref | None = None


class Version(Reply):
    """A published version."""

    version_id: str
    version_name: str
    last_modified: Moment
    status: Annotated[str, Field(pattern="^(active|inactive)$")]


class VersionList(Reply):
    """Every published version, newest first; the newest is active."""

    data: list[Version]


class Which(Body):
    """Which workflow of which user: by `workflowId`, or by `workflowName`."""

    model_config = either("workflowId", "workflowName")

    user_id: Ref | None = None
    workflow_id: Ref = ""
    workflow_name: Ref = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> Which:
        if not (self.workflow_id or self.workflow_name):
            raise ValueError("send `workflowId` or `workflowName`")
        return self

    @property
    def workflow(self) -> str:
        """The id or the name."""
        return self.workflow_id or self.workflow_name


class Activated(Reply):
    """Whether the user's copy runs now."""

    activated: bool
    stopped_runs: list[str] | None = optional("Runs that had begun, and that were stopped where they stood.")


class Upgraded(Reply):
    """The user's copy runs the newest version."""

    upgraded: bool = True


class Deleted(Reply):
    """The user's copy is gone."""

    deleted: bool = True


class WorkflowUser(Reply):
    """A user who has installed the workflow."""

    username: str
    full_name: str | None
    user_id: str
    workflow_active: bool
    installed_version: int
    installed_at: Moment


class WorkflowUsers(Reply):
    """Who has installed the workflow."""

    data: list[WorkflowUser]


class _Copies:
    """The user's copies, by workflow id."""

    def __init__(self, session: Session, user: User | None) -> None:
        found = children_of(session, [user.id]) if user else []
        self._by_workflow = {child.workflow_id: child for child in found}
        self._base = current_app.config["PORTAL_SETTINGS"].base_url

    def icon(self, app: str | None) -> str | None:
        return f"{self._base}/icons/{app}.svg" if app else None

    def tell(self, workflow: Workflow, apps: Sequence[str]) -> WorkflowOfIntegration:
        child = self._by_workflow.get(workflow.id)
        blocks = blocks_of(workflow.id, workflow.newest.definition, apps)
        return WorkflowOfIntegration(
            workflow_id=workflow.id,
            name=workflow.name,
            installed=child is not None,
            active=child is not None and child.is_active,
            version=workflow.version,
            installed_version=child.version.number if child else None,
            blocks=[BlockFacts(name=b.name, id=b.id, type=b.type, icon=self.icon(b.app)) for b in blocks],
        )

    def tell_alone(self, workflow: Workflow, apps: Sequence[str]) -> WorkflowFacts:
        return WorkflowFacts(
            **self.tell(workflow, apps).model_dump(),
            integration_id=workflow.integration_id,
            created_at=workflow.created_at,
            updated_at=workflow.updated_at,
        )

    def tell_integration(self, one: Integration) -> IntegrationFacts:
        told = [self.tell(workflow, one.apps) for workflow in one.workflows]
        return IntegrationFacts(
            integration_id=one.id,
            app=one.apps[0],
            apps=one.apps,
            name=one.name,
            icon=self.icon(one.apps[0]) or "",
            installed=any(workflow.installed for workflow in told),
            workflows=told,
        )


_WITH_WORKFLOWS = selectinload(Integration.workflows).joinedload(Workflow.newest)


@workflows.get("/integrations")
@open_to_users
@workflows.input(UserQuery, location="query")
@workflows.output(IntegrationList)
@workflows.doc(summary="List integrations", responses={404: "No such user."})
def list_integrations(query_data: UserQuery) -> IntegrationList:
    with own() as session:
        copies = _Copies(session, user_if_named(session, query_data.user_id))
        found = session.scalars(sa.select(Integration).options(_WITH_WORKFLOWS).order_by(Integration.name))
        return IntegrationList(data=[copies.tell_integration(one) for one in found])


@workflows.get("/integrations/<integration>")
@open_to_users
@workflows.input(UserQuery, location="query")
@workflows.output(OneIntegration)
@workflows.doc(summary="Get an integration by id, name or app", responses={409: "Several integrations have this app."})
def show_integration(integration: str, query_data: UserQuery) -> OneIntegration:
    with own() as session:
        copies = _Copies(session, user_if_named(session, query_data.user_id))
        return OneIntegration(data=copies.tell_integration(find_integration_or_app(session, integration)))


@workflows.get("/workflows")
@open_to_users
@workflows.input(WorkflowListQuery, location="query")
@workflows.output(WorkflowList)
@workflows.doc(
    summary="List workflows",
    responses={404: "No such user or integration.", 409: "Several integrations have this app."},
)
def index(query_data: WorkflowListQuery) -> WorkflowList:
    with own() as session:
        copies = _Copies(session, user_if_named(session, query_data.user_id))
        statement = sa.select(Integration).options(_WITH_WORKFLOWS).order_by(Integration.name)
        if query_data.integration:
            statement = statement.where(Integration.id == find_integration_or_app(session, query_data.integration).id)
        found = session.scalars(statement)
        return WorkflowList(data=[copies.tell_alone(w, one.apps) for one in found for w in one.workflows])


@workflows.get("/workflows/<workflow>")
@open_to_users
@workflows.input(UserQuery, location="query")
@workflows.output(OneWorkflow)
@workflows.doc(summary="Get a workflow")
def show(workflow: str, query_data: UserQuery) -> OneWorkflow:
    with own() as session:
        copies = _Copies(session, user_if_named(session, query_data.user_id))
        found = find_workflow(session, workflow)
        apps = session.get_one(Integration, found.integration_id).apps
        return OneWorkflow(data=copies.tell_alone(found, apps))


@workflows.get("/workflows/<workflow>/versions")
@workflows.output(VersionList)
@workflows.doc(summary="List a workflow's versions")
def versions(workflow: str) -> VersionList:
    with own() as session:
        found = find_workflow(session, workflow)
        return VersionList(
            data=[
                Version(
                    version_id=version.id,
                    version_name=f"Version {version.number}",
                    last_modified=version.created_at,
                    status="active" if version.number == found.version else "inactive",
                )
                for version in versions_of(session, found.id)
            ]
        )


@workflows.put("/workflows/activate")
@open_to_users
@workflows.input(Which)
@workflows.output(Activated)
@workflows.doc(
    summary="Start a user's copy",
    responses={404: "No such user or workflow.", 409: "A credential is missing, or several have this name."},
)
def activate(json_data: Which) -> Activated:
    with own() as session:
        child = _copy(session, json_data)
        activate_workflow(session, child, now())
        _write_down(session, "activate", child)
    return Activated(activated=True)


@workflows.put("/workflows/deactivate")
@open_to_users
@workflows.input(Which)
@workflows.output(Activated)
@workflows.doc(
    summary="Stop a user's copy",
    responses={404: "No such user or workflow.", 409: "Several workflows have this name."},
)
def deactivate(json_data: Which) -> Activated:
    with own() as session:
        child = _copy(session, json_data)
        begun = deactivate_workflow(session, child, now())
        _write_down(session, "deactivate", child)
    return Activated(activated=False, stopped_runs=begun or None)


def _write_down(session: Session, deed: str, child: ChildWorkflow) -> None:
    audit(session, f"workflow.{deed}", child.workflow.name, copy=child.id, installation=child.installation_id)


def _copy(session: Session, which: Which) -> ChildWorkflow:
    user = the_user(session, which.user_id)
    return find_child(session, user, find_workflow(session, which.workflow))


@workflows.put("/workflows/<workflow>/upgrade")
@workflows.input(OfUser, location="query")
@workflows.output(Upgraded)
@workflows.doc(
    summary="Bring a user's copy to the newest version",
    responses={409: "The new version asks for new fields, or several workflows have this name."},
)
def upgrade(workflow: str, query_data: OfUser) -> Upgraded:
    with own() as session:
        user = the_user(session, query_data.user_id)
        child = find_child(session, user, find_workflow(session, workflow))
        upgrade_child(session, child, now())
        _write_down(session, "upgrade", child)
    return Upgraded()


@workflows.delete("/workflows/<workflow>")
@workflows.input(OfUser, location="query")
@workflows.output(Deleted)
@workflows.doc(summary="Remove a user's copy")
def delete(workflow: str, query_data: OfUser) -> Deleted:
    with own() as session:
        user = the_user(session, query_data.user_id)
        child = find_child(session, user, find_workflow(session, workflow))
        remove_workflow(session, child, now())
        _write_down(session, "remove", child)
    return Deleted()


@workflows.get("/workflows/<workflow>/users")
@workflows.input(UserQuery, location="query")
@workflows.output(WorkflowUsers)
@workflows.doc(summary="List the users of a workflow")
def list_users(workflow: str, query_data: UserQuery) -> WorkflowUsers:
    with own() as session:
        found = find_workflow(session, workflow)
        user_id = the_user(session, query_data.user_id).id if query_data.user_id else None
        return WorkflowUsers(
            data=[
                WorkflowUser(
                    username=user.username,
                    full_name=user.full_name,
                    user_id=user.id,
                    workflow_active=child.is_active,
                    installed_version=child.version.number,
                    installed_at=installation.installed_at,
                )
                for child, installation, user in who_has(session, found.id, user_id)
            ]
        )
