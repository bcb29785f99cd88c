"""The tables of operators, their invitations and their sessions. No token is kept, only its hash."""

from __future__ import annotations

import enum
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.clock import now
from portal.db import Base
from portal.environments import Environment
from portal.ids import new_id


class Role(enum.StrEnum):
    """What an operator may do: everything; links, users and redelivering; reading."""

    admin = "admin"
    member = "member"
    viewer = "viewer"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what `other` may."""
        order = list(Role)
        return order.index(self) <= order.index(other)


class Operator(Base):
    """One person at the vendor, known by e-mail address."""

    __tablename__ = "operators"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(sa.String(255), unique=True)
    role: Mapped[Role]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Invitation(Base):
    """A one-time link that signs an operator in."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    operator_id: Mapped[str] = mapped_column(sa.ForeignKey("operators.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    operator: Mapped[Operator] = relationship()


class OperatorSession(Base):
    """One browser in which an operator is signed in. `proved_at` is when they last proved who they are."""

    __tablename__ = "operator_sessions"
    __table_args__ = (sa.Index("ix_operator_sessions_seen", "operator_id", "ended_at", "seen_at", "id"),)

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    operator_id: Mapped[str] = mapped_column(sa.ForeignKey("operators.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    csrf: Mapped[str] = mapped_column(sa.String(64))
    environment: Mapped[Environment]  # which one the dashboard shows
    browser: Mapped[str] = mapped_column(sa.String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)
    proved_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]

    operator: Mapped[Operator] = relationship()


class Passkey(Base):
    """A key that an operator's device keeps; the public half of it (WebAuthn)."""

    __tablename__ = "passkeys"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    operator_id: Mapped[str] = mapped_column(sa.ForeignKey("operators.id", ondelete="CASCADE"), index=True)
    credential_id: Mapped[bytes] = mapped_column(unique=True)
    public_key: Mapped[bytes]
    sign_count: Mapped[int]
    name: Mapped[str] = mapped_column(sa.String(120))
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime | None]

    operator: Mapped[Operator] = relationship()


class PasskeyChallenge(Base):
    """A random challenge that was given out and may be answered once."""

    __tablename__ = "passkey_challenges"

    id: Mapped[str] = mapped_column(sa.String(24), primary_key=True, default=new_id)
    challenge_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    expires_at: Mapped[datetime]
