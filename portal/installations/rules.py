"""How a finished link becomes an installation: one transaction, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from portal.credentials.models import Credential, InstallationCredential
from portal.credentials.rules import activate, drop_drafts, open_values
from portal.db import count_one
from portal.environments import Environment
from portal.events.kinds import INSTALLATION_FINISHED
from portal.events.rules import announce
from portal.ids import new_id
from portal.installations.errors import CredentialsMissing
from portal.installations.models import Installation, InstallationDay
from portal.keys.ring import keys_of
from portal.links.models import Link
from portal.links.rules import spend
from portal.runs.stopping import resume
from portal.triggers.rules import (
    begin,
    begin_afresh,
    follow_change,
    inherit,
    remove_children,
    trigger_of,
)
from portal.workflows.definition import Trigger
from portal.workflows.errors import SettingsWrong
from portal.workflows.models import ChildWorkflow
from portal.workflows.rules import (
    Published,
    check_settings,
    install_children,
    named_versions,
    newest_versions,
)

Settings = Mapping[str, Mapping[str, Any]]


def finish_installation(
    session: Session,
    link: Link,
    credential_ids: Sequence[str],
    *,
    press: str,
    now: datetime,
    settings: Settings | None = None,
) -> Installation:
    """Spend `link` and turn tested credentials into a running installation, all or nothing.

    `press` names the press of the button; `settings` are the values of the workflows' fields, by workflow id. Raises
    what `spend` raises when another request got here first or the link ended, `CredentialsMissing` when an app of the
    integration has none, and `SettingsWrong`. An earlier installation of the same integration by the same user is
    replaced, so that nothing runs twice; a link to edit or update changes it where it stands.
    """
    assert link.integration_id is not None
    spend(session, link, press=press, now=now)
    chosen = _require_all_apps(session, link, credential_ids)
    earlier = current_installation(session, link.user_id, link.integration_id)
    published = versions_to_install(session, link, earlier)
    values, problems = check_settings(published, settings or {})
    if problems:
        raise SettingsWrong(problems)
    before = _stood(session, earlier)
    installation = _installation_for(session, link, earlier, now)
    activate(session, chosen.values(), now)
    for app, credential in chosen.items():
        session.add(InstallationCredential(installation_id=installation.id, app=app, credential_id=credential.id))
    drop_drafts(session, link.id)
    children = install_children(
        session,
        installation.id,
        link.environment,
        link.user_id,
        published,
        now,
        there=_all_children(session, earlier.id) if installation is earlier else [],
        values=values,
        output_override=link.how.output_override,
    )
    is_same = earlier is not None and bool(before) and before[0].accounts == _accounts(session, installation.id)
    _set_going(session, children, {one.child.workflow_id: one for one in before}, is_same, now)
    if earlier is not None and earlier.id != installation.id:
        end_installation(session, earlier, now)
    if installation is not earlier:
        count_finished(session, link.environment, now)
    announce(
        session,
        INSTALLATION_FINISHED,
        {
            "userId": link.user_id,
            "workflowIds": [parent.id for parent, _ in published],
            "integrationId": link.integration_id,
            "credentials": {app: credential.id for app, credential in chosen.items()},
            "success": True,
        },
        environment=link.environment,
        installation_id=installation.id,
        now=now,
    )
    return installation


@dataclass(frozen=True)
class _Stood:
    """A child as it stood before a link was finished."""

    child: ChildWorkflow
    was_active: bool
    trigger: Trigger
    accounts: dict[str, tuple[str, ...]]


def _stood(session: Session, earlier: Installation | None) -> list[_Stood]:
    if earlier is None:
        return []
    accounts = _accounts(session, earlier.id)
    return [
        _Stood(child, child.is_active, trigger_of(child), accounts) for child in standing_children(session, earlier.id)
    ]


def _set_going(
    session: Session,
    children: Sequence[ChildWorkflow],
    before: Mapping[str, _Stood],
    is_same: bool,
    now: datetime,
) -> None:
    """Watch for each child; one that was there, or takes the place of another, goes on for the same accounts."""
    for child in children:
        stood = before.get(child.workflow_id)
        if stood is None:
            begin(session, child, now)
        elif stood.child.id == child.id:
            _go_on(session, child, stood, is_same, now)
        else:
            _follow(session, child, stood, is_same, now)


def _go_on(session: Session, child: ChildWorkflow, stood: _Stood, is_same: bool, now: datetime) -> None:
    if not (is_same and stood.was_active):
        begin_afresh(session, child, now)
        return
    if child.paused_at is not None:
        resume(session, child)
    follow_change(session, child, stood.trigger, now)


def _follow(session: Session, child: ChildWorkflow, stood: _Stood, is_same: bool, now: datetime) -> None:
    goes_on = is_same and stood.was_active
    trigger = trigger_of(child)
    if goes_on and trigger.kind == "installation":
        return  # once for each installation, and this is the same one renewed
    begin(session, child, now)
    if goes_on:
        inherit(session, stood.child, child, now)


def _accounts(session: Session, installation_id: str) -> dict[str, tuple[str, ...]]:
    """Whose accounts an installation uses, by app: what the app calls them, and at which address they are."""
    keys, catalogue = keys_of(session), session.info["catalogue"]
    rows = session.scalars(
        sa.select(InstallationCredential)
        .where(InstallationCredential.installation_id == installation_id)
        .execution_options(populate_existing=True)
    )
    accounts = {}
    for row in rows:
        values = open_values(keys, row.credential)
        fields = catalogue[row.app].fields if row.app in catalogue else ()
        addresses = [values.get(field.name, "") for field in fields if field.is_address]
        accounts[row.app] = (row.credential.account, *addresses)
    return accounts


def _installation_for(session: Session, link: Link, earlier: Installation | None, now: datetime) -> Installation:
    """The installation that the link makes: a new one in the place of an `earlier` one, or that one to be changed."""
    if earlier is not None and link.how.operation != "install":
        earlier.link_id, earlier.is_enabled = link.id, True
        session.execute(
            sa.delete(InstallationCredential)
            .where(InstallationCredential.installation_id == earlier.id)
            .execution_options(synchronize_session=False)
        )
        return earlier
    installation = Installation(
        id=new_id(),
        environment=link.environment,
        user_id=link.user_id,
        integration_id=link.integration_id,
        link_id=link.id,
        installed_at=now,
    )
    session.add(installation)
    return installation


def count_finished(session: Session, environment: Environment, now: datetime) -> None:
    """Count an installation for its day, late in the transaction: PostgreSQL lets others wait for the row."""
    count_one(session, InstallationDay, {"environment": environment, "day": now.date()}, "finished")


def finish_connection(
    session: Session, link: Link, credential_ids: Sequence[str], *, press: str, now: datetime
) -> list[Credential]:
    """Spend a link that installs nothing: the tested credentials count from now on. Raises as `finish_installation`."""
    spend(session, link, press=press, now=now)
    chosen = _require_all_apps(session, link, credential_ids)
    activate(session, chosen.values(), now)
    drop_drafts(session, link.id)
    return list(chosen.values())


def current_installation(session: Session, user_id: str, integration_id: str) -> Installation | None:
    """What the user has installed of the integration, if anything."""
    return session.scalar(_current(), {"user": user_id, "integration": integration_id})


@cache
def _current() -> sa.Select[Installation]:
    return (
        sa.select(Installation)
        .where(
            Installation.user_id == sa.bindparam("user", type_=sa.String),
            Installation.integration_id == sa.bindparam("integration", type_=sa.String),
            Installation.removed_at.is_(None),
        )
        .order_by(Installation.installed_at.desc())
        .limit(1)
    )


def versions_to_install(session: Session, link: Link, earlier: Installation | None) -> list[Published]:
    """Which version of which workflow the link installs: the newest, the named ones, or, to edit, those that run."""
    assert link.integration_id is not None
    published = newest_versions(session, link.integration_id, link.workflow_ids)
    version_ids = list(link.how.version_ids)
    if earlier is not None and link.how.operation == "edit":
        version_ids += [child.version_id for child in standing_children(session, earlier.id)]
    return named_versions(session, published, version_ids)


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
    missing = [app for app in link.apps if app not in found]
    if missing:
        raise CredentialsMissing(missing)
    return {app: found[app] for app in link.apps}


def end_installation(session: Session, installation: Installation, now: datetime) -> list[str]:
    """Stop what an installation runs, and keep it only as a memory; the ids of the runs that were under way."""
    begun = remove_children(session, standing_children(session, installation.id), now)
    session.execute(
        sa.update(Installation)
        .where(Installation.id == installation.id)
        .values(removed_at=now, is_enabled=False)
        .execution_options(synchronize_session=False)
    )
    return begun


def _all_children(session: Session, installation_id: str) -> Sequence[ChildWorkflow]:
    """The children of an installation, also those that were removed."""
    return session.scalars(sa.select(ChildWorkflow).where(ChildWorkflow.installation_id == installation_id)).all()


def standing_children(session: Session, installation_id: str) -> list[ChildWorkflow]:
    """The children of an installation that weren't removed, in the order of their parents."""
    children = session.scalars(
        sa.select(ChildWorkflow).where(
            ChildWorkflow.installation_id == installation_id, ChildWorkflow.removed_at.is_(None)
        )
    )
    return sorted(children, key=lambda child: child.workflow.position)
