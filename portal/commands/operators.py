"""`flask operator`: who may sign in to the dashboard."""

from __future__ import annotations

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup

from portal.clock import now
from portal.commands.output import as_json, audit, plainly, print_json, print_rows, when
from portal.db import transaction
from portal.operators.models import Operator, Role
from portal.operators.rules import invite as make_invitation
from portal.operators.rules import remove_operator, sign_in_url

operator = AppGroup("operator", help="Operators: people who sign in to the dashboard.")


@operator.command("invite")
@click.argument("email")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=None,
    help="Gives this role, also to who has another. Without it, a newcomer is a member and others keep theirs.",
)
@as_json
@plainly
def invite(email: str, role: str | None, as_json: bool) -> None:
    """Print a sign-in link for EMAIL; it works once, within an hour."""
    with transaction() as session:
        made, token = make_invitation(session, email, Role(role) if role else None, now())
        audit(session, "operator.invite", made.email, None, role=str(made.role))
    url = sign_in_url(current_app.config["PORTAL_SETTINGS"].base_url, token)
    if as_json:
        print_json({"url": url, "email": made.email, "role": str(made.role)})
    else:
        click.echo(url)


@operator.command("list")
@as_json
@plainly
def list_operators(as_json: bool) -> None:
    """List operators and their roles."""
    with transaction() as session:
        rows = [
            {"email": one.email, "role": str(one.role), "createdAt": when(one.created_at)}
            for one in session.scalars(sa.select(Operator).order_by(Operator.email))
        ]
    print_rows(rows, as_json=as_json, empty="There are no operators yet. Invite one: `flask operator invite EMAIL`.")


@operator.command("remove")
@click.argument("email")
@plainly
def remove(email: str) -> None:
    """Take an operator's access away, and end every session."""
    with transaction() as session:
        remove_operator(session, email)
        audit(session, "operator.remove", email, None)
    if current_app.config["PORTAL_SETTINGS"].oidc_role:
        click.echo(
            f"{email} is signed out and has no role any more. Take them away at your provider as well: "
            "PORTAL_OIDC_ROLE lets in whom it sends."
        )
    else:
        click.echo(f"{email} can’t sign in any more.")
