"""What may happen to a link: made, looked up, opened, passed on, revoked, spent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from portal.events.kinds import LINK_FAILED, LINK_OPENED, LINK_REQUESTED
from portal.events.rules import announce, moment
from portal.ids import new_id
from portal.integrations.models import Integration
from portal.links.errors import (
    BadLinkOption,
    LinkEnded,
    LinkExpired,
    LinkFinished,
    LinkRevoked,
    LinkUnknown,
    NoSuchLink,
    NotItsWorkflow,
    TooManyTries,
)
from portal.links.manner import Manner
from portal.links.models import FailedTry, Link, LinkOrigin, LinkState
from portal.links.options import require_redirect
from portal.links.prefilled import Prefilled
from portal.links.token import Claims, NotOurToken, hash_token, read_token, write_token
from portal.users.models import User

REQUESTS_EVERY = timedelta(days=1)
WARNED_BEFORE = timedelta(days=1)  # its end; of a link that lives no longer nobody is warned
DEFAULT_LIFE = timedelta(days=7)
MISTYPED = "mistyped"  # the reason of a failure that asked no app
TRIES, TRIES_WITHIN = 10, timedelta(minutes=10)
NO_INTEGRATION = "0" * 24  # stands in the token and the address of a link that connects an app alone
_LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}")


def create_link(
    session: Session,
    keys: Sequence[str],
    *,
    user: User,
    integration: Integration | None,
    now: datetime,
    life: timedelta = DEFAULT_LIFE,
    always_show_credentials: bool = True,
    redirect_url: str | None = None,
    workflow_ids: Sequence[str] | None = None,
    locale: str | None = None,
    prefilled: Prefilled | None = None,
    origin: LinkOrigin = LinkOrigin.link,
    app: str | None = None,
    manner: Manner | None = None,
) -> tuple[Link, str]:
    """Make a link, in its user's environment, and its token. Only a hash of the token is stored: given out this once.

    It is stored together with what else the transaction adds.

    Without an `integration` the link connects one `app` and installs nothing. `prefilled` is what `read_prefilled`
    gave. Raises `NotItsWorkflow` when `workflow_ids` names one that isn't the integration's, and `BadLinkOption`.
    """
    if workflow_ids and integration is not None:
        unknown = set(workflow_ids) - {workflow.id for workflow in integration.workflows}
        if unknown:
            raise NotItsWorkflow(f"{integration.name} has no workflow {', '.join(sorted(unknown))}.")
    if locale and not _LOCALE.fullmatch(locale):
        raise BadLinkOption(f"“{locale[:40]}” is no language: write a tag such as en, de or pt-BR.")
    link_id = new_id()
    integration_id = integration.id if integration else NO_INTEGRATION
    token = write_token(keys, Claims(link_id, integration_id, always_show_credentials))
    link = Link(
        id=link_id,
        environment=user.environment,
        token_hash=hash_token(token),
        user=user,
        user_id=user.id,  # told as well: the address is written before the row is stored
        integration=integration,
        integration_id=integration.id if integration else None,
        origin=origin,
        app=app,
        locale=locale or None,
        prefilled=prefilled or None,
        manner=manner.model_dump(mode="json", exclude_defaults=True) if manner else None,
        always_show_credentials=always_show_credentials,
        redirect_url=require_redirect(redirect_url),
        workflow_ids=list(workflow_ids) if workflow_ids else None,
        created_at=now,
        expires_at=now + life,
        warn_at=now + life - WARNED_BEFORE if origin is LinkOrigin.link and life > WARNED_BEFORE else None,
    )
    session.add(link)
    return link, token


def link_url(base_url: str, link: Link, token: str) -> str:
    """The link as it is handed out; the order of the parameters is part of the contract."""
    query = {
        "integrationId": link.integration_id or NO_INTEGRATION,
        "token": token,
        "forgeMode": "engaged",
        "alwaysShowCredentials": "true" if link.always_show_credentials else "false",
    }
    return f"{base_url}/embedded-install?{urlencode(query)}"


def find_link(session: Session, keys: Sequence[str], token: str, integration_id: str) -> Link:
    """The link that `token` stands for, in whatever state it is. Raises `LinkUnknown`."""
    try:
        claims = read_token(keys, token)
    except NotOurToken:
        raise LinkUnknown from None
    if claims.integration_id != integration_id:
        raise LinkUnknown
    link = session.scalar(_by_hash(), {"hash": hash_token(token)})
    if link is None or (link.integration_id or NO_INTEGRATION) != integration_id:
        raise LinkUnknown
    return link


@cache
def _by_hash() -> sa.Select[Link]:
    # Made once: this statement is on the way of every request to the install page.
    token_hash: sa.BindParameter[str] = sa.bindparam("hash")
    whole = (joinedload(Link.user, innerjoin=True), joinedload(Link.integration))
    return sa.select(Link).where(Link.token_hash == token_hash).options(*whole)


def require_usable(link: Link, at: datetime) -> None:
    """Raises `LinkFinished`, `LinkRevoked` or `LinkExpired` when the link can't be used any more."""
    refusals: dict[LinkState, type[LinkEnded]] = {
        LinkState.finished: LinkFinished,
        LinkState.revoked: LinkRevoked,
        LinkState.expired: LinkExpired,
    }
    if refusal := refusals.get(link.state(at)):
        raise refusal(link)


