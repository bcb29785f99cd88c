"""`flask event` and `flask webhook`: what was told, whether it arrived, telling it again, and listening to it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.orm import selectinload

from portal.clock import now
from portal.commands.output import as_json, audit, in_environment, plainly, print_json, print_rows, refuse, when
from portal.db import transaction
from portal.environments import Environment
from portal.events.listener import listen as serve_listener
from portal.events.models import Delivery, DeliveryState, Event
from portal.events.redelivering import BATCH, Failures, parse_since, redeliver_some
from portal.events.rules import redeliver as start_redelivery
from portal.ids import new_id
from portal.settings import Settings

event = AppGroup("event", help="Events: what was told, and whether it arrived.")
webhook = AppGroup("webhook", help="Webhooks: an endpoint to try with.")


@event.command("list")
@in_environment
@as_json
@plainly
def list_events(environment: Environment, as_json: bool) -> None:
    """List events, newest first, with how they stand with each endpoint."""
    with transaction(environment) as session:
        found = session.scalars(
            sa.select(Event)
            .options(
                selectinload(Event.deliveries).selectinload(Delivery.attempts),
                selectinload(Event.deliveries).joinedload(Delivery.endpoint),
            )
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
    standing = [_delivery_facts(delivery) for delivery in one.standing]
    # The facts of the event as a whole are those of the delivery that has come the least far.
    order = [DeliveryState.given_up, DeliveryState.pending, DeliveryState.delivered]
    first = min(standing, key=lambda facts: order.index(DeliveryState(facts["state"])), default=_NOWHERE)
    return {
        "eventId": one.id,
        "type": one.type,
        "createdAt": when(one.created_at),
        "installationId": one.installation_id,
        "userId": one.user_id,
        "payload": one.payload,
        **first,
        "deliveries": standing,
    }


_NOWHERE = {
    "deliveryId": None,
    "endpoint": None,
    "url": None,
    "state": "no endpoint",
    "attempts": 0,
    "lastStatus": None,
    "lastProblem": None,
    "lastLatencyMs": None,
    "lastAnswer": None,
    "nextAttemptAt": None,
    "endedAt": None,
}


def _delivery_facts(delivery: Delivery) -> dict[str, Any]:
    last = delivery.attempts[-1] if delivery.attempts else None
    return {
        "deliveryId": delivery.id,
        "endpoint": delivery.endpoint.name if delivery.endpoint else None,
        "url": delivery.url,
        "state": str(delivery.state),
        "attempts": len(delivery.attempts),
        "lastStatus": last.status if last else None,
        "lastProblem": last.problem if last else None,
        "lastLatencyMs": last.latency_ms if last else None,
        "lastAnswer": last.answer if last else None,
        "nextAttemptAt": when(delivery.next_attempt_at),
        "endedAt": when(delivery.ended_at),
    }


@event.command("redeliver")
@click.argument("event_id", required=False)
@click.option("--failed-since", default="", help="All that failed since: 90m, 12h, 5d, or a date and time (UTC).")
@in_environment
@as_json
@plainly
def redeliver(event_id: str | None, failed_since: str, environment: Environment, as_json: bool) -> None:
    """Deliver an event again, with the same id and payload, to each endpoint that takes its kind now.

    With --failed-since: every delivery of the environment that failed since then.
    """
    if bool(event_id) == bool(failed_since):
        refuse("Name one event, or say --failed-since.")
    if failed_since:
        count = _redeliver_failed(parse_since(failed_since, now()), environment)
        facts: dict[str, Any] = {"redelivered": count}
        said = f"Deliveries on their way again: {count}."
    else:
        with transaction() as session:
            started = start_redelivery(session, event_id or "", now())
            audit(session, "event.redeliver", event_id or "", started[0].event.environment)
            urls = [delivery.url for delivery in started]
            facts = {"eventId": event_id, "deliveryId": started[0].id, "url": urls[0], "urls": urls}
            said = f"The event {event_id} is on its way to {', '.join(urls)}."
    if as_json:
        print_json(facts)
    else:
        click.echo(said)


def _redeliver_failed(since: datetime, environment: Environment) -> int:
    failures, why = Failures(since, now()), new_id()
    place, count = None, 0
    while True:
        with transaction(environment) as session:
            found, started = redeliver_some(session, failures, place, now(), why=why)
        count += started
        if len(found) < BATCH:
            return count
        place = (found[-1].created_at, found[-1].id)


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
