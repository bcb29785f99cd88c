"""`flask link`: make, list, show and revoke install links."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.orm import Session, joinedload

from portal.clock import now
from portal.commands.output import as_json, audit, in_environment, plainly, print_facts, print_json, print_rows, when
from portal.credentials.rules import drop_drafts
from portal.db import transaction
from portal.environments import Environment
from portal.integrations.rules import find_integration
from portal.links.models import FailedTry, Link, LinkOrigin
from portal.links.options import parse_life
from portal.links.prefilled import read_prefilled
from portal.links.rules import create_link, find_by_id, link_url, revoke_link
from portal.settings import Settings
from portal.users.rules import UnknownUser, create_user, find_user

link = AppGroup("link", help="Install links.")


def _read_pairs(given: tuple[str, ...]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for pair in given:
        place, is_pair, value = pair.partition("=")
        owner, has_field, field = place.partition(".")
        if not (is_pair and has_field):
            raise click.BadParameter(f"“{pair}” isn't written like magento.store_url=https://shop.example.")
        found.setdefault(owner, {})[field] = value
    return found


@link.command("create")
@click.option("--integration", required=True, help="Id or name of the integration.")
@click.option("--user", "username", required=True, help="Id or username of the user.")
@click.option("--create-user", "may_create", is_flag=True, help="Make the user when there is none by this name.")
@click.option("--expires", default="7d", show_default=True, help="Life of the link: 7d, 12h, 90m.")
@click.option("--redirect-url", default=None, help="Where the button of the success page leads.")
@click.option("--workflow", "workflows", multiple=True, help="Id of a workflow to include; all when none is given.")
@click.option("--locale", default=None, help="Language of the page, such as de; the browser's when none is given.")
@click.option(
    "--prefill",
    "prefilled",
    multiple=True,
    callback=lambda _context, _option, given: _read_pairs(given),
    help="A value to begin with: magento.store_url=https://shop.example; an app's, or by its id a workflow's.",
)
@click.option(
    "--always-show-credentials/--reuse-credentials",
    default=True,
    show_default=True,
    help="Ask for credentials even where the user has working ones.",
)
@in_environment
@as_json
@plainly
def create(
    integration: str,
    username: str,
    may_create: bool,
    expires: str,
    redirect_url: str | None,
    workflows: tuple[str, ...],
    locale: str | None,
    prefilled: dict[str, dict[str, str]],
    always_show_credentials: bool,
    environment: Environment,
    as_json: bool,
) -> None:
    """Make a link and print its URL. It is shown this once."""
    settings: Settings = current_app.config["PORTAL_SETTINGS"]
    with transaction(environment) as session:
        found = find_integration(session, integration)
        made, token = create_link(
            session,
            current_app.extensions["keys"].link_keys,
            user=_user(session, username, may_create),
            integration=found,
            now=now(),
            life=parse_life(expires),
            always_show_credentials=always_show_credentials,
            redirect_url=redirect_url,
            workflow_ids=workflows,
            locale=locale,
            prefilled=read_prefilled(current_app.extensions["catalogue"], found, found.apps, prefilled),
        )
        url = link_url(settings.base_url, made, token)
        facts = _facts(made, now())
        audit(session, "link.create", f"{made.name} for {made.user.username}", environment, link=made.id)
    if as_json:
        print_json({"url": url, **facts})
    else:
        click.echo(url)


def _user(session: Session, username: str, may_create: bool) -> Any:
    try:
        return find_user(session, username)
    except UnknownUser:
        if not may_create:
            raise
        user = create_user(session, username, now=now())
        audit(session, "user.create", user.username, user.environment)
        return user


@link.command("list")
@in_environment
@as_json
@plainly
def list_links(environment: Environment, as_json: bool) -> None:
    """List links, newest first."""
    with transaction(environment) as session:
        links = session.scalars(
            sa.select(Link)
            .where(Link.origin == LinkOrigin.link)
            .options(joinedload(Link.user), joinedload(Link.integration))
            .order_by(Link.created_at.desc(), Link.id)
        ).all()
        at = now()
        rows = [_facts(one, at) for one in links]
    if not as_json:
        rows = [{k: row[k] for k in ("linkId", "state", "username", "integration", "expiresAt")} for row in rows]
    print_rows(rows, as_json=as_json, empty="There are no links yet. Make one with `flask link create`.")


@link.command("show")
@click.argument("link_id")
@as_json
@plainly
def show(link_id: str, as_json: bool) -> None:
    """Show one link: its state, when each step was reached, its last failure in words."""
    with transaction() as session:
        found = find_by_id(session, link_id)
        last = session.scalar(
            sa.select(FailedTry).where(FailedTry.link_id == found.id).order_by(FailedTry.at.desc()).limit(1)
        )
        facts = _facts(found, now())
        facts["lastFailure"] = last.message if last else None
        facts["lastFailureAt"] = when(last.at) if last else None
    print_facts(facts, as_json=as_json)


@link.command("revoke")
@click.argument("link_id")
@as_json
@plainly
def revoke(link_id: str, as_json: bool) -> None:
    """Take a link back; whoever opens it reads that it was withdrawn."""
    with transaction() as session:
        found = find_by_id(session, link_id)
        revoke_link(session, found, now())
        drop_drafts(session, link_id)
        facts = _facts(found, now())
        audit(session, "link.revoke", f"{found.name} for {found.user.username}", found.environment, link=found.id)
    if as_json:
        print_json(facts)
    else:
        click.echo(f"The link {link_id} is revoked.")


def _facts(one: Link, at: datetime) -> dict[str, Any]:
    return {
        "linkId": one.id,
        "state": str(one.state(at)),
        "userId": one.user_id,
        "username": one.user.username,
        "integrationId": one.integration_id,
        "integration": one.name,
        "environment": str(one.environment),
        "alwaysShowCredentials": one.always_show_credentials,
        "redirectUrl": one.redirect_url,
        "locale": one.locale,
        "createdAt": when(one.created_at),
        "expiresAt": when(one.expires_at),
        "openedAt": when(one.opened_at),
        "passedOnAt": when(one.passed_on_at),
        "verifiedAt": when(one.verified_at),
        "finishedAt": when(one.finished_at),
        "revokedAt": when(one.revoked_at),
    }