def _stamp(session: Session, link_id: str, column: str, at: datetime) -> bool:
    # Only the first time counts, also when two requests come at once.
    stamped = session.execute(
        sa.update(Link)
        .where(Link.id == link_id, getattr(Link, column).is_(None))
        .values({column: at})
        .execution_options(synchronize_session=False)
    )
    return bool(stamped.rowcount == 1)  # type: ignore[attr-defined]


def mark_opened(session: Session, link_id: str, now: datetime) -> None:
    """Note that a person did something on the page (see docs/decisions on who counts as a person).

    The first time is announced; from then on it counts how long the person has done nothing.
    """
    if not _stamp(session, link_id, "opened_at", now):
        _set_quiet(session, now, Link.id == link_id, Link.quiet_since.is_not(None))
        return
    link = session.get_one(Link, link_id)
    if link.origin is LinkOrigin.link:
        _set_quiet(session, now, Link.id == link_id)
        _announce_opened(session, link, now)


def _announce_opened(session: Session, link: Link, now: datetime) -> None:
    announce_about(session, link, LINK_OPENED, {"openedAt": moment(now)}, now)


def _set_quiet(session: Session, now: datetime, *which: sa.ColumnElement[bool]) -> None:
    session.execute(sa.update(Link).where(*which).values(quiet_since=now).execution_options(synchronize_session=False))


def announce_about(session: Session, link: Link, kind: str, facts: Mapping[str, Any], now: datetime) -> None:
    """Announce what happened to a link."""
    named = {"linkId": link.id, "userId": link.user_id, "integrationId": link.integration_id}
    announce(session, kind, {**named, **facts}, environment=link.environment, now=now)


def mark_verified(session: Session, link_id: str, now: datetime) -> None:
    """Note that every app of the integration has a tested credential."""
    _stamp(session, link_id, "verified_at", now)


def mark_passed_on(session: Session, link_id: str, now: datetime) -> None:
    """Note that the person on the page handed it to somebody else who has the keys."""
    _stamp(session, link_id, "passed_on_at", now)


def request_new_link(session: Session, link: Link, now: datetime) -> None:
    """Remember that the person on the page of an ended link asks for a new one, and announce it; once a day counts."""
    asked = session.execute(
        sa.update(Link)
        .where(Link.id == link.id, sa.or_(Link.requested_at.is_(None), Link.requested_at < now - REQUESTS_EVERY))
        .values(requested_at=now)
        .execution_options(synchronize_session=False)
    )
    if asked.rowcount == 1 and link.origin is LinkOrigin.link:  # type: ignore[attr-defined]
        facts = {"state": str(link.state(now)), "requestedAt": moment(now)}
        announce_about(session, link, LINK_REQUESTED, facts, now)


