"""`flask user`: make end users."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from portal.clock import now
from portal.commands.output import as_json, audit, in_environment, plainly, print_json
from portal.db import transaction
from portal.environments import Environment
from portal.users.rules import create_user

user = AppGroup("user", help="End users: the vendor's customers.")


@user.command("create")
@click.argument("username")
@click.option("--full-name", default=None, help="How the install page calls the user.")
@in_environment
@as_json
@plainly
def create(username: str, full_name: str | None, environment: Environment, as_json: bool) -> None:
    """Make a user and print its id."""
    with transaction(environment) as session:
        made = create_user(session, username, now=now(), full_name=full_name)
        audit(session, "user.create", made.username, environment)
    if as_json:
        print_json({"userId": made.id, "username": made.username, "fullName": made.full_name})
    else:
        click.echo(made.id)
