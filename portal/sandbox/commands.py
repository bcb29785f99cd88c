"""`flask sandbox`: the sandbox shop's token, and a new order."""

from __future__ import annotations

import json

import click
from flask import current_app
from flask.cli import AppGroup

from portal.sandbox.hooks import tell_webhooks
from portal.sandbox.store import add_order, read_token

sandbox = AppGroup("sandbox", help="The sandbox shop.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


@sandbox.command("token")
@as_json
def token(as_json: bool) -> None:
    """Print the shop's access token."""
    text = read_token(current_app.config["PORTAL_SETTINGS"].instance)
    click.echo(json.dumps({"token": text}) if as_json else text)


@sandbox.command("order")
@as_json
def order(as_json: bool) -> None:
    """Make one new order, and tell whoever registered a webhook for it."""
    instance = current_app.config["PORTAL_SETTINGS"].instance
    made = add_order(instance)
    tell_webhooks(instance, made)
    click.echo(
        json.dumps(made, ensure_ascii=False)
        if as_json
        else f"Order {made['increment_id']} over {made['grand_total']:.2f} {made['order_currency_code']}."
    )
