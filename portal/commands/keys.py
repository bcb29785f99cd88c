"""`flask keys`: make and rotate the portal's own keys."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup

from portal.commands.output import as_json, audit, plainly, print_json, refuse
from portal.credentials.rules import reseal_all
from portal.db import transaction
from portal.idempotency.rules import reseal_answers
from portal.keys.ring import KeyRing
from portal.runs.stopping import reseal_runs
from portal.settings import MissingSetting
from portal.triggers.rules import reseal_hooks

keys = AppGroup("keys", help="The keys that seal credentials, sign links and sign webhooks.")


@keys.command("create")
def create() -> None:
    """Make the keys that are missing, in the data folder with mode 0600."""
    ring: KeyRing = current_app.extensions["keys"]
    ring.create_missing()
    click.echo("Every key is there.")


@keys.command("rotate")
@click.option("--webhooks", is_flag=True, help="Also announce a new RSA key and make a new webhook secret.")
@as_json
@plainly
def rotate(webhooks: bool, as_json: bool) -> None:
    """Seal every credential with a new key, and sign new links with one. Links that are out still work."""
    ring: KeyRing = current_app.extensions["keys"]
    try:
        if webhooks:
            ring.require_no_change()
        # What the last rotation left behind is sealed with its newest key first; then the older ones can go.
        _reseal(ring)
        ring.drop_old_seal_keys()
        ring.add_keys()
        count = _reseal(ring)
        with transaction() as session:
            audit(session, "keys.rotate", "credentials and links", None, resealed=count, webhooks=webhooks)
        if webhooks:
            ring.rotate_webhook_keys()
    except MissingSetting as missing:
        refuse(str(missing))
    if as_json:
        print_json({"resealed": count, "webhooks": webhooks})
    else:
        click.echo(f"{count} credentials are sealed with a new key; new links are signed with a new key.")
        if webhooks:
            click.echo(
                "A new webhook key is announced at /security/public_keys.pem, and a new webhook secret signs beside "
                "the old one. Once every endpoint knows both, run `flask keys switch`."
            )


@keys.command("switch")
@as_json
@plainly
def switch(as_json: bool) -> None:
    """End a change of the webhook keys: the announced ones sign from now on, the old ones are forgotten."""
    ring: KeyRing = current_app.extensions["keys"]
    try:
        ring.switch_webhook_keys()
    except MissingSetting as missing:
        refuse(str(missing))
    if as_json:
        print_json({"switched": True})
    else:
        click.echo("Webhooks are signed with the new keys alone.")


def _reseal(ring: KeyRing) -> int:
    """Seal everything that is sealed with the newest key; how many credentials that were."""
    with transaction() as session:
        count = reseal_all(session, ring)
        reseal_answers(session, ring)
        reseal_runs(session, ring)
        reseal_hooks(session)
    return count
