"""Installations: from the vendor's own page (headless), listed, started, stopped, upgraded, removed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session, selectinload

from portal.api.access import audit, own, the_user
from portal.api.hooks import resource
from portal.api.shapes import Body, Message, Moment, PageQuery, Ref, Reply, Success, optional
from portal.clock import now
from portal.installations.changing import (
    activate_installation,
    deactivate_installation,
    find_installation,
    uninstall,
    upgrade_installation,
)
from portal.installations.headless import complete_installation, start_installation
from portal.installations.models import Installation
from portal.integrations.rules import find_integration
from portal.web.paging import page
from portal.workflows.blocks import blocks_of
from portal.workflows.fields import fields_of

installations = resource("installations", __name__, tag="Installations")


class Start(Body):
    """What to install, for whom, and with which of the user's credentials."""

    user_id: Ref
    integration_id: Ref
    credential_ids: list[Ref] | None = None
    workflow_ids: list[Ref] | None = None


class AskedField(Reply):
    """A field to show to the user."""

    name: str
    display_name: str
    type: str
    required: bool
    options: list[str] | None = optional()


class AskedOf(Reply):
    """What one workflow asks."""

    workflow_id: str
    app: str
    block_id: str
    fields: list[AskedField]


class Started(Reply):
    """What to ask, and the id to complete it with within the hour."""

    data: list[AskedOf]
    installation_id: str


class AnsweredField(Body):
    """One answer."""

    name: Ref
    value: Any = None


class Answered(Body):
    """One workflow's answers."""

    workflow_id: Ref
    fields: list[AnsweredField]


class Complete(Body):
    """The answers to what was asked."""

    installation_id: Ref
    data: list[Answered] | None = None


class InstallationFacts(Reply):
    """One installation."""

    installation_id: str
    integration_id: str
    user_id: str
    credential_ids: dict[str, str]
    workflow_ids: list[str]
    installed_at: Moment
    enabled: bool


class InstallationList(Reply):
    """A page of installations, newest first."""

    data: list[InstallationFacts]
    next_cursor: str | None = optional("Where the next page begins.")


class OneInstallation(Reply):
    """One installation."""

    data: InstallationFacts


class InstallationListQuery(PageQuery):
    """Whose."""

    user_id: Ref | None = None
    integration_id: Ref | None = None


_WHOLE = (selectinload(Installation.children), selectinload(Installation.credentials))


def _tell(one: Installation) -> InstallationFacts:
    return InstallationFacts(
        installation_id=one.id,
        integration_id=one.integration_id,
        user_id=one.user_id,
        credential_ids={row.app: row.credential_id for row in one.credentials},
        workflow_ids=[child.workflow_id for child in one.children if child.removed_at is None],
        installed_at=one.installed_at,
        enabled=one.is_enabled,
    )


@installations.post("/headless/startInstallation")
@installations.input(Start)
@installations.output(Started)
@installations.doc(
    summary="Start an installation from your own page",
    responses={404: "No such user, integration, workflow or credential.", 409: "A credential is missing or unclear."},
)
def start(json_data: Start) -> Started:
    with own() as session:
        integration = find_integration(session, json_data.integration_id)
        link, published = start_installation(
            session,
            current_app.extensions["keys"].link_keys,
            user=the_user(session, json_data.user_id),
            integration=integration,
            credential_ids=json_data.credential_ids or [],
            workflow_ids=json_data.workflow_ids or [],
            now=now(),
        )
        audit(session, "installation.start", f"{integration.name} for {link.user.username}", link=link.id)
        asked = [
            AskedOf(
                workflow_id=parent.id,
                app=integration.apps[0],
                block_id=blocks_of(parent.id, version.definition, integration.apps)[0].id,
                fields=[
                    AskedField(
                        name=field.name,
                        display_name=field.title,
                        type=field.type,
                        required=field.required,
                        options=list(field.options) or None,
                    )
                    for field in fields_of(version.definition)
                ],
            )
            for parent, version in published
        ]
    return Started(data=[one for one in asked if one.fields], installation_id=link.id)


@installations.post("/headless/completeInstallation")
@installations.input(Complete)
@installations.output(Message)
@installations.doc(
    summary="Complete an installation from your own page",
    responses={404: "No such installation was started.", 410: "It was completed before, or its hour is over."},
)
def complete(json_data: Complete) -> Message:
    answers = {one.workflow_id: {field.name: field.value for field in one.fields} for one in json_data.data or []}
    with own() as session:
        complete_installation(
            session,
            json_data.installation_id,
            answers,
            now=now(),
        )
        audit(session, "installation.complete", json_data.installation_id)
    return Message(message="Installation completed successfully")


@installations.get("/installations")
@installations.input(InstallationListQuery, location="query")
@installations.output(InstallationList)
@installations.doc(summary="List installations", responses={404: "No such user, integration or page."})
def index(query_data: InstallationListQuery) -> InstallationList:
    with own() as session:
        statement = sa.select(Installation).where(Installation.removed_at.is_(None)).options(*_WHOLE)
        if query_data.user_id:
            statement = statement.where(Installation.user_id == the_user(session, query_data.user_id).id)
        if query_data.integration_id:
            integration = find_integration(session, query_data.integration_id)
            statement = statement.where(Installation.integration_id == integration.id)
        rows, after = page(
            session,
            statement,
            by=Installation.installed_at,
            then=Installation.id,
            limit=query_data.limit,
            cursor=query_data.cursor,
            is_newest_first=True,
        )
        return InstallationList(data=[_tell(one) for one in rows], next_cursor=after)


def _answer(session: Session, one: Installation) -> OneInstallation:
    session.refresh(one)
    return OneInstallation(data=_tell(one))


@installations.get("/installations/<installation>")
@installations.output(OneInstallation)
@installations.doc(summary="Get an installation")
def show(installation: str) -> OneInstallation:
    with own() as session:
        return _answer(session, find_installation(session, installation))


@installations.delete("/installations/<installation>")
@installations.output(Success)
@installations.doc(summary="Remove an installation", description="Its workflows stop; the user's credentials stay.")
def delete(installation: str) -> Success:
    with own() as session:
        found = find_installation(session, installation)
        uninstall(session, found, now())
        audit(session, "installation.remove", found.id, user=found.user_id)
    return Success()


@installations.put("/installations/<installation>/activate")
@installations.output(OneInstallation)
@installations.doc(summary="Start every workflow of an installation", responses={409: "A credential is missing."})
def activate(installation: str) -> OneInstallation:
    with own() as session:
        found = find_installation(session, installation)
        activate_installation(session, found, now())
        audit(session, "installation.activate", found.id, user=found.user_id)
        return _answer(session, found)


@installations.put("/installations/<installation>/deactivate")
@installations.output(OneInstallation)
@installations.doc(summary="Stop every workflow of an installation")
def deactivate(installation: str) -> OneInstallation:
    with own() as session:
        found = find_installation(session, installation)
        deactivate_installation(session, found, now())
        audit(session, "installation.deactivate", found.id, user=found.user_id)
        return _answer(session, found)


@installations.put("/installations/<installation>/upgrade")
@installations.output(OneInstallation)
@installations.doc(
    summary="Bring every workflow of an installation to its newest version",
    responses={409: "A new version asks for new fields."},
)
def upgrade(installation: str) -> OneInstallation:
    with own() as session:
        found = find_installation(session, installation)
        upgrade_installation(session, found, now())
        audit(session, "installation.upgrade", found.id, user=found.user_id)
        return _answer(session, found)
