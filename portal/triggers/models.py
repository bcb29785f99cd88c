"""The tables of what is watched for children: polls and schedules with their next moment, addresses for webhooks."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base
from portal.workflows.models import ChildWorkflow


class Watch(Base):
    """When a child's poll or schedule is due next, and how far it has read.

    For polls, `start` is the value (as the app writes it) before which nothing counts, `since` the largest one seen,
    `walk_from` and `page` what to ask for next while a walk over several pages is under way. For schedules, `since` is
    the moment that is due. No `next_at`: not watched at present. `claimed_by` is the node that asks just now.
    """

    __tablename__ = "watches"

    child_id: Mapped[str] = mapped_column(sa.ForeignKey("child_workflows.id", ondelete="CASCADE"), primary_key=True)
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    begun_at: Mapped[datetime]
    start: Mapped[str | None] = mapped_column(sa.String(64))
    since: Mapped[str | None] = mapped_column(sa.String(64))
    walk_from: Mapped[str | None] = mapped_column(sa.String(64))
    page: Mapped[int] = mapped_column(default=1)
    claimed_by: Mapped[str | None] = mapped_column(sa.String(64), index=True)
    asked_at: Mapped[datetime | None]
    found_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(sa.String(500))

    child: Mapped[ChildWorkflow] = relationship()


class Hook(Base):
    """The address that an app sends a child's webhooks to. Its unguessable part and its secret are sealed.

    `asked_at` is when the app was asked last to register it, whatever came of that: it may know the address since.
    """

    __tablename__ = "hooks"

    child_id: Mapped[str] = mapped_column(sa.ForeignKey("child_workflows.id", ondelete="CASCADE"), primary_key=True)
    address_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    sealed: Mapped[bytes]
    hook_id: Mapped[str | None] = mapped_column(sa.String(255))  # the app's name for it, once registered
    asked_at: Mapped[datetime | None]
    registered_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(sa.String(500))

    child: Mapped[ChildWorkflow] = relationship()
