"""`flask installation`: list and show what was installed."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa
from flask.cli import AppGroup
from sqlalchemy.orm import selectinload

from portal.commands.output import as_json, in_environment, plainly, print_facts, print_rows, when
from portal.credentials.models import InstallationCredential
from portal.db import transaction
from portal.environments import Environment
from portal.installations.errors import UnknownInstallation
from portal.installations.models import Installation
from portal.workflows.models import ChildWorkflow

installation = AppGroup("installation", help="Installations: what finished links left behind.")

_WHOLE = (
    selectinload(Installation.children).joinedload(ChildWorkflow.workflow),
    selectinload(Installation.credentials).joinedload(InstallationCredential.credential),
)


@installation.command("list")
@in_environment
@as_json
@plainly
def list_installations(environment: Environment, as_json: bool) -> None:
    """List installations, newest first."""
    with transaction(environment) as session:
        found = session.scalars(
            sa.select(Installation).options(*_WHOLE).order_by(Installation.installed_at.desc(), Installation.id)
        ).all()
    rows = [_facts(one) for one in found]
    if not as_json:
        rows = [
            {k: row[k] for k in ("installationId", "userId", "integrationId", "installedAt", "enabled")} for row in rows
        ]
    print_rows(rows, as_json=as_json, empty="Nothing is installed yet: finish a link first.")


@installation.command("show")
@click.argument("installation_id")
@as_json
@plainly
def show(installation_id: str, as_json: bool) -> None:
    """Show one installation with its accounts (never their secrets) and child workflows."""
    with transaction() as session:
        found = session.get(Installation, installation_id, options=_WHOLE)
        if found is None:
            raise UnknownInstallation(installation_id)
        facts = _facts(found)
    print_facts(facts, as_json=as_json)


def _facts(one: Installation) -> dict[str, Any]:
    return {
        "installationId": one.id,
        "integrationId": one.integration_id,
        "userId": one.user_id,
        "linkId": one.link_id,
        "environment": str(one.environment),
        "credentialIds": {row.app: row.credential_id for row in one.credentials},
        "accounts": {row.app: row.credential.account for row in one.credentials},
        "workflowIds": [child.workflow_id for child in one.children],
        "childWorkflows": [
            {
                "childId": child.id,
                "workflowId": child.workflow_id,
                "name": child.workflow.name,
                "active": child.is_active,
            }
            for child in one.children
        ],
        "installedAt": when(one.installed_at),
        "removedAt": when(one.removed_at),
        "enabled": one.is_enabled,
    }
