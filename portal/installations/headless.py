"""Installing from the vendor's own page: started with what the user has connected, completed with what was asked.

What is started is a link that nobody opens, so that the same rules hold: it ends after an hour, and makes at most one
installation, whatever is sent twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from portal.credentials.rules import UnknownCredential, credentials_of
from portal.installations.errors import NotConnected, SeveralCredentials, UnknownInstallation
from portal.installations.models import Installation
from portal.installations.rules import finish_installation, versions_to_install
from portal.integrations.models import Integration
from portal.links.manner import Manner
from portal.links.models import Link, LinkOrigin
from portal.links.rules import create_link, require_usable
from portal.users.models import User
from portal.workflows.rules import Published

LIFE = timedelta(hours=1)


def start_installation(
    session: Session,
    keys: Sequence[str],
    *,
    user: User,
    integration: Integration,
    credential_ids: Sequence[str],
    workflow_ids: Sequence[str],
    now: datetime,
) -> tuple[Link, list[Published]]:
    """Choose a credential for each app and say what will be installed.

    Raises `UnknownCredential`, `NotConnected`, `SeveralCredentials`, and what `create_link` raises.
    """
    chosen = _choose(session, user, integration.apps, credential_ids)
    link, _ = create_link(
        session,
        keys,
        user=user,
        integration=integration,
        now=now,
        life=LIFE,
        workflow_ids=workflow_ids,
        origin=LinkOrigin.headless,
        manner=Manner(credential_ids=tuple(chosen)),
    )
    return link, versions_to_install(session, link, None)


def _choose(session: Session, user: User, apps: Sequence[str], credential_ids: Sequence[str]) -> list[str]:
    at_hand = credentials_of(session, user.id)
    strangers = set(credential_ids) - {credential.id for credential in at_hand}
    if strangers:
        raise UnknownCredential(sorted(strangers)[0])
    chosen, missing = [], []
    for app in apps:
        fitting = [c for c in at_hand if c.app == app and (not credential_ids or c.id in credential_ids)]
        if not fitting:
            missing.append(app)
        elif len(fitting) > 1:
            raise SeveralCredentials(app)
        else:
            chosen.append(fitting[0].id)
    if missing:
        raise NotConnected(missing)
    return chosen


def complete_installation(
    session: Session, started_id: str, settings: Mapping[str, Mapping[str, Any]], *, now: datetime
) -> Installation:
    """Install what was started, with values for the workflows' fields by workflow id.

    Raises `UnknownInstallation`, and what `finish_installation` raises (also when it was completed before).
    """
    link = session.get(Link, started_id)
    if link is None or link.origin is not LinkOrigin.headless:
        raise UnknownInstallation(started_id)
    require_usable(link, now)
    return finish_installation(
        session,
        link,
        link.how.credential_ids,
        press="headless",
        now=now,
        settings=settings,
    )
