"""The tables of endpoints, of events, their deliveries and each attempt."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base, InEnvironment
from portal.environments import Environment
from portal.ids import new_id


class DeliveryState(enum.StrEnum):
    """Where a delivery stands."""

    pending = "pending"
    delivered = "delivered"
    given_up = "given_up"


def documented_id(environment: Environment) -> str:
    """The id of the documented endpoint, which every environment has once (a migration makes it)."""
    return f"documented-{environment}"


class Endpoint(InEnvironment, Base):
    """Where the vendor takes events, and of which kinds. Without a `url` it follows the setting: the documented one."""

    __tablename__ = "endpoints"
    __table_args__ = (
        sa.Index("ix_endpoints_environment_created_at_id", "environment", "created_at", "id"),
        sa.Index("ix_endpoints_environment_name_id", "environment", "name", "id"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(120))
    url: Mapped[str | None] = mapped_column(sa.String(2000))
    kinds: Mapped[list[str]] = mapped_column(default=list)
    is_enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)

    @property
    def is_documented(self) -> bool:
        """Whether it is the one that follows PORTAL_INSTALLATION_WEBHOOK_URL."""
        return self.url is None


class Event(InEnvironment, Base):
    """Something that happened. `payload` is the exact text of the body, sent byte for byte on every attempt.

    `user_id` is whom it is about. It is no foreign key, because events stay as they were told when a user is deleted;
    what is known of a user is found by it all the same (`follows`).
    """

    __tablename__ = "events"
    __table_args__ = (
        sa.Index("ix_events_environment_created_at_id", "environment", "created_at", "id"),
        sa.Index("ix_events_environment_type_created_at_id", "environment", "type", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    type: Mapped[str] = mapped_column(sa.String(64))
    payload: Mapped[str] = mapped_column(sa.Text)
    installation_id: Mapped[str | None] = mapped_column(
        sa.ForeignKey("installations.id", ondelete="SET NULL"), index=True
    )
    user_id: Mapped[str | None] = mapped_column(sa.String(24), index=True, info={"follows": "users"})
    created_at: Mapped[datetime] = mapped_column(default=now)

    deliveries: Mapped[list[Delivery]] = relationship(back_populates="event", order_by="Delivery.created_at")

    @property
    def standing(self) -> list[Delivery]:
        """How it stands with each endpoint: the newest delivery to each."""
        return list({one.endpoint_id or one.url: one for one in self.deliveries}.values())


def _delivery_indexes() -> list[sa.Index]:
    """One for each question of the list: those of a state or to an endpoint, or both, and of those one kind."""
    questions = (
        ("environment", "state"),
        ("environment", "state", "type"),
        ("endpoint_id",),
        ("endpoint_id", "type"),
        ("endpoint_id", "state"),
        ("endpoint_id", "state", "type"),
    )
    ordered = [(*question, "created_at", "id") for question in questions]
    return [sa.Index(f"ix_deliveries_{'_'.join(columns)}", *columns) for columns in ordered]


class Delivery(InEnvironment, Base):
    """The attempts to hand one event to one endpoint.

    `environment` and `type` are the event's, and like it never change: an index over both tables there is not.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        sa.Index("ix_deliveries_event_id_endpoint_id_created_at", "event_id", "endpoint_id", "created_at"),
        *_delivery_indexes(),
    )

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    event_id: Mapped[str] = mapped_column(sa.ForeignKey("events.id", ondelete="CASCADE"))
    endpoint_id: Mapped[str | None] = mapped_column(sa.ForeignKey("endpoints.id", ondelete="SET NULL"))
    type: Mapped[str] = mapped_column(sa.String(64))
    url: Mapped[str] = mapped_column(sa.String(2000))
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.pending)
    created_at: Mapped[datetime] = mapped_column(default=now)
    next_attempt_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    event: Mapped[Event] = relationship(back_populates="deliveries")
    endpoint: Mapped[Endpoint | None] = relationship()
    attempts: Mapped[list[DeliveryAttempt]] = relationship(order_by="DeliveryAttempt.number")


class DeliveryAttempt(Base):
    """One attempt: the headers that were sent, and what the endpoint answered, or why no answer came."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (sa.UniqueConstraint("delivery_id", "number"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    delivery_id: Mapped[str] = mapped_column(sa.ForeignKey("deliveries.id", ondelete="CASCADE"))
    number: Mapped[int]
    at: Mapped[datetime] = mapped_column(default=now)
    status: Mapped[int | None]
    problem: Mapped[str | None] = mapped_column(sa.String(64))
    latency_ms: Mapped[int]
    headers: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True), deferred=True)
    answer: Mapped[str | None] = mapped_column(sa.Text)  # its first 1 kB
