"""How a finished link becomes an installation: one transaction, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.credentials.models import Credential
from portal.credentials.rules import activate, drop_drafts
from portal.events.rules import announce
from portal.ids import new_id
from portal.installations.errors import CredentialsMissing
from portal.installations.models import Installation, InstallationCredential
from portal.links.models import Link
from portal.links.rules import spend
from portal.workflows.models import ChildWorkflow
from portal.workflows.rules import install_children, newest_versions, stop_children

INSTALLATION_FINISHED = "installation.finished"


def finish_installation(
    session: Session,
    link: Link,
    credential_ids: Sequence[str],
    *,
    press: str,
    webhook_url: str,
    now: datetime,
) -> Installation:
    """Spend `link` and turn tested credentials into a running installation, all or nothing.

    `press` names the press of the button. Raises what `spend` raises when another request got here first or the
    link ended, and `CredentialsMissing` when an app of the integration has none. An earlier installation of the
    same integration by the same user is replaced, so that nothing runs twice.
    """
    spend(session, link, press=press, now=now)
    chosen = _require_all_apps(session, link, credential_ids)
    _replace_earlier(session, link, now)
    installation = Installation(
        id=new_id(),
        environment=link.environment,
        user_id=link.user_id,
        integration_id=link.integration_id,
        link_id=link.id,
        installed_at=now,
    )
    session.add(installation)
    activate(session, [credential.id for credential in chosen.values() if credential.is_draft], now)
    for app, credential in chosen.items():
        session.add(InstallationCredential(installation_id=installation.id, app=app, credential_id=credential.id))
    drop_drafts(session, link.id)
    parents = newest_versions(session, link.integration_id, link.workflow_ids)
    install_children(session, installation.id, parents, now)
    session.flush()
    announce(
        session,
        INSTALLATION_FINISHED,
        {
            "userId": link.user_id,
            "workflowIds": [parent.id for parent, _ in parents],
            "integrationId": link.integration_id,
            "credentials": {app: credential.id for app, credential in chosen.items()},
            "success": True,
        },
        environment=link.environment,
        installation_id=installation.id,
        url=webhook_url,
        now=now,
    )
    return installation


def _require_all_apps(session: Session, link: Link, credential_ids: Sequence[str]) -> dict[str, Credential]:
    # Looked up anew inside the transaction: only this user's own, and only this link's drafts.
    found = {
        credential.app: credential
        for credential in session.scalars(
            sa.select(Credential).where(
                Credential.id.in_(credential_ids),
                Credential.user_id == link.user_id,
                sa.or_(Credential.link_id.is_(None), Credential.link_id == link.id),
            )
        )
    }
    missing = [app for app in link.integration.apps if app not in found]
    if missing:
        raise CredentialsMissing(missing)
    return {app: found[app] for app in link.integration.apps}


def _replace_earlier(session: Session, link: Link, now: datetime) -> None:
    earlier = session.scalars(
        sa.select(Installation.id).where(
            Installation.user_id == link.user_id,
            Installation.integration_id == link.integration_id,
            Installation.removed_at.is_(None),
        )
    ).all()
    if earlier:
        stop_children(session, earlier)
        session.execute(
            sa.update(Installation)
            .where(Installation.id.in_(earlier))
            .values(removed_at=now, is_enabled=False)
            .execution_options(synchronize_session=False)
        )


def active_children(session: Session, installation_id: str) -> list[ChildWorkflow]:
    """The running children of an installation, in the order of their parents."""
    children = session.scalars(
        sa.select(ChildWorkflow).where(
            ChildWorkflow.installation_id == installation_id, ChildWorkflow.is_active.is_(True)
        )
    )
    return sorted(children, key=lambda child: child.workflow.position)
