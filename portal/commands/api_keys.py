"""`flask api-key`: make, list and revoke the keys of the vendor's backend."""

from __future__ import annotations

import click
import sqlalchemy as sa
from flask.cli import AppGroup

from portal.api_keys.models import ApiKey
from portal.api_keys.rules import create_api_key, find_api_key, revoke_api_key
from portal.clock import now
from portal.commands.output import as_json, audit, in_environment, plainly, print_json, print_rows, when
from portal.db import transaction
from portal.environments import Environment

api_key = AppGroup("api-key", help="API keys: secrets of the vendor's backend.")


@api_key.command("create")
@click.argument("name")
@in_environment
@as_json
@plainly
def create(name: str, environment: Environment, as_json: bool) -> None:
    """Make a key for one environment and print it. It is shown this once."""
    with transaction(environment) as session:
        row, key = create_api_key(session, name, environment=environment, now=now())
        audit(session, "api_key.create", row.name, environment, prefix=row.prefix)
    if as_json:
        print_json({"apiKey": key, "apiKeyId": row.id, "name": row.name, "environment": str(row.environment)})
    else:
        click.echo(key)


@api_key.command("list")
@as_json
@plainly
def list_keys(as_json: bool) -> None:
    """List the keys of both environments, newest first: beginning, name, when each was used last."""
    with transaction() as session:
        found = session.scalars(sa.select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id)).all()
    rows = [
        {
            "apiKeyId": one.id,
            "prefix": one.prefix,
            "name": one.name,
            "environment": str(one.environment),
            "createdAt": when(one.created_at),
            "lastUsedAt": when(one.last_used_at),
            "revokedAt": when(one.revoked_at),
        }
        for one in found
    ]
    print_rows(rows, as_json=as_json, empty="There are no API keys yet. Make one: `flask api-key create NAME`.")


@api_key.command("revoke")
@click.argument("name")
@plainly
def revoke(name: str) -> None:
    """End the key with this id or visible beginning, at once and for good."""
    with transaction() as session:
        key = find_api_key(session, name)
        revoke_api_key(session, key, now())
        audit(session, "api_key.revoke", key.name, key.environment, prefix=key.prefix)
    click.echo(f"The key {key.prefix}… ({key.name}) is revoked.")
