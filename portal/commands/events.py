"""`flask event` and `flask webhook`: what was told, whether it arrived, telling it again, and listening to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.orm import selectinload

from portal.clock import now
from portal.commands.output import as_json, audit, in_environment, plainly, print_json, print_rows, when
from portal.db import transaction
from portal.environments import Environment
from portal.events.listener import listen as serve_listener
from portal.events.models import Delivery, Event
from portal.events.rules import redeliver as start_redelivery
from portal.settings import Settings

event = AppGroup("event", help="Events: what was told, and whether it arrived.")
webhook = AppGroup("webhook", help="Webhooks: an endpoint to try with.")


@event.command("list")
@in_environment
@as_json
@plainly
def list_events(environment: Environment, as_json: bool) -> None:
    """List events, newest first, with how their last delivery stands."""
    with transaction(environment) as session:
        found = session.scalars(
            sa.select(Event)
            .options(selectinload(Event.deliveries).selectinload(Delivery.attempts))
            .order_by(Event.created_at.desc(), Event.id)
        ).all()
    rows = [_facts(one) for one in found]
    if not as_json:
        keys = (
            "eventId",
            "type",
            "createdAt",
            "state",
            "attempts",
            "lastStatus",
            "lastProblem",
            "nextAttemptAt",
        )
        rows = [{key: row[key] for key in keys} for row in rows]
    print_rows(rows, as_json=as_json, empty="Nothing has happened yet: finish a link first.")


def _facts(one: Event) -> dict[str, Any]:
    delivery = one.deliveries[-1] if one.deliveries else None
    attempts = delivery.attempts if delivery else []
    last = attempts[-1] if attempts else None
    return {
        "eventId": one.id,
        "type": one.type,
        "createdAt": when(one.created_at),
        "installationId": one.installation_id,
        "payload": one.payload,
        "deliveryId": delivery.id if delivery else None,
        "url": delivery.url if delivery else None,
        "state": str(delivery.state) if delivery else "no endpoint",
        "attempts": len(attempts),
        "lastStatus": last.status if last else None,
        "lastProblem": last.problem if last else None,
        "lastLatencyMs": last.latency_ms if last else None,
        "lastAnswer": last.answer if last else None,
        "nextAttemptAt": when(delivery.next_attempt_at) if delivery else None,
        "endedAt": when(delivery.ended_at) if delivery else None,
    }


@event.command("redeliver")
@click.argument("event_id")
@as_json
@plainly
def redeliver(event_id: str, as_json: bool) -> None:
    """Deliver an event again, with the same id and payload, to the endpoint that is set now."""
    settings: Settings = current_app.config["PORTAL_SETTINGS"]
    with transaction() as session:
        delivery = start_redelivery(session, event_id, settings.installation_webhook_url, now())
        audit(session, "event.redeliver", event_id, delivery.event.environment)
        facts = {"eventId": event_id, "deliveryId": delivery.id, "url": delivery.url}
    if as_json:
        print_json(facts)
    else:
        click.echo(f"The event {event_id} is on its way to {delivery.url}.")


@webhook.command("listen")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=None, help="Default: the port of PORTAL_INSTALLATION_WEBHOOK_URL, else 8002.")
@click.option("--url", default="", help="The webhook URL as it is configured, when it isn't this host and port.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def listen(host: str, port: int | None, url: str, as_json: bool) -> None:
    """Print each delivery and whether its signatures hold, until stopped."""
    settings: Settings = current_app.config["PORTAL_SETTINGS"]
    configured = url or settings.installation_webhook_url
    chosen = port or urlsplit(configured).port or 8002
    if not as_json:
        click.echo(f"Listening on http://{host}:{chosen}")
    serve_listener(Path(settings.instance), chosen, host=host, url=configured, as_json=as_json)
