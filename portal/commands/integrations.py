"""`flask integration`: apply integration files and list what is there."""

from __future__ import annotations

from pathlib import Path

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.orm import selectinload

from portal.clock import now
from portal.commands.output import as_json, audit, plainly, print_json, print_rows
from portal.db import transaction
from portal.integrations.declaration import read_declaration
from portal.integrations.models import Integration
from portal.integrations.rules import Applied, apply_declaration

integration = AppGroup("integration", help="Integrations: what a link installs.")


@integration.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
@as_json
@plainly
def apply(file: Path, as_json: bool) -> None:
    """Make the stored integration equal to FILE. Applying the same file again changes nothing."""
    declaration = read_declaration(file, current_app.extensions["catalogue"])
    with transaction() as session:
        applied, outcome = apply_declaration(session, declaration, now())
        if outcome is not Applied.unchanged:
            audit(session, "integration.apply", applied.name, None, version=applied.version)
    if as_json:
        facts = {"integrationId": applied.id, "name": applied.name, "version": applied.version}
        print_json({**facts, "outcome": str(outcome)})
    else:
        click.echo(f"{applied.id}  {applied.name}: {outcome} (version {applied.version})")


@integration.command("list")
@as_json
@plainly
def list_integrations(as_json: bool) -> None:
    """List integrations."""
    with transaction() as session:
        found = session.scalars(
            sa.select(Integration).options(selectinload(Integration.workflows)).order_by(Integration.name)
        ).all()
    rows = [
        {
            "integrationId": one.id,
            "name": one.name,
            "version": one.version,
            "apps": one.apps if as_json else ", ".join(one.apps),
            "workflows": [{"workflowId": w.id, "name": w.name, "version": w.version} for w in one.workflows]
            if as_json
            else len(one.workflows),
        }
        for one in found
    ]
    print_rows(
        rows,
        as_json=as_json,
        empty="There are no integrations yet. Apply a file: `flask integration apply FILE`.",
    )
