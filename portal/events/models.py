"""The tables of events, their deliveries and each attempt."""

from __future__ import annotations

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base, InEnvironment
from portal.ids import new_id


class DeliveryState(enum.StrEnum):
    """Where a delivery stands."""

    pending = "pending"
    delivered = "delivered"
    given_up = "given_up"


class Event(InEnvironment, Base):
    """Something that happened. `payload` is the exact text of the body, sent byte for byte on every attempt."""

    __tablename__ = "events"
    __table_args__ = (sa.Index("ix_events_environment_created_at_id", "environment", "created_at", "id"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    type: Mapped[str] = mapped_column(sa.String(64))
    payload: Mapped[str] = mapped_column(sa.Text)
    installation_id: Mapped[str | None] = mapped_column(
        sa.ForeignKey("installations.id", ondelete="SET NULL"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)

    deliveries: Mapped[list[Delivery]] = relationship(back_populates="event", order_by="Delivery.created_at")


class Delivery(Base):
    """The attempts to hand one event to one endpoint."""

    __tablename__ = "deliveries"
    __table_args__ = (sa.Index("ix_deliveries_state_created_at_id", "state", "created_at", "id"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    event_id: Mapped[str] = mapped_column(sa.ForeignKey("events.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(sa.String(2000))
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.pending)
    created_at: Mapped[datetime] = mapped_column(default=now)
    next_attempt_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    event: Mapped[Event] = relationship(back_populates="deliveries")
    attempts: Mapped[list[DeliveryAttempt]] = relationship(order_by="DeliveryAttempt.number")


class DeliveryAttempt(Base):
    """One attempt: what the endpoint answered, or why no answer came."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (sa.UniqueConstraint("delivery_id", "number"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    delivery_id: Mapped[str] = mapped_column(sa.ForeignKey("deliveries.id", ondelete="CASCADE"))
    number: Mapped[int]
    at: Mapped[datetime] = mapped_column(default=now)
    status: Mapped[int | None]
    problem: Mapped[str | None] = mapped_column(sa.String(64))
    latency_ms: Mapped[int]
    answer: Mapped[str | None] = mapped_column(sa.Text)  # its first 1 kB
