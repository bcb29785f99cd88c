"""Installations that can't go on: a credential is missing, or its account is refused."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from portal.attention.bounds import LOOKED_AT, MOST
from portal.credentials.models import Credential, InstallationCredential
from portal.installations.models import Installation
from portal.integrations.models import Integration


@dataclass(frozen=True)
class RefusedAccount:
    """An account that its app no longer accepts, and an installation whose workflows are paused by that."""

    credential: Credential
    installation: Installation


def broken_installations(session: Session) -> list[Installation]:
    """Installations that lack the credential of an app. Whoever deletes one stops what runs with it.

    So they are looked for among what is stopped, the newest of it.
    """
    stopped = (
        sa.select(Installation.id)
        .where(Installation.removed_at.is_(None), Installation.is_enabled == sa.false())
        .order_by(Installation.installed_at.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    # Both databases keep the list of apps as the text of a JSON array.
    has = sa.select(sa.func.count()).where(
        InstallationCredential.installation_id == Installation.id,
        sa.cast(Integration.apps, sa.Text).contains('"' + InstallationCredential.app + '"'),
    )
    newest = Installation.installed_at.desc()
    found = (
        sa.select(Installation.id)
        .join(stopped, stopped.c.id == Installation.id)
        .join(Integration)
        .where(has.scalar_subquery() < sa.func.json_array_length(Integration.apps))
        .order_by(newest)
        .limit(MOST)
    )
    whole = (joinedload(Installation.user), joinedload(Installation.integration))
    return list(
        session.scalars(sa.select(Installation).where(Installation.id.in_(found)).options(*whole).order_by(newest))
    )


def refused_accounts(session: Session) -> list[RefusedAccount]:
    """The accounts that were refused last."""
    rows = session.execute(
        sa.select(Credential, Installation)
        .join(InstallationCredential, InstallationCredential.credential_id == Credential.id)
        .join(Installation, Installation.id == InstallationCredential.installation_id)
        .where(Credential.broken_at.is_not(None), Installation.removed_at.is_(None))
        .options(joinedload(Installation.user), joinedload(Installation.integration))
        .order_by(Credential.broken_at.desc())
        .limit(MOST)
    )
    return [RefusedAccount(credential, installation) for credential, installation in rows]
