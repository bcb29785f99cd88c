"""Which installations a list asks for. Each question is put in the words of an index that answers it (see `models`)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload, selectinload

from portal.credentials.models import InstallationCredential
from portal.installations.models import Installation
from portal.links.models import Link
from portal.users.models import User
from portal.workflows.models import ChildWorkflow

MOST_COUNTED = 1_000  # as far as is counted for a page


class InstallationState(enum.StrEnum):
    """Whether what is installed runs."""

    running = "running"
    stopped = "stopped"


def select_installations(
    *,
    is_enabled: bool | None = None,
    integration_id: str | None = None,
) -> sa.Select[Installation]:
    """What stands: running or stopped, of this integration; with all that belongs to it."""
    statement = (
        sa.select(Installation)
        .options(
            selectinload(Installation.children).joinedload(ChildWorkflow.workflow),
            selectinload(Installation.children).joinedload(ChildWorkflow.version),
            selectinload(Installation.credentials).joinedload(InstallationCredential.credential),
            joinedload(Installation.user),
            joinedload(Installation.integration),
        )
        .where(Installation.removed_at.is_(None))
    )
    if is_enabled is not None:
        statement = statement.where(Installation.is_enabled == is_enabled)
    if integration_id is not None:
        statement = statement.where(Installation.integration_id == integration_id)
    return statement


def who_has(
    session: Session, workflow_id: str, user_id: str | None = None
) -> Sequence[sa.Row[ChildWorkflow, Installation, User]]:
    """(copy, installation, user) of everybody who has installed the workflow, or of this user, the earliest first."""
    statement = (
        sa.select(ChildWorkflow, Installation, User)
        .join(Installation, ChildWorkflow.installation_id == Installation.id)
        .join(User, Installation.user_id == User.id)
        .where(ChildWorkflow.workflow_id == workflow_id, ChildWorkflow.removed_at.is_(None))
        .where(Installation.removed_at.is_(None))
        .options(joinedload(ChildWorkflow.version))
        .order_by(Installation.installed_at, User.id)
    )
    if user_id is not None:
        statement = statement.where(User.id == user_id)
    return session.execute(statement).all()


def has_installed_since(moment: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]) -> sa.Exists:
    """The condition that a link's user has its integration installed, since after this moment of the link."""
    return sa.exists().where(
        Installation.user_id == Link.user_id,
        Installation.integration_id == Link.integration_id,
        Installation.removed_at.is_(None),
        Installation.installed_at > moment,
    )


def count_installations(session: Session, integration_ids: Sequence[str]) -> dict[str, int]:
    """How many stand of each integration, `MOST_COUNTED` at the most."""
    return {
        one: _count(
            session,
            sa.select(Installation.id).where(Installation.integration_id == one, Installation.removed_at.is_(None)),
        )
        for one in integration_ids
    }


def count_copies(session: Session, version_ids: Sequence[str]) -> dict[str, int]:
    """How many copies run, or could, of each published version of a workflow, `MOST_COUNTED` at the most."""
    return {
        one: _count(
            session,
            sa.select(ChildWorkflow.id).where(ChildWorkflow.version_id == one, ChildWorkflow.removed_at.is_(None)),
        )
        for one in version_ids
    }


def _count(session: Session, statement: sa.Select[str]) -> int:
    some = statement.limit(MOST_COUNTED).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0
