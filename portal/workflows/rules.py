"""How parents are found and copied into children, and how children are upgraded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.environments import Environment
from portal.ids import new_id
from portal.workflows.errors import NewFieldsAsked, SeveralWorkflows, UnknownWorkflow
from portal.workflows.fields import clean_values, fields_of
from portal.workflows.models import ChildWorkflow, Workflow, WorkflowVersion

Published = tuple[Workflow, WorkflowVersion]


def find_workflow(session: Session, name: str) -> Workflow:
    """The parent with this id, or the one with this name. Raises `UnknownWorkflow`, `SeveralWorkflows`."""
    found = session.scalars(
        sa.select(Workflow)
        .where(sa.or_(Workflow.id == name, sa.and_(Workflow.name == name, Workflow.retired_at.is_(None))))
        .order_by(Workflow.id != name)
        .limit(2)
    ).all()
    if not found:
        raise UnknownWorkflow(name)
    if found[0].id != name and len(found) > 1:
        raise SeveralWorkflows(name)
    return found[0]


def newest_versions(session: Session, integration_id: str, chosen: Sequence[str] | None) -> list[Published]:
    """The integration's workflows in order, each with its newest version; only the `chosen` when a link names some."""
    found = session.execute(_newest(), {"integration": integration_id})
    return [(parent, version) for parent, version in found if not chosen or parent.id in chosen]


@cache
def _newest() -> sa.Select[Workflow, WorkflowVersion]:
    is_newest = sa.and_(Workflow.id == WorkflowVersion.workflow_id, Workflow.version == WorkflowVersion.number)
    integration_id = sa.bindparam("integration", type_=sa.String)
    return (
        sa.select(Workflow, WorkflowVersion)
        .join(WorkflowVersion, is_newest)
        .where(Workflow.integration_id == integration_id, Workflow.retired_at.is_(None))
        .order_by(Workflow.position)
    )


def named_versions(session: Session, published: Sequence[Published], version_ids: Sequence[str]) -> list[Published]:
    """`published`, with the versions that are named by id in the place of the newest."""
    if not version_ids:
        return list(published)
    named = {
        version.workflow_id: version
        for version in session.scalars(sa.select(WorkflowVersion).where(WorkflowVersion.id.in_(version_ids)))
    }
    return [(parent, named.get(parent.id, version)) for parent, version in published]


def versions_of(session: Session, workflow_id: str) -> list[WorkflowVersion]:
    """Every published version of a parent, newest first."""
    return list(
        session.scalars(
            sa.select(WorkflowVersion)
            .where(WorkflowVersion.workflow_id == workflow_id)
            .order_by(WorkflowVersion.number.desc())
        )
    )


def check_settings(
    published: Sequence[Published], given: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, str]]]:
    """(values to keep, sentences by field that is wrong), both by workflow id."""
    values, problems = {}, {}
    for parent, version in published:
        values[parent.id], wrong = clean_values(version.definition, given.get(parent.id, {}))
        if wrong:
            problems[parent.id] = wrong
    return values, problems


def install_children(
    session: Session,
    installation_id: str,
    environment: Environment,
    user_id: str,
    published: Sequence[Published],
    now: datetime,
    *,
    there: Sequence[ChildWorkflow],
    values: Mapping[str, Mapping[str, Any]],
    output_override: Sequence[Any] = (),
) -> list[ChildWorkflow]:
    """Copy each version into a running child of the installation; a child that is `there` already is brought to it."""
    known = {child.workflow_id: child for child in there}
    children = []
    for parent, version in published:
        child = known.get(parent.id)
        if child is None:
            child = ChildWorkflow(
                id=new_id(),
                installation_id=installation_id,
                environment=environment,
                user_id=user_id,
                workflow_id=parent.id,
                runs_made=0,
                created_at=now,
            )
            session.add(child)
        child.version_id, child.definition = version.id, version.definition
        child.values = dict(values.get(parent.id, {}))
        child.output_override = list(output_override) or None
        child.is_active, child.removed_at = True, None
        children.append(child)
    return children


def upgrade_child(session: Session, child: ChildWorkflow) -> bool:
    """Bring a child to the newest version of its parent; whether that changed it.

    Raises `NewFieldsAsked` when the newest version wants more values.
    """
    newest = child.workflow.newest
    if newest.id == child.version_id:
        return False
    values, problems = clean_values(newest.definition, child.values)
    if problems:
        raise NewFieldsAsked(child.workflow.name, [f.title for f in fields_of(newest.definition) if f.name in problems])
    child.version_id, child.definition, child.values = newest.id, newest.definition, values
    session.flush()
    return True
