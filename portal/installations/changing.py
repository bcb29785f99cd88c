"""What happens to installations after they were made: started, stopped, upgraded, taken away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.credentials.models import Credential, InstallationCredential
from portal.events.kinds import INSTALLATION_REMOVED
from portal.events.rules import announce, forget_answers, moment
from portal.installations.errors import NotConnected, UnknownInstallation
from portal.installations.models import Installation
from portal.installations.rules import end_installation, standing_children
from portal.integrations.models import Integration
from portal.triggers.rules import remove_children, start_children, stop_children, upgrade_child
from portal.users.export import forget_exports
from portal.users.models import User
from portal.workflows.errors import NotInstalled
from portal.workflows.models import ChildWorkflow, Workflow


def find_installation(session: Session, installation_id: str) -> Installation:
    """The installation with this id, unless it was taken away. Raises `UnknownInstallation`."""
    found = session.get(Installation, installation_id)
    if found is None or found.removed_at is not None:
        raise UnknownInstallation(installation_id)
    return found


def children_of(session: Session, user_ids: Sequence[str]) -> list[ChildWorkflow]:
    """The children that these users have installed."""
    return list(
        session.scalars(
            sa.select(ChildWorkflow)
            .join(Installation, ChildWorkflow.installation_id == Installation.id)
            .where(
                Installation.user_id.in_(user_ids),
                Installation.removed_at.is_(None),
                ChildWorkflow.removed_at.is_(None),
            )
        )
    )


def find_child(session: Session, user: User, workflow: Workflow) -> ChildWorkflow:
    """The user's copy of a workflow. Raises `NotInstalled`."""
    found = next((c for c in children_of(session, [user.id]) if c.workflow_id == workflow.id), None)
    if found is None:
        raise NotInstalled(workflow.name, user.username)
    return found


def activate_workflow(session: Session, child: ChildWorkflow, now: datetime) -> None:
    """Let a child run. Raises `NotConnected` when a credential that it needs is gone."""
    installation = session.get_one(Installation, child.installation_id)
    _require_credentials(session, installation)
    installation.is_enabled = True
    start_children(session, [child], now)


def deactivate_workflow(session: Session, child: ChildWorkflow, now: datetime) -> list[str]:
    """Stop a child until it is activated again; the ids of the runs that were under way."""
    return stop_children(session, [child], now)


def remove_workflow(session: Session, child: ChildWorkflow, now: datetime) -> None:
    """Take a child away; with its last child an installation ends."""
    remove_children(session, [child], now)
    if not standing_children(session, child.installation_id):
        uninstall(session, session.get_one(Installation, child.installation_id), now, [child.workflow_id])


def uninstall(
    session: Session, installation: Installation, now: datetime, workflow_ids: Sequence[str] | None = None
) -> list[str]:
    """Take an installation away and announce it; `workflow_ids` are those it ran, unless all of them still stand.

    The ids of the runs that were under way.
    """
    if workflow_ids is None:
        workflow_ids = [child.workflow_id for child in standing_children(session, installation.id)]
    _announce_removal(session, installation, workflow_ids, "uninstalled", now)
    return end_installation(session, installation, now)


def _announce_removal(
    session: Session, installation: Installation, workflow_ids: Sequence[str], reason: str, now: datetime
) -> None:
    announce(
        session,
        INSTALLATION_REMOVED,
        {
            "installationId": installation.id,
            "userId": installation.user_id,
            "integrationId": installation.integration_id,
            "workflowIds": list(workflow_ids),
            "reason": reason,
            "removedAt": moment(now),
        },
        environment=installation.environment,
        installation_id=installation.id,
        now=now,
    )


def deactivate_all(session: Session, user: User, now: datetime) -> list[str]:
    """Stop everything that a user runs; the ids of the runs that were under way."""
    return stop_children(session, children_of(session, [user.id]), now)


def activate_installation(session: Session, installation: Installation, now: datetime) -> None:
    """Let every workflow of it run. Raises `NotConnected`."""
    _require_credentials(session, installation)
    installation.is_enabled = True
    start_children(session, standing_children(session, installation.id), now)


def deactivate_installation(session: Session, installation: Installation, now: datetime) -> list[str]:
    """Stop every workflow of it; the ids of the runs that were under way."""
    installation.is_enabled = False
    return stop_children(session, standing_children(session, installation.id), now)


def upgrade_installation(session: Session, installation: Installation, now: datetime) -> None:
    """Bring every workflow of it to its newest version, or none. Raises `NewFieldsAsked`."""
    for child in standing_children(session, installation.id):
        upgrade_child(session, child, now)


def _require_credentials(session: Session, installation: Installation) -> None:
    apps = session.get_one(Integration, installation.integration_id).apps
    has = set(
        session.scalars(
            sa.select(InstallationCredential.app).where(InstallationCredential.installation_id == installation.id)
        )
    )
    catalogue = session.info["catalogue"]
    missing = [catalogue[app].title if app in catalogue else app for app in apps if app not in has]
    if missing:
        raise NotConnected(missing)


def delete_credential(session: Session, credential: Credential, now: datetime) -> None:
    """Forget a credential; what runs with it is stopped."""
    used_by = session.scalars(
        sa.select(InstallationCredential.installation_id).where(InstallationCredential.credential_id == credential.id)
    ).all()
    for installation_id in used_by:
        stop_children(session, standing_children(session, installation_id), now)
    session.execute(sa.update(Installation).where(Installation.id.in_(used_by)).values(is_enabled=False))
    session.execute(sa.delete(InstallationCredential).where(InstallationCredential.credential_id == credential.id))
    session.delete(credential)
    session.flush()


def delete_user(session: Session, user: User, now: datetime) -> int:
    """Forget a user with links, credentials and installations; what is running stops, and each removal is announced.

    Events stay as they were told; what endpoints answered to them, which may repeat anything, goes. Exports go: how
    many it were, so that the caller has their remains wiped.
    """
    standing = sa.select(Installation).where(Installation.user_id == user.id, Installation.removed_at.is_(None))
    for installation in session.scalars(standing).all():
        workflow_ids = [child.workflow_id for child in standing_children(session, installation.id)]
        _announce_removal(session, installation, workflow_ids, "user deleted", now)
    deactivate_all(session, user, now)
    exports = forget_exports(session, user.id)
    # Before the credentials that they name: PostgreSQL looks after each cascade, not after the whole of them.
    theirs = sa.select(Installation.id).where(Installation.user_id == user.id)
    session.execute(sa.delete(InstallationCredential).where(InstallationCredential.installation_id.in_(theirs)))
    session.execute(sa.delete(User).where(User.id == user.id).execution_options(synchronize_session=False))
    forget_answers(session, user.id)
    session.expunge(user)
    return exports
