"""The tables of links and of the tries that failed on them. The row decides what a link may still do."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base, InEnvironment, partial_index
from portal.ids import new_id
from portal.integrations.models import Integration
from portal.links.manner import Manner
from portal.users.models import User


class LinkState(enum.StrEnum):
    """How far a link has come, or how it ended."""

    created = "created"
    opened = "opened"
    verified = "verified"
    finished = "finished"
    revoked = "revoked"
    expired = "expired"


class LinkOrigin(enum.StrEnum):
    """What a link was made for."""

    link = "link"  # to be handed to the customer
    modal = "modal"  # for one opening of the modal on the vendor's page
    connection = "connection"  # to connect one app, without installing anything
    headless = "headless"  # for an installation that the vendor's own page asks for


# In the words of SQL, for indexes over the links of one state alone. The moments of a state that time decides
# (whether a link is over) are no part of it: such an index is in the order of when its links end.
_GOES_ON = "finished_at IS NULL AND revoked_at IS NULL"
_STATES: dict[LinkState, tuple[str, str]] = {
    LinkState.created: (f"{_GOES_ON} AND verified_at IS NULL AND opened_at IS NULL", "expires_at"),
    LinkState.opened: (f"{_GOES_ON} AND verified_at IS NULL AND opened_at IS NOT NULL", "expires_at"),
    LinkState.verified: (f"{_GOES_ON} AND verified_at IS NOT NULL", "expires_at"),
    LinkState.finished: ("finished_at IS NOT NULL", "created_at"),
    LinkState.revoked: ("finished_at IS NULL AND revoked_at IS NOT NULL", "created_at"),
    LinkState.expired: ("coalesce(finished_at, revoked_at) IS NULL", "expires_at"),  # also those that go on
}


# The moment in whose order the links of a state are kept.
STATE_ORDER = {state: moment for state, (_, moment) in _STATES.items()}


def _indexes() -> list[sa.Index]:
    """One for each order that a list of links can have, with and without an integration."""
    whole, parts = ("environment", "origin"), ("environment", "origin", "integration_id")
    made = [
        sa.Index("ix_links_made", *whole, "created_at", "id"),
        sa.Index("ix_links_until", *whole, "expires_at", "id"),
        sa.Index("ix_links_made_for_user", "user_id", "origin", "created_at", "id"),
    ]
    made += [
        sa.Index("ix_links_made_of_integration", *parts, "created_at", "id"),
        sa.Index("ix_links_until_of_integration", *parts, "expires_at", "id"),
    ]
    asked = "requested_at IS NOT NULL"  # a new link; of whatever origin the old one is
    made += [
        partial_index("ix_links_requested", asked, "environment", "requested_at", "id"),
        partial_index(
            "ix_links_requested_of_integration", asked, "environment", "integration_id", "requested_at", "id"
        ),
    ]
    for state, (condition, moment) in _STATES.items():
        # What the condition names stands in the index that is counted with, so that SQLite needs no row to count it.
        counted = ("finished_at", "revoked_at") if state is LinkState.expired else ()
        made.append(partial_index(f"ix_links_{state}", condition, *whole, moment, "id", *counted))
        made.append(partial_index(f"ix_links_{state}_of_integration", condition, *parts, moment, "id"))
    return made


class Link(InEnvironment, Base):
    """What was promised with a link, and when each step of its funnel was reached. The token itself isn't kept.

    `prefilled` holds values that were given with the link, by app or by workflow id; `manner` what the vendor's page
    said about how it is to be shown and done (`links.manner`). A link to connect one `app` has no integration.
    """

    __tablename__ = "links"
    __table_args__ = tuple(_indexes())

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    user_id: Mapped[str] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    integration_id: Mapped[str | None] = mapped_column(sa.ForeignKey("integrations.id"))
    origin: Mapped[LinkOrigin] = mapped_column(default=LinkOrigin.link)
    app: Mapped[str | None] = mapped_column(sa.String(64))
    locale: Mapped[str | None] = mapped_column(sa.String(35))
    prefilled: Mapped[dict[str, dict[str, str]] | None] = mapped_column(sa.JSON(none_as_null=True))
    manner: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    always_show_credentials: Mapped[bool] = mapped_column(default=True)
    redirect_url: Mapped[str | None] = mapped_column(sa.String(2000))
    workflow_ids: Mapped[list[str] | None] = mapped_column(sa.JSON)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    passed_on_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    requested_at: Mapped[datetime | None]  # when its user last asked for a new one
    finished_by: Mapped[str | None] = mapped_column(sa.String(64))  # which press of the button finished it
    replaced_by: Mapped[str | None] = mapped_column(sa.String(24))  # the link that took its place; it may be forgotten

    # When its user last did something, and when to warn of its end; each empty once it was told or doesn't matter any
    # more, so that looking for what is due costs the same however many links there are.
    quiet_since: Mapped[datetime | None] = mapped_column(index=True)
    warn_at: Mapped[datetime | None] = mapped_column(index=True)

    user: Mapped[User] = relationship()
    integration: Mapped[Integration | None] = relationship()

    @property
    def how(self) -> Manner:
        """How the vendor's page wants it shown and done."""
        return Manner.model_validate(self.manner or {})

    @property
    def apps(self) -> list[str]:
        """The apps that it asks credentials for, in their order."""
        if self.app is not None or self.integration is None:
            return [self.app] if self.app else []
        return self.integration.apps

    @property
    def name(self) -> str:
        """What it connects, in the vendor's words."""
        return self.integration.name if self.integration else self.app or ""

    @property
    def steps(self) -> list[tuple[str, datetime]]:
        """What happened to it, from its making on, each with its moment."""
        moments = (
            ("made", self.created_at),
            ("opened", self.opened_at),
            ("handed_on", self.passed_on_at),
            ("connected", self.verified_at),
            ("revoked", self.revoked_at),
            ("finished", self.finished_at),
        )
        reached = [(step, moment) for step, moment in moments if moment is not None]
        return sorted(reached, key=lambda one: one[1])  # steps of the same moment stay in this order

    def state(self, at: datetime) -> LinkState:
        """The link's state at the moment `at`: how it ended, else the furthest step reached."""
        if self.finished_at:
            return LinkState.finished
        if self.revoked_at:
            return LinkState.revoked
        if self.expires_at <= at:
            return LinkState.expired
        if self.verified_at:
            return LinkState.verified
        return LinkState.opened if self.opened_at else LinkState.created


class FailedTry(Base):
    """One try to connect an app that its provider (or the way to it) refused, in words, never with a secret."""

    __tablename__ = "failed_tries"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    link_id: Mapped[str] = mapped_column(sa.ForeignKey("links.id", ondelete="CASCADE"))
    app: Mapped[str] = mapped_column(sa.String(64))
    field: Mapped[str | None] = mapped_column(sa.String(64))
    reason: Mapped[str] = mapped_column(sa.String(32))
    message: Mapped[str] = mapped_column(sa.String(500))
    at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (sa.Index("ix_failed_tries_link_id_at", "link_id", "at"),)
