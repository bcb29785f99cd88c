"""How integrations are applied (idempotently, a change makes a new version) and found."""

from __future__ import annotations

import enum
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.integrations.declaration import IntegrationDeclaration, WorkflowDeclaration
from portal.integrations.models import Integration, IntegrationVersion
from portal.refusals import Refusal, Unknown
from portal.workflows.models import Workflow, WorkflowVersion


class UnknownIntegration(Unknown):
    """No integration by that id or name."""

    title = "No such integration"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no integration “{name}”. GET /integrations or `flask integration list` names them; "
            "`flask integration apply FILE` makes one."
        )


class SeveralIntegrations(Refusal):
    """More than one integration has the app that was named."""

    status = 409
    title = "Which integration?"

    def __init__(self, app: str) -> None:
        super().__init__(
            f"Several integrations have the app “{app}”: name one by its id. GET /integrations lists them."
        )


class IntegrationChanged(Refusal):
    """Somebody else applied another version since the difference was shown."""

    status = 409
    title = "It was changed meanwhile"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Somebody applied another version of “{name}” since you looked at the difference. "
            "Nothing was changed: look at the difference again, then apply."
        )


class Applied(enum.StrEnum):
    """What an apply did."""

    created = "created"
    changed = "changed"
    unchanged = "unchanged"


def find_integration(session: Session, name: str) -> Integration:
    """The integration with this id or name. Raises `UnknownIntegration`."""
    found = session.scalar(_named(), {"name": name})
    if found is None:
        raise UnknownIntegration(name)
    return found


@cache
def _named() -> sa.Select[Integration]:
    # Made once: making it anew takes as long as the answer, and it is on the way of most calls.
    name: sa.BindParameter[str] = sa.bindparam("name")
    is_named = sa.or_(Integration.id == name, Integration.name == name)
    return sa.select(Integration).where(is_named).order_by(Integration.id != name).limit(1)


def find_integration_or_app(session: Session, name: str) -> Integration:
    """The same, or the only integration with this app. Raises `UnknownIntegration`, `SeveralIntegrations`."""
    try:
        return find_integration(session, name)
    except UnknownIntegration:
        found = [one for one in session.scalars(sa.select(Integration)) if name in one.apps]
        if not found:
            raise
        if len(found) > 1:
            raise SeveralIntegrations(name) from None
        return found[0]


def apply_declaration(
    session: Session, declaration: IntegrationDeclaration, now: datetime, *, on_version: int | None = None
) -> tuple[Integration, Applied]:
    """Make the stored integration of this name equal to `declaration`; the same file again changes nothing.

    With `on_version` only when that is the stored version (0: when there is none). Raises `IntegrationChanged`.

    A changed integration and each changed workflow get a new version; children keep the version that they were
    installed with. A workflow that is no longer named is retired: its children run on, new links don't install it.
    """
    data = declaration.model_dump(mode="json")
    integration = session.scalar(sa.select(Integration).where(Integration.name == declaration.name).with_for_update())
    if on_version is not None and on_version != (integration.version if integration else 0):
        raise IntegrationChanged(declaration.name)
    if integration is None:
        integration = Integration(name=declaration.name, apps=list(declaration.apps), created_at=now, updated_at=now)
        session.add(integration)
        session.flush()
        outcome = Applied.created
    else:
        last = session.scalar(
            sa.select(IntegrationVersion.declaration).where(
                IntegrationVersion.integration_id == integration.id,
                IntegrationVersion.number == integration.version,
            )
        )
        if last == data:
            return integration, Applied.unchanged
        integration.version += 1
        integration.apps = list(declaration.apps)
        integration.updated_at = now
        outcome = Applied.changed
    session.add(
        IntegrationVersion(integration_id=integration.id, number=integration.version, declaration=data, created_at=now)
    )
    _apply_workflows(session, integration, declaration.workflows, now)
    session.flush()
    session.refresh(integration)
    return integration, outcome


def _apply_workflows(
    session: Session, integration: Integration, declared: tuple[WorkflowDeclaration, ...], now: datetime
) -> None:
    known = {
        workflow.name: workflow
        for workflow in session.scalars(sa.select(Workflow).where(Workflow.integration_id == integration.id))
    }
    for position, declaration in enumerate(declared):
        definition = declaration.model_dump(mode="json", include={"trigger", "steps", "fields"})
        workflow = known.pop(declaration.name, None)
        if workflow is None:
            workflow = Workflow(
                integration_id=integration.id,
                name=declaration.name,
                created_at=now,
                version=0,
                position=position,
            )
            session.add(workflow)
        workflow.description, workflow.position, workflow.retired_at = declaration.description, position, None
        if workflow.version == 0 or current_version(session, workflow).definition != definition:
            workflow.version += 1
            workflow.updated_at = now
            session.flush()
            session.add(
                WorkflowVersion(workflow_id=workflow.id, number=workflow.version, definition=definition, created_at=now)
            )
    for dropped in known.values():
        dropped.retired_at = dropped.retired_at or now


def current_version(session: Session, workflow: Workflow) -> WorkflowVersion:
    """The newest published version of a workflow."""
    return session.scalars(
        sa.select(WorkflowVersion).where(
            WorkflowVersion.workflow_id == workflow.id, WorkflowVersion.number == workflow.version
        )
    ).one()
