"""The install page in a window of the vendor's own page: opened with a user token instead of a link.

The token is exchanged for a link that lives as long as the token; from there on it is the same page.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from flask import current_app, g, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from portal.catalogue import Catalogue
from portal.clock import now
from portal.db import transaction
from portal.install.pages import install, page_of
from portal.integrations.models import Integration
from portal.integrations.rules import find_integration
from portal.keys.ring import KeyRing
from portal.links.errors import BadLinkOption
from portal.links.manner import Manner
from portal.links.models import Link, LinkOrigin
from portal.links.prefilled import read_prefilled
from portal.links.rules import create_link
from portal.users.rules import UnknownUser, find_user
from portal.users.token import TokenUser, UserTokenUnknown, read_user_token
from portal.web.limits import Limiter
from portal.web.reading import read_json
from portal.workflows.rules import find_workflow

LONGEST_TITLE = 120


@install.get("/forge-install")
def open_modal() -> ResponseReturnValue:
    """Install, edit or update an integration, or some workflows of one."""
    who = _who()
    asked = request.args
    operation = asked.get("operation", "install")
    manner = Manner(
        title=asked.get("title", "")[:LONGEST_TITLE],
        is_hidden=_is_true("hide"),
        operation=operation if operation in ("edit", "update") else "install",
        version_ids=tuple(asked.getlist("versionId")),
        output_override=tuple(_json_list("outputOverride")),
    )
    g.is_hidden = manner.is_hidden
    with transaction(who.environment) as session:
        integration, workflow_ids = _what(session, asked.get("integrationId", ""), asked.getlist("id"))
        link = _issue(session, who, integration, LinkOrigin.modal, workflow_ids=workflow_ids, manner=manner)
    return page_of(link)


@install.get("/authenticate-app")
def open_connection() -> ResponseReturnValue:
    """Connect one app (of an integration, when one is named) without installing anything."""
    who = _who()
    catalogue: Catalogue = current_app.extensions["catalogue"]
    app = request.args.get("app", "")
    with transaction(who.environment) as session:
        if not app and request.args.get("integrationId"):
            app = find_integration(session, request.args["integrationId"]).apps[0]
        if app not in catalogue:
            raise BadLinkOption(
                f"There is no app “{app[:64]}” to connect. Ask the people who run the page you came from."
            )
        link = _issue(session, who, None, LinkOrigin.connection, app=app)
    return page_of(link)


def _who() -> TokenUser:
    keys: KeyRing = current_app.extensions["keys"]
    g.is_hidden = _is_true("hide")
    who = read_user_token(keys.link_keys, request.args.get("token", ""))
    limiter: Limiter = current_app.extensions["limiter"]
    limiter.require(f"user {who.user_id}")  # each window is a row
    return who


def _is_true(name: str) -> bool:
    return request.args.get(name, "").lower() == "true"


def _json_list(name: str) -> list[Any]:
    text = request.args.get(name, "")
    if not text:
        return []
    try:
        given = read_json(text)
    except ValueError:
        given = None
    if not isinstance(given, list):
        raise BadLinkOption(
            f"The page that opened this window sent a `{name}` that can’t be read: it must be a JSON list."
        )
    return given


def _what(session: Session, integration_id: str, workflow_ids: Sequence[str]) -> tuple[Integration, list[str]]:
    if integration_id:
        return find_integration(session, integration_id), list(workflow_ids)
    workflows = [find_workflow(session, name) for name in workflow_ids]
    integrations = {workflow.integration_id for workflow in workflows}
    if len(integrations) != 1:
        raise BadLinkOption("The page that opened this window must name an integration, or workflows of one.")
    return find_integration(session, integrations.pop()), [workflow.id for workflow in workflows]


def _issue(
    session: Session,
    who: TokenUser,
    integration: Integration | None,
    origin: LinkOrigin,
    *,
    app: str | None = None,
    workflow_ids: Sequence[str] | None = None,
    manner: Manner | None = None,
) -> Link:
    try:
        user = find_user(session, who.user_id)
    except UnknownUser:
        raise UserTokenUnknown from None
    always = _is_true("alwaysShowAuthentication")
    apps = integration.apps if integration else [app or ""]
    link, token = create_link(
        session,
        current_app.extensions["keys"].link_keys,
        user=user,
        integration=integration,
        now=now(),
        life=who.expires_at - now(),
        always_show_credentials=always,
        workflow_ids=workflow_ids,
        prefilled=read_prefilled(current_app.extensions["catalogue"], integration, apps, _json_list("preFilledValues")),
        origin=origin,
        app=app,
        manner=manner,
    )
    g.facts = {"token": token, "alwaysShowCredentials": "true" if always else ""}
    g.press = secrets.token_hex(8)
    return link
