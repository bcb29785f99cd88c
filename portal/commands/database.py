"""`flask database`: bring the tables up to date."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from portal.background import migrate
from portal.db import engine
from portal.db.migrating import upgrade as upgrade_tables

database = AppGroup("database", help="The database's tables.")


@database.command("upgrade")
def upgrade() -> None:
    """Make or update the tables, ours and the background engine's."""
    upgrade_tables(engine())
    migrate(engine())
    click.echo("The database is up to date.")
