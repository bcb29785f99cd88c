"""Events: what was told and whether it arrived, each attempt with what was sent and answered, telling it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from htmx_flask import request as htmx
from sqlalchemy.orm import Session, joinedload, selectinload, undefer

from portal.clock import now
from portal.dashboard.access import audit, dashboard, needs, own
from portal.dashboard.fragments import render_fragment
from portal.dashboard.lists import Listing, listing
from portal.events.endpoints import all_endpoints, find_endpoint
from portal.events.errors import BadSince, UnknownEvent
from portal.events.kinds import KINDS, TEST, meaning_of
from portal.events.models import Delivery, DeliveryAttempt, DeliveryState, Endpoint, Event
from portal.events.redelivering import parse_since, start_redelivery
from portal.events.rules import redeliver, redeliver_one
from portal.http.addresses import without_secrets
from portal.operators.models import Role
from portal.users.rules import usernames_of

SOON = timedelta(seconds=30)  # an attempt that is due by then is worth waiting for


@dataclass(frozen=True)
class Row:
    """A line of the list: an event, and the deliveries that the list is about."""

    event: Event
    deliveries: Sequence[Delivery]


@dashboard.get("/events")
@needs(Role.viewer)
def events(problem: BadSince | None = None) -> str:
    """What was told, by kind, by how its deliveries stand, and by endpoint.

    With a `problem` when what failed was to be told again since a moment that is none.
    """
    with own() as session:
        is_about_deliveries = request.args.get("state") or request.args.get("endpoint")
        found, rows = _by_delivery(session) if is_about_deliveries else _by_event(session)
        return render_template(
            "dashboard/events.html",
            found=found,
            rows=rows,
            usernames=usernames_of(session, [one.event.user_id for one in rows if one.event.user_id]),
            kinds=[*KINDS, TEST],
            states=list(DeliveryState),
            endpoints=all_endpoints(session),
            since=request.form.get("since", f"{now() - timedelta(days=1):%Y-%m-%dT%H:%M}"),
            wanted=request.form.get("endpoint"),
            problem=problem,
        )


FILTERS = ("kind", "state", "endpoint")


def _by_event(session: Session) -> tuple[Listing[Event], list[Row]]:
    statement = sa.select(Event).options(
        selectinload(Event.deliveries).selectinload(Delivery.attempts),
        selectinload(Event.deliveries).joinedload(Delivery.endpoint),
    )
    if kind := request.args.get("kind", ""):
        statement = statement.where(Event.type == kind)
    found = listing(session, statement, by=Event.created_at, then=Event.id, filters=FILTERS)
    return found, [Row(event, event.standing) for event in found.rows]


def _by_delivery(session: Session) -> tuple[Listing[Delivery], list[Row]]:
    # The deliveries themselves, newest first: an index has them in that order, while events would have to be searched.
    statement = sa.select(Delivery).options(
        joinedload(Delivery.event), joinedload(Delivery.endpoint), selectinload(Delivery.attempts)
    )
    if kind := request.args.get("kind", ""):
        statement = statement.where(Delivery.type == kind)
    if state := request.args.get("state", ""):
        known = state in list(DeliveryState)
        statement = statement.where(Delivery.state == DeliveryState(state) if known else sa.false())
    if endpoint := request.args.get("endpoint", ""):
        known = session.get(Endpoint, endpoint) is not None  # of this environment: the index holds both
        statement = statement.where(Delivery.endpoint_id == endpoint if known else sa.false())
    found = listing(session, statement, by=Delivery.created_at, then=Delivery.id, filters=FILTERS)
    return found, [Row(delivery.event, [delivery]) for delivery in found.rows]


@dashboard.get("/events/<event>")
@needs(Role.viewer)
def event(event: str) -> ResponseReturnValue:
    """One event: what was sent, and each attempt with its answer. Looks again by itself while one is under way."""
    whole = selectinload(Event.deliveries)
    with own() as session:
        one = session.scalar(
            sa.select(Event)
            .where(Event.id == event)
            .options(
                whole.selectinload(Delivery.attempts).options(undefer(DeliveryAttempt.headers)),
                whole.options(joinedload(Delivery.endpoint)),
            )
        )
        if one is None:
            raise UnknownEvent(event)
        facts = {
            "one": one,
            "meaning": meaning_of(one.type),
            "usernames": usernames_of(session, [one.user_id] if one.user_id else []),
            "is_test": one.type == TEST,
            "body": json.dumps(json.loads(one.payload), ensure_ascii=False, indent=2),
            "is_waiting": any(_is_under_way(delivery) for delivery in one.deliveries),
        }
        if htmx.htmx:
            return render_fragment("dashboard/event.html", "deliveries", **facts)
        return render_template("dashboard/event.html", **facts)


def _is_under_way(delivery: Delivery) -> bool:
    due = delivery.next_attempt_at
    return delivery.state is DeliveryState.pending and due is not None and due < now() + SOON


@dashboard.post("/events/<event>/redeliver")
@needs(Role.member)
def deliver_again(event: str) -> ResponseReturnValue:
    """Tell it again, to whoever takes its kind now."""
    with own() as session:
        redeliver(session, event, now())
        audit(session, "event.redeliver", event)
    return redirect(url_for("dashboard.event", event=event), 303)


@dashboard.post("/deliveries/<delivery>/redeliver")
@needs(Role.member)
def deliver_one_again(delivery: str) -> ResponseReturnValue:
    """Tell it again to one endpoint."""
    with own() as session:
        fresh = redeliver_one(session, delivery, now())
        audit(session, "event.redeliver", fresh.event_id, endpoint=without_secrets(fresh.url))
    return redirect(url_for("dashboard.event", event=fresh.event_id), 303)


@dashboard.post("/events")
@needs(Role.member)
def deliver_failed_again() -> ResponseReturnValue:
    """Tell again, in the background, all that failed since a time."""
    try:
        since = parse_since(request.form.get("since", ""), now())
    except BadSince as problem:
        return events(problem), problem.status
    chosen = request.form.get("endpoint", "")
    with own() as session:
        endpoint = find_endpoint(session, chosen) if chosen else None
        where = endpoint.name if endpoint else "every endpoint"
        task = start_redelivery(
            session,
            since=since,
            endpoint_id=endpoint.id if endpoint else None,
            title=f"Failed deliveries since {since:%Y-%m-%d %H:%M} UTC, to {where}",
            asked_by=g.session.operator.email,
            now=now(),
        )
        audit(session, "event.redeliver_failed", where, since=since.isoformat())
    return redirect(url_for("dashboard.task", task=task.id), 303)
