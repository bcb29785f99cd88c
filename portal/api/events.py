"""Events: what was told, whether it arrived, telling it again."""

from __future__ import annotations

import json
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.orm import selectinload

from portal.api.access import audit, own, the_user
from portal.api.hooks import resource
from portal.api.shapes import Moment, PageQuery, Ref, Reply, optional
from portal.clock import now
from portal.events.kinds import meaning_of
from portal.events.models import Delivery, DeliveryAttempt, Event
from portal.events.rules import redeliver
from portal.web.paging import page

events = resource("events", __name__, tag="Events")


class AttemptFacts(Reply):
    """One attempt: what the endpoint answered, or why no answer came."""

    at: Moment
    status: int | None
    problem: str | None
    latency_ms: int


class DeliveryFacts(Reply):
    """The attempts to hand the event to one endpoint."""

    delivery_id: str
    url: str
    state: str
    next_attempt_at: Moment | None
    attempts: list[AttemptFacts]


class EventFacts(Reply):
    """One event; `body` is what was sent."""

    event_id: str
    name: str
    description: str
    created_at: Moment
    installation_id: str | None
    body: dict[str, Any]
    deliveries: list[DeliveryFacts]


class EventList(Reply):
    """A page of events, newest first."""

    data: list[EventFacts]
    next_cursor: str | None = optional("Where the next page begins.")


class EventListQuery(PageQuery):
    """Whose; by default everybody's."""

    user_id: Ref | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Redelivery(Reply):
    """The new delivery, or the first of them; `deliveryIds` are all, one for each endpoint that takes the kind."""

    event_id: str
    delivery_id: str
    url: str
    delivery_ids: list[str]


@events.get("/events")
@events.input(EventListQuery, location="query")
@events.output(EventList)
@events.doc(summary="List events", responses={404: "No such user or page."})
def index(query_data: EventListQuery) -> EventList:
    with own() as session:
        statement = sa.select(Event).options(selectinload(Event.deliveries).selectinload(Delivery.attempts))
        if query_data.user_id:
            user = the_user(session, query_data.user_id)
            statement = statement.where(Event.user_id == user.id)
        rows, after = page(
            session,
            statement,
            by=Event.created_at,
            then=Event.id,
            limit=query_data.limit,
            cursor=query_data.cursor,
            is_newest_first=True,
        )
        return EventList(data=[_tell(event) for event in rows], next_cursor=after)


def _tell(event: Event) -> EventFacts:
    return EventFacts(
        event_id=event.id,
        name=event.type,
        description=meaning_of(event.type),
        created_at=event.created_at,
        installation_id=event.installation_id,
        body=json.loads(event.payload),
        deliveries=[
            DeliveryFacts(
                delivery_id=delivery.id,
                url=delivery.url,
                state=str(delivery.state),
                next_attempt_at=delivery.next_attempt_at,
                attempts=[_tell_attempt(attempt) for attempt in delivery.attempts],
            )
            for delivery in event.deliveries
        ],
    )


def _tell_attempt(attempt: DeliveryAttempt) -> AttemptFacts:
    return AttemptFacts(at=attempt.at, status=attempt.status, problem=attempt.problem, latency_ms=attempt.latency_ms)


@events.post("/events/<event>/redeliver")
@events.output(Redelivery)
@events.doc(summary="Deliver an event again", responses={409: "No endpoint takes it."})
def deliver_again(event: str) -> Redelivery:
    with own() as session:
        started = redeliver(session, event, now())
        audit(session, "event.redeliver", event)
        first = started[0]
        ids = [delivery.id for delivery in started]
        return Redelivery(event_id=event, delivery_id=first.id, url=first.url, delivery_ids=ids)
