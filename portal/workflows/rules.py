"""How parents are copied into children, and how children are stopped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.workflows.models import ChildWorkflow, Workflow, WorkflowVersion


def workflows_to_install(session: Session, integration_id: str, chosen: Sequence[str] | None) -> list[Workflow]:
    """The integration's workflows in their order; only the `chosen` ids when a link names some."""
    return [workflow for workflow, _ in newest_versions(session, integration_id, chosen)]


def newest_versions(
    session: Session, integration_id: str, chosen: Sequence[str] | None
) -> list[tuple[Workflow, WorkflowVersion]]:
    """The same workflows, each with its newest published version."""
    statement = (
        sa.select(Workflow, WorkflowVersion)
        .join(
            WorkflowVersion,
            sa.and_(Workflow.id == WorkflowVersion.workflow_id, Workflow.version == WorkflowVersion.number),
        )
        .where(Workflow.integration_id == integration_id, Workflow.retired_at.is_(None))
        .order_by(Workflow.position)
    )
    return [(parent, version) for parent, version in session.execute(statement) if not chosen or parent.id in chosen]


def install_children(
    session: Session, installation_id: str, parents: Sequence[tuple[Workflow, WorkflowVersion]], now: datetime
) -> list[ChildWorkflow]:
    """Copy each parent's version into a running child of the installation."""
    children = [
        ChildWorkflow(
            installation_id=installation_id,
            workflow_id=parent.id,
            version_id=version.id,
            definition=version.definition,
            is_active=True,
            created_at=now,
        )
        for parent, version in parents
    ]
    session.add_all(children)
    return children


def stop_children(session: Session, installation_ids: Sequence[str]) -> None:
    """Stop every child of these installations."""
    session.execute(
        sa.update(ChildWorkflow)
        .where(ChildWorkflow.installation_id.in_(installation_ids))
        .values(is_active=False)
        .execution_options(synchronize_session=False)
    )