def note_failure(
    session: Session,
    link: Link,
    *,
    app: str,
    field: str | None,
    title: str | None,
    reason: str,
    message: str,
    now: datetime,
) -> None:
    """Remember a failed try in words (never the values), for the vendor and for `require_patience`, and announce it.

    `title` is what the field is called on the page.
    """
    mark_opened(session, link.id, now)
    session.add(FailedTry(link_id=link.id, app=app, field=field, reason=reason, message=message[:500], at=now))
    if link.origin is LinkOrigin.link:
        words = {"app": app, "field": field, "fieldTitle": title, "reason": reason, "message": message[:500]}
        announce_about(session, link, LINK_FAILED, {**words, "failedAt": moment(now)}, now)


def note_mistyped(
    session: Session, link: Link, *, app: str, field: str, title: str, message: str, now: datetime
) -> None:
    """Remember what was left empty or typed so that no app could be asked with it, as `note_failure` does.

    The same once more is nothing new, and of very many in a short time the first ones say enough.
    """
    lately = sa.select(FailedTry).where(FailedTry.link_id == link.id, FailedTry.at > now - TRIES_WITHIN)
    recent = session.scalars(lately.order_by(FailedTry.at.desc()).limit(TRIES)).all()
    if len(recent) == TRIES or any((one.app, one.field, one.message) == (app, field, message) for one in recent[:1]):
        return
    note_failure(session, link, app=app, field=field, title=title, reason=MISTYPED, message=message, now=now)


def require_patience(session: Session, link: Link, now: datetime) -> None:
    """Raises `TooManyTries` after ten failed tries in ten minutes, with whichever of its user's links.

    A user token opens as many windows as somebody likes, and each is a link. What asked no app doesn't count.
    """
    recent = session.scalars(_last_tries(), {"user": link.user_id, "since": now - TRIES_WITHIN}).all()
    if len(recent) >= TRIES:
        wait = recent[-1] + TRIES_WITHIN - now
        raise TooManyTries(max(1, int(wait.total_seconds()) + 1))


@cache
def _last_tries() -> sa.Select[datetime]:
    theirs = sa.select(Link.id).where(Link.user_id == sa.bindparam("user", type_=sa.String))
    lately = FailedTry.at > sa.bindparam("since", type_=FailedTry.at.type)
    tries = sa.select(FailedTry.at).where(FailedTry.link_id.in_(theirs), lately, FailedTry.reason != MISTYPED)
    return tries.order_by(FailedTry.at.desc()).limit(TRIES)


def spend(session: Session, link: Link, *, press: str, now: datetime) -> None:
    """Use the link up; of any number of requests at once exactly one gets through.

    Raises what `require_usable` raises, as the row stands at this moment. `press` names the press of the button,
    so that the same press sent twice can be told from another tab.
    """
    # As `mark_opened` does, less what is emptied again at once.
    if link.opened_at is None and link.origin is LinkOrigin.link and _stamp(session, link.id, "opened_at", now):
        _announce_opened(session, link, now)
    spent = session.execute(
        sa.update(Link)
        .where(Link.id == link.id, Link.finished_at.is_(None), Link.revoked_at.is_(None), Link.expires_at > now)
        .values(
            finished_at=now,
            finished_by=press,
            quiet_since=None,
            warn_at=None,
            opened_at=sa.func.coalesce(Link.opened_at, now),
            verified_at=sa.func.coalesce(Link.verified_at, now),
        )
        .execution_options(synchronize_session=False)
    )
    if spent.rowcount != 1:  # type: ignore[attr-defined]
        current = session.get_one(Link, link.id, populate_existing=True)
        require_usable(current, now)
        raise LinkFinished(current)


def revoke_link(session: Session, link: Link, now: datetime) -> None:
    """Take a link back. Raises `LinkFinished` when it was used before; revoking twice changes nothing."""
    if link.finished_at:
        raise LinkFinished(link)
    session.execute(
        sa.update(Link)
        .where(Link.id == link.id, Link.finished_at.is_(None), Link.revoked_at.is_(None))
        .values(revoked_at=now, quiet_since=None, warn_at=None)
    )
    session.refresh(link)
    if link.finished_at:
        raise LinkFinished(link)


def find_by_id(session: Session, link_id: str) -> Link:
    """The link with this id, for the vendor's side. Raises `NoSuchLink`."""
    link = session.get(Link, link_id)
    if link is None:
        raise NoSuchLink(link_id)
    return link
