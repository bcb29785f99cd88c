"""What applying a declaration would change, before it is done: told from data alone, it writes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.integrations.declaration import IntegrationDeclaration, write_declaration
from portal.integrations.models import Integration, IntegrationVersion
from portal.workflows.models import Workflow

Deed = Literal["added", "changed", "taken up again", "kept", "dropped"]
CONTEXT = 3  # lines around a change


@dataclass(frozen=True)
class WorkflowChange:
    """What becomes of one workflow. `version` is the one that is made, if any."""

    name: str
    deed: Deed
    workflow_id: str | None = None
    version: int | None = None
    parts: Sequence[str] = ()  # what of it is changed
    fields_added: Sequence[str] = ()
    fields_removed: Sequence[str] = ()


@dataclass(frozen=True)
class Line:
    """A line of the difference of two texts; `kind` is a word, because a colour alone says nothing to many."""

    kind: Literal["added", "removed", "same", "skipped"]
    text: str


@dataclass(frozen=True)
class Plan:
    """What applying a declaration would do. `version` is the stored one that this was told against, 0 for none."""

    declaration: IntegrationDeclaration
    integration: Integration | None
    workflows: list[WorkflowChange] = field(default_factory=list)
    apps_added: list[str] = field(default_factory=list)
    apps_removed: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    @property
    def version(self) -> int:
        """The stored version."""
        return self.integration.version if self.integration else 0

    @property
    def is_empty(self) -> bool:
        """Whether applying it would change nothing."""
        return not self.lines


def plan_declaration(session: Session, declaration: IntegrationDeclaration) -> Plan:
    """Compare a declaration with what is stored under its name."""
    integration = session.scalar(sa.select(Integration).where(Integration.name == declaration.name))
    old = stored_declaration(session, integration) if integration is not None else {}
    new = declaration.model_dump(mode="json")
    if old == new:
        return Plan(declaration, integration)
    known = _known_workflows(session, integration)
    before, after = old.get("apps", []), new["apps"]
    return Plan(
        declaration,
        integration,
        workflows=_workflow_changes(known, old, new),
        apps_added=[app for app in after if app not in before],
        apps_removed=[app for app in before if app not in after],
        lines=_difference(write_declaration(old) if old else "", write_declaration(new)),
    )


def stored_declaration(session: Session, integration: Integration) -> dict[str, Any]:
    """What was applied last."""
    found: dict[str, Any] = session.scalars(
        sa.select(IntegrationVersion.declaration).where(
            IntegrationVersion.integration_id == integration.id, IntegrationVersion.number == integration.version
        )
    ).one()
    return found


def _known_workflows(session: Session, integration: Integration | None) -> dict[str, Workflow]:
    if integration is None:
        return {}
    found = session.scalars(sa.select(Workflow).where(Workflow.integration_id == integration.id))
    return {workflow.name: workflow for workflow in found}


def _workflow_changes(
    known: Mapping[str, Workflow], old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[WorkflowChange]:
    before = {one["name"]: one for one in old.get("workflows", ())}
    wanted = {one["name"]: one for one in new["workflows"]}
    changes = [_change(known.get(name), before.get(name), one) for name, one in wanted.items()]
    return changes + [
        WorkflowChange(name, "dropped", workflow_id=known[name].id) for name in before if name not in wanted
    ]


def _change(workflow: Workflow | None, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> WorkflowChange:
    if workflow is None:
        return WorkflowChange(new["name"], "added", version=1, fields_added=_titles(new))
    definition = {part: new[part] for part in ("trigger", "steps", "fields")}
    version = workflow.version + 1 if workflow.newest.definition != definition else None
    if old is None:
        return WorkflowChange(new["name"], "taken up again", workflow.id, version)
    parts = [part for part in ("description", "trigger", "steps", "fields") if old.get(part) != new.get(part)]
    had, has = _titles(old), _titles(new)
    return WorkflowChange(
        new["name"],
        "changed" if parts else "kept",
        workflow.id,
        version,
        parts,
        fields_added=[title for title in has if title not in had],
        fields_removed=[title for title in had if title not in has],
    )


def _titles(workflow: Mapping[str, Any]) -> list[str]:
    return [one["title"] for one in workflow.get("fields") or ()]


_KINDS: Mapping[str, Literal["added", "removed", "same"]] = {"+": "added", "-": "removed", " ": "same"}


def _difference(before: str, after: str) -> list[Line]:
    told = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm=""))[2:]
    lines = [Line("skipped", "") if line.startswith("@@") else Line(_KINDS[line[0]], line[1:]) for line in told]
    return lines[1:]  # nothing is skipped before the first
